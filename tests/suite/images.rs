//! Decoding, resizing and whole transforms against Pillow, timm and transformers.

use std::fs;

use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};
use vit_gpu::internals::model::random::HashedValues;
use vit_gpu::internals::preprocess::{Filter, Resizer, resize};
use vit_gpu::{Image, Orient};

use crate::compare::{EXACT, assert_close};
use crate::models::goldens;

/// The image `hashed_bytes` makes in Python.
fn noise(name: &str, width: usize, height: usize) -> Image {
    let values = HashedValues::new(name, 0);
    let data = (0..3 * width * height).map(|i| ((values.get(i) + 1.0) * 127.99) as u8).collect();
    Image::from_rgb(width, height, data).unwrap()
}

/// A `u8` tensor file, which the model loader does not read: name, shape, bytes.
fn byte_tensors(file: &str) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(goldens().join(file)).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let all: Vec<_> =
        tensors.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec())).collect();
    assert!(!all.is_empty());
    all
}

fn pair(text: &str) -> (usize, usize) {
    let (w, h) = text.split_once('x').unwrap();
    (w.parse().unwrap(), h.parse().unwrap())
}

#[test]
fn resizing_is_pillows_to_the_bit() {
    let all = byte_tensors("resize.safetensors");
    assert_eq!(all.len(), 15 * 6);
    let mut wrong = Vec::new();
    for (name, shape, want) in all {
        let parts: Vec<&str> = name.split(' ').collect();
        let filter = Filter::from_pillow(parts[0].parse().unwrap()).unwrap();
        let (from, to) = (pair(parts[1]), pair(parts[2]));
        let got = resize(&noise(&format!("resize {}", parts[1]), from.0, from.1), to.0, to.1, filter, Resizer::Pillow)
            .unwrap();
        assert_eq!(shape, [to.1, to.0, 3]);
        let differing = got.data().iter().zip(&want).filter(|(a, b)| a != b).count();
        if differing > 0 {
            wrong.push(format!("{filter:?} {name}: {differing} of {} samples differ", want.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn resizing_bytes_is_torchvisions_to_the_bit() {
    let all = byte_tensors("resize_torch.safetensors");
    assert_eq!(all.len(), 20);
    for (name, shape, want) in all {
        let parts: Vec<&str> = name.split(' ').collect();
        let filter = if parts[0] == "bilinear" { Filter::Bilinear } else { Filter::Bicubic };
        let (from, to) = (pair(parts[1]), pair(parts[2]));
        let image = noise(&format!("resize {}", parts[1]), from.0, from.1);
        let got = resize(&image, to.0, to.1, filter, Resizer::Torchvision).unwrap();
        assert_eq!(shape, [to.1, to.0, 3]);
        let differing = got.data().iter().zip(&want).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{name}: of {} samples", want.len());
    }
}

#[test]
fn decoding_gives_pillows_rgb() {
    let all = byte_tensors("decode.safetensors");
    assert_eq!(all.len(), fs::read_dir(goldens().join("images")).unwrap().count());
    for (name, shape, want) in all {
        let image = Image::open(goldens().join("images").join(&name)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!([image.height(), image.width(), 3], shape[..], "{name}");
        let worst = image.data().iter().zip(&want).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        // JPEG decoders round their inverse transforms and their chroma upsampling differently.
        let allowed = if name.ends_with(".jpg") { 8 } else { 0 };
        assert!(worst <= allowed, "{name}: a sample is off by {worst}");
    }
}

#[test]
fn orientation_can_be_ignored() {
    for orientation in 1..=8 {
        let path = goldens().join(format!("images/exif{orientation}.png"));
        let stored = Image::open_with(&path, Orient::AsStored).unwrap();
        assert_eq!((stored.width(), stored.height()), (13, 9));
        assert_eq!(stored == Image::open(&path).unwrap(), orientation == 1);
    }
}

#[test]
fn transforms_give_the_tensors_timm_and_transformers_give() {
    transforms("transforms", None);
    transforms("processors_v5", Some(r#"{"transformers_version": "5.23.0"}"#));
}

/// Every case of a golden file, with a `config.json` beside its own files.
fn transforms(golden: &str, config: Option<&str>) {
    let cases: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(goldens().join(format!("{golden}.json"))).unwrap()).unwrap();
    let wanted = Tensors::open(&goldens().join(format!("{golden}.safetensors"))).unwrap();
    let mut compared = 0;
    for (name, files) in cases.as_object().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        config.iter().for_each(|config| fs::write(folder.path().join("config.json"), config).unwrap());
        for (file, content) in files.as_object().unwrap() {
            fs::write(folder.path().join(file), content.to_string()).unwrap();
        }
        let transform = Checkpoint::transform_only(folder.path().to_str().unwrap(), None)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for size in ["61x47", "40x90"] {
            let (w, h) = pair(size);
            let pixels = transform.apply(&noise(&format!("transform {size}"), w, h)).unwrap();
            let (shape, want) = wanted.values(&format!("{name} {size}")).unwrap();
            assert_eq!([3, pixels.size.0, pixels.size.1], shape[..], "{name} {size}");
            assert_close(&format!("{name} {size}"), &pixels.planes(&transform.table()), &want, EXACT);
            compared += 1;
        }
    }
    assert_eq!(compared, wanted.shapes().count());
}

#[test]
fn broken_images_are_clear_errors() {
    let decode = |bytes: &[u8]| Image::decode(bytes, "x", Orient::Exif);
    let error = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
    assert_eq!(error(b""), "x: the file is empty");
    assert_eq!(error(b"plain text, no picture"), "x: not an image in a supported format");
    assert_eq!(error(b"%PDF-1.7"), "x: it is a PDF, which can't be decoded");
    let mut checked = 0;
    for file in ["rgb.png", "rgb.jpg", "progressive.jpg", "rgb.bmp", "animated.gif", "lossless.webp", "rgb.tiff"] {
        let bytes = fs::read(goldens().join("images").join(file)).unwrap();
        assert!(decode(&bytes).is_ok(), "{file}");
        // An animation's first frame ends before its half.
        for cut in [bytes.len() / 4, 40] {
            let message = error(&bytes[..cut]);
            assert!(message.starts_with("x: ") && !message.contains('\n'), "{file} cut to {cut}: {message}");
            checked += 1;
        }
    }
    assert_eq!(checked, 14);
    // A PNG header that claims 60,000 x 60,000 pixels.
    let mut bomb = fs::read(goldens().join("images/grey.png")).unwrap();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    assert!(error(&bomb).contains("60000x60000 pixels are more than 178956970"), "{}", error(&bomb));
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Each file of `goldens/photos` beside what Pillow 13 makes of it, as a PNG; those without one are refused.
#[test]
fn files_of_every_origin_are_what_pillow_shows_or_refused() {
    let folder = goldens().join("photos");
    let (mut shown, mut refused) = (0, 0);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let expected = folder.join(format!("{name}.png"));
        // The features for HEIC and AVIF may be off.
        let heic = cfg!(feature = "heic");
        let feature = [("heic", heic), ("heif", heic), ("avif", cfg!(feature = "avif"))];
        let unread = feature.iter().any(|(ending, on)| !on && name.ends_with(ending));
        if name.matches('.').count() > 1 || unread {
            continue;
        }
        match Image::open(&path) {
            Ok(image) => {
                let want = Image::open(&expected).unwrap_or_else(|error| panic!("{name} is decoded: {error}"));
                assert_eq!((image.width(), image.height()), (want.width(), want.height()), "{name}");
                let off = |(a, b): (&u8, &u8)| a.abs_diff(*b);
                let worst = image.data().iter().zip(want.data()).map(off).max().unwrap();
                // Two decoders round a JPEG's colours differently.
                assert!(
                    worst <= if name.ends_with(".jpg") || name == "tiff-jpeg.tif" { 4 } else { 0 },
                    "{name}: off by {worst}"
                );
                shown += 1;
            }
            Err(error) => {
                assert!(!expected.exists() && error.is_input(), "{name}: {error}");
                refused += 1;
            }
        }
    }
    let (mut all, heic, avif) = ((66, 7), cfg!(feature = "heic"), cfg!(feature = "avif"));
    for (more, there) in [((7, 1), heic), ((5, 1), avif)] {
        all = if there { (all.0 + more.0, all.1 + more.1) } else { all };
    }
    assert_eq!((shown, refused), all);
}
