//! The public face: what an app sees of progress, of errors, of models and images that can't be used.

use vit_gpu::{Classifier, Device, Embedder, Error, Image, Model, Progress, Session};

use crate::models::goldens;

#[test]
fn progress_tells_of_weights_and_images() {
    use std::sync::{Arc, Mutex};
    let heard: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let listener = Arc::clone(&heard);
    let builder = Session::builder().device(Device::Cpu).on_progress(move |p| listener.lock().unwrap().push(p));
    let session = builder.build(Model::bundled().unwrap()).unwrap();
    assert!(heard.lock().unwrap().is_empty(), "nothing is read before it is needed");
    let images: Vec<Image> = (0..9).map(|i| Image::from_rgb(32, 32, vec![i; 3072]).unwrap()).collect();
    session.classify(&images, 1).unwrap();
    session.embed(&images[..1]).unwrap();
    let heard = heard.lock().unwrap();
    let weights: Vec<_> = heard.iter().filter(|p| matches!(p, Progress::Weights { .. })).collect();
    let Some(Progress::Weights { done, of }) = weights.last() else { panic!("{heard:?}") };
    assert!(done == of && weights.len() == *of, "{done} of {of}");
    let images: Vec<_> = heard.iter().filter(|p| matches!(p, Progress::Images { .. })).copied().collect();
    assert_eq!(images[..2], [Progress::Images { done: 4, of: 9 }, Progress::Images { done: 8, of: 9 }]);
    assert_eq!(images[2..], [Progress::Images { done: 9, of: 9 }, Progress::Images { done: 1, of: 1 }]);
}

#[test]
fn an_image_that_cannot_be_used_costs_the_others_nothing() {
    let model = Model::open(goldens().join("models/timm_plain")).unwrap();
    let session = Session::builder().device(Device::Cpu).build(model).unwrap();
    let good = |value: u8| Image::from_rgb(20, 20, vec![value; 1200]).unwrap();
    // Its longer side would have more pixels than an image may have, once the shorter one is the model's.
    let strip = Image::from_rgb(1, 9_000_000, vec![7; 27_000_000]).unwrap();
    let images = [good(1), strip, good(3)];
    let each = session.embed_each(&images).unwrap();
    assert_eq!(each[0].as_ref().unwrap(), &session.embed(&images[..1]).unwrap()[0]);
    assert_eq!(each[2].as_ref().unwrap(), &session.embed(&images[2..]).unwrap()[0]);
    let error = each[1].as_ref().unwrap_err();
    assert!(error.is_input() && error.to_string().starts_with("image 1: "), "{error}");
    assert!(session.embed(&images).is_err());
    let classifier = Classifier::new(session.clone()).unwrap().top_k(2);
    let counts: Vec<_> =
        classifier.classify_batch(&images).unwrap().iter().map(|r| r.as_ref().map_or(0, Vec::len)).collect();
    assert_eq!(counts, [2, 0, 2]);
    assert!(matches!(session.classify(&[], 2), Err(Error::Argument { name: "images", .. })));
    assert!(matches!(session.classify(&images, 0), Err(Error::Argument { name: "top_k", .. })));
}

#[test]
fn pixels_with_alpha_are_those_without() {
    let rgba: Vec<u8> = (0..4 * 6).collect();
    let rgb: Vec<u8> = rgba.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
    assert_eq!(Image::from_rgba(3, 2, &rgba).unwrap(), Image::from_rgb(3, 2, rgb).unwrap());
    for (width, height, bytes) in [(3, 2, 23), (3, 2, 25), (3, 2, 18), (0, 0, 0), (usize::MAX, 2, 24)] {
        let error = Image::from_rgba(width, height, &vec![0; bytes]).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("RGB"), "{width}x{height}, {bytes}: {error}");
    }
}

/// Reads until it is told to fail.
struct Failing(std::io::Cursor<Vec<u8>>, std::sync::Arc<std::sync::atomic::AtomicBool>);

impl std::io::Read for Failing {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match self.1.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(std::io::Error::other("the disk was pulled out")),
            false => self.0.read(out),
        }
    }
}

impl std::io::Seek for Failing {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn weights_that_cannot_be_read_any_more_are_an_error_of_the_call() {
    let folder = goldens().join("models/timm_plain");
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let fails = std::sync::Arc::default();
    let reader = Failing(std::io::Cursor::new(bytes), std::sync::Arc::clone(&fails));
    let model = Model::from_seekable("a disk", reader, Some(&config), None).unwrap();
    let session = Session::builder().device(Device::Cpu).build(model).unwrap();
    let images = [Image::from_rgb(9, 7, vec![50; 189]).unwrap()];
    fails.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = session.logits_each(&images).unwrap_err();
    assert_eq!(error.to_string(), "a disk: the disk was pulled out");
    fails.store(false, std::sync::atomic::Ordering::Relaxed);
    let blocking = session.logits_each(&images).unwrap().remove(0).unwrap();
    let awaited = pollster::block_on(session.logits_async(&images)).unwrap().remove(0).unwrap();
    assert!(blocking == awaited && blocking.len() == session.model().num_classes());
}

#[test]
fn a_model_without_a_head_embeds_and_does_not_classify() {
    let model = Model::open(goldens().join("models/hf_clip_vision")).unwrap();
    assert_eq!(model.num_classes(), 0);
    let session = Session::builder().device(Device::Cpu).build(model).unwrap();
    assert!(matches!(Classifier::new(session.clone()), Err(Error::NoHead { .. })));
    let embedder = Embedder::new(session).normalized(true);
    let vector = embedder.embed(&Image::from_rgb(9, 7, vec![50; 189]).unwrap()).unwrap();
    assert_eq!(vector.len(), embedder.dim());
    assert!((vector.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
}

#[test]
fn errors_keep_their_sources() {
    use std::error::Error as _;
    let missing = Image::open("no/such.png").unwrap_err();
    assert!(missing.source().is_some() && missing.to_string().starts_with("no/such.png: "), "{missing}");
    let weights = std::fs::read(goldens().join("models/hf_vit/model.safetensors")).unwrap();
    let broken = Model::from_bytes(weights, Some("{\"a\": }"), None).unwrap_err();
    assert!(broken.source().is_some_and(|source| source.to_string().contains("line 1")), "{broken}");
    let missing = Model::open("no/such/model").unwrap_err();
    assert!(missing.to_string().starts_with("no/such/model: "), "{missing}");
}
