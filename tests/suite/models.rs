//! Models of every layout against PyTorch's own numbers, on both executors.

use std::path::PathBuf;

use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};
use vit_gpu::internals::device::Kernels;
use vit_gpu::internals::model::Pooling;
use vit_gpu::internals::ops::{Attention, Op, PoolKind};
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Device, Outputs, Precision, Session};

use crate::compare::{EXACT, MODEL, assert_close, distance, worst};
use crate::device;

pub fn goldens() -> PathBuf {
    device::root().join("tests/goldens")
}

pub fn models() -> Vec<PathBuf> {
    let mut all: Vec<_> =
        std::fs::read_dir(goldens().join("models")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(all.len() >= 80, "goldens are missing");
    all
}

/// Opens a golden model at the size of its golden's pixels.
pub fn open(folder: &std::path::Path) -> Checkpoint {
    // Beside the golden itself, an archive must be named.
    let archive = folder.join("vit.npz");
    let path = if archive.exists() { archive } else { folder.to_owned() };
    let path = path.to_str().unwrap();
    let fail = |error: vit_gpu::Error| panic!("{error}");
    let checkpoint = Checkpoint::open(path).unwrap_or_else(fail);
    let (shape, _) = golden(folder, "pixel_values").unwrap();
    let size = (shape[2], shape[3]);
    if checkpoint.config.img_size == size {
        checkpoint
    } else {
        Checkpoint::open_at(path, Some(size)).unwrap_or_else(fail)
    }
}

/// The processor, and the adapter under test with each family of kernels.
pub fn sessions(checkpoint: &Checkpoint) -> Vec<(String, Session)> {
    sessions_in(checkpoint, Precision::F32)
}

/// The processor in f32, and the adapter under test with each family of kernels in the given precision.
pub fn sessions_in(checkpoint: &Checkpoint, precision: Precision) -> Vec<(String, Session)> {
    let on = |device, kernels, precision| {
        let options = Session::builder().device(device).kernels(kernels).precision(precision).threads(2);
        let session = options.build(checkpoint.clone());
        session.map(|session| (format!("{} {kernels:?} {}", session.device(), precision.name()), session))
    };
    let mut all = vec![on(Device::Cpu, Kernels::Auto, Precision::F32).unwrap()];
    let cfg = &checkpoint.config;
    let attention = Op::Attention(Attention::packed(1, cfg.tokens(), cfg.num_heads, cfg.head_dim, 1.0));
    for executor in device::executors().iter().filter(|executor| executor.precision == precision) {
        if !device::kernels(executor, &attention).is_empty() {
            all.push(on(device::request(), executor.family, precision).unwrap());
        }
    }
    all
}

pub fn golden(folder: &std::path::Path, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
    Tensors::open(&folder.join("golden.safetensors")).unwrap().values(name).ok()
}

/// The largest absolute difference over every output the golden has.
pub fn largest_difference(folder: &std::path::Path, outputs: &Outputs) -> f32 {
    let off = |output: &vit_gpu::Output| {
        let (_, want) = golden(folder, &output.name).unwrap();
        output.values.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    outputs.0.iter().map(off).fold(0.0, f32::max)
}

/// The largest share of the tolerance used, over every output the golden has.
pub fn compare(folder: &std::path::Path, outputs: &Outputs) -> Result<f64, String> {
    let file = Tensors::open(&folder.join("golden.safetensors")).unwrap();
    let mut most = 0.0f64;
    let mut compared = 0;
    let given = ["pixel_values", "labels", "loss"];
    for name in file.shapes().map(|(name, _)| name.to_owned()).filter(|name| !given.contains(&name.as_str())) {
        let (shape, want) = file.values(&name).unwrap();
        let output = outputs.get(&name).ok_or_else(|| format!("{name} was not given"))?;
        if output.shape != shape {
            return Err(format!("{name} is {:?}, {shape:?} expected", output.shape));
        }
        most = most.max(worst(&output.values, &want, MODEL).map_err(|error| format!("{name}: {error}"))?);
        compared += 1;
    }
    if compared == outputs.0.len() {
        Ok(most)
    } else {
        Err(format!("{compared} of {} outputs compared", outputs.0.len()))
    }
}

#[test]
fn every_golden_on_every_device() {
    let mut wrong = Vec::new();
    for folder in models() {
        let checkpoint = open(&folder);
        let (_, pixels) = golden(&folder, "pixel_values").unwrap();
        for (device, session) in sessions(&checkpoint) {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let outputs = session.forward(&pixels, true).unwrap();
            let used = match compare(&folder, &outputs) {
                Ok(used) => used,
                Err(error) => {
                    wrong.push(format!("{name} on {device}: {error}"));
                    continue;
                }
            };
            println!("{name:34} {device:50} worst {:.1} % of the tolerance", 100.0 * used);
            // The same bits every time, and without taps (other buffers, fewer norms).
            for _ in 0..2 {
                assert_eq!(session.forward(&pixels, true).unwrap(), outputs, "{name} on {device}: runs differ");
            }
            let bare = session.forward(&pixels, false).unwrap();
            for output in &bare.0 {
                assert_eq!(Some(output), outputs.get(&output.name), "{name} on {device}: taps change {}", output.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `embed` gives what `forward` pools, though it computes no more of the last block than is pooled.
#[test]
fn embeddings_are_what_forward_pools() {
    let mut tried = 0;
    for folder in models() {
        let checkpoint = open(&folder);
        let cfg = &checkpoint.config;
        if cfg.in_chans != 3 || !matches!(cfg.pool, Pooling::Tokens(PoolKind::Token(_))) {
            continue;
        }
        tried += 1;
        let (count, (h, w)) = (cfg.weight_batch().max(2), cfg.img_size);
        let values = vit_gpu::internals::model::random::HashedValues::new("bytes", 0);
        let byte = |i: usize| ((values.get(i) + 1.0) * 127.99) as u8;
        let image = |b: usize| Pixels { size: (h, w), data: (b * 3 * h * w..(b + 1) * 3 * h * w).map(byte).collect() };
        let images: Vec<Pixels> = (0..count).map(image).collect();
        let table = checkpoint.transform.table();
        let planes: Vec<f32> = images.iter().flat_map(|image| image.planes(&table)).collect();
        for (device, session) in sessions(&checkpoint) {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let got = session.embed_pixels(&images).unwrap().into_iter().flat_map(Result::unwrap).collect::<Vec<_>>();
            let whole = session.forward(&planes, false).unwrap();
            let want = &whole.get("pooled").unwrap().values;
            if session.device() == "cpu" {
                assert_eq!(&got, want, "{name} on {device}");
            }
            // For the last block's one row a GPU may have another kernel.
            worst(&got, want, MODEL).unwrap_or_else(|error| panic!("{name} on {device}: {error}"));
        }
    }
    assert!(tried > 50, "{tried} models pool one token");
}

/// Half precision against PyTorch's f32: every output within one percent, as a vector.
#[test]
fn every_golden_in_f16() {
    let mut tried = 0;
    for folder in models() {
        let checkpoint = open(&folder);
        let (_, pixels) = golden(&folder, "pixel_values").unwrap();
        let file = Tensors::open(&folder.join("golden.safetensors")).unwrap();
        for (device, session) in sessions_in(&checkpoint, Precision::F16).into_iter().skip(1) {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let outputs = session.forward(&pixels, true).unwrap();
            let mut most = 0.0f64;
            let bare = session.forward(&pixels, false).unwrap();
            for output in outputs.0.iter().chain(&bare.0) {
                let (_, want) = file.values(&output.name).unwrap();
                let far = distance(&output.values, &want).unwrap_or_else(|e| panic!("{name} on {device}: {e}"));
                assert!(far < 1e-2, "{name} on {device}: {} is off by {far:e}", output.name);
                most = most.max(far);
            }
            println!("{name:34} {device:50} worst distance {most:.1e}");
            assert_eq!(session.forward(&pixels, true).unwrap(), outputs, "{name} on {device}: runs differ");
            tried += 1;
        }
    }
    assert!(tried > 0 || device::executors().iter().all(|executor| !executor.gpu.report().f16));
}

/// Values beyond half precision's range are an error, not labels.
#[test]
fn f16_overflow_is_an_error() {
    let folder = goldens().join("models/timm_plain");
    let checkpoint = open(&folder);
    let (_, mut pixels) = golden(&folder, "pixel_values").unwrap();
    pixels.iter_mut().for_each(|value| *value *= 1e6);
    for (device, session) in sessions_in(&checkpoint, Precision::F16).into_iter().skip(1) {
        let error = session.forward(&pixels, false).unwrap_err();
        assert!(matches!(error, vit_gpu::Error::NotFinite { .. }), "{device}: {error}");
    }
}

#[test]
fn sessions_classify_what_forward_computes_from_the_same_pixels() {
    let image = vit_gpu::Image::open(device::root().join("assets/cat.png")).unwrap();
    let checkpoint = Checkpoint::bundled().unwrap();
    for (device, session) in sessions(&checkpoint) {
        let pixels = session.preprocess(&image).unwrap();
        let planes = pixels.planes(&checkpoint.transform.table());
        let logits = session.forward(&planes, false).unwrap().get("logits").unwrap().values.clone();
        let want = checkpoint.labels.top_k(&logits, 10);
        let got = session.classify(std::slice::from_ref(&image), 10).unwrap().remove(0);
        assert_eq!(got, want, "{device}");
        assert_eq!(got[0].label.as_deref(), Some("cat"), "{device}");
        assert!((got[0].score - 0.618).abs() < 1e-3, "{device}: {}", got[0].score);
    }
}

/// Images that depend on each other are never split, padded or mixed with others.
#[test]
fn batches_that_may_not_be_cut_are_not() {
    for (model, image, wrong) in [("per_head", 3 * 12 * 8, 3), ("per_head", 3 * 12 * 8, 1)] {
        let values = vit_gpu::internals::model::random::HashedValues::new("batch", 3);
        let pixels: Vec<f32> = (0..wrong * image).map(|i| values.get(i)).collect();
        for (device, session) in sessions(&open(&goldens().join("models").join(model))) {
            let error = session.forward(&pixels, false).unwrap_err().to_string();
            let expected = format!("{wrong} images were given, but this model's weights are for batches of exactly 2");
            assert!(error.contains(&expected), "{device}: {error}");
            assert_eq!(session.auto_batch().unwrap(), 2, "{device}");
        }
    }
    // The same image among others is another result.
    let folder = goldens().join("models/enc_batch_second");
    let (shape, pixels) = golden(&folder, "pixel_values").unwrap();
    let (_, want) = golden(&folder, "last_hidden_state").unwrap();
    for (device, session) in sessions(&open(&folder)) {
        let two = session.forward(&pixels[..2 * pixels.len() / shape[0]], false).unwrap();
        let two = &two.get("last_hidden_state").unwrap().values;
        assert!(distance(two, &want[..two.len()]).unwrap() > 1e-3, "{device}");
    }
}

#[test]
fn batches_of_any_size_give_each_image_its_own_result() {
    let checkpoint = open(&goldens().join("models/timm_plain"));
    let image = 3 * 20 * 28;
    let values = vit_gpu::internals::model::random::HashedValues::new("batch", 3);
    let pixels: Vec<f32> = (0..7 * image).map(|i| values.get(i)).collect();
    for (device, session) in sessions(&checkpoint) {
        let all = session.forward(&pixels, false).unwrap();
        let logits = all.get("logits").unwrap();
        assert_eq!(logits.shape, [7, 7], "{device}");
        // Sizes up and down again: more plans than are kept, larger and smaller slots than before.
        for batch in [1, 2, 3, 4, 5, 6, 7, 2, 1] {
            let some = session.forward(&pixels[..batch * image], false).unwrap();
            assert_close(
                &format!("batch {batch} on {device}"),
                &some.get("logits").unwrap().values,
                &logits.values[..batch * 7],
                EXACT,
            );
        }
    }
}

/// Work is cut by the number of threads; sums are not.
#[test]
fn the_number_of_threads_changes_no_bit() {
    for folder in models() {
        let checkpoint = open(&folder);
        let (_, pixels) = golden(&folder, "pixel_values").unwrap();
        let run = |threads| {
            let options = Session::builder().device(Device::Cpu).threads(threads);
            options.build(checkpoint.clone()).unwrap().forward(&pixels, true).unwrap()
        };
        let one = run(1);
        compare(&folder, &one).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for threads in [2, 7] {
            assert_eq!(run(threads), one, "{} with {threads} threads", folder.display());
        }
    }
}

#[test]
fn threads_share_a_session() {
    let checkpoint = open(&goldens().join("models/timm_plain"));
    let folder = goldens().join("models/timm_plain");
    let (_, pixels) = golden(&folder, "pixel_values").unwrap();
    for (device, session) in sessions(&checkpoint) {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for taps in [false, true] {
                        let outputs = session.forward(&pixels, taps).unwrap();
                        if taps {
                            compare(&folder, &outputs).unwrap_or_else(|error| panic!("{device}: {error}"));
                        }
                    }
                });
            }
        });
    }
}

/// ViT-B/16 at full size, weights from the integer hash that both languages compute.
#[test]
fn full_size_vit_b_16() {
    let checkpoint = Checkpoint::open("random:vit_base_patch16_224@0").unwrap();
    let file = Tensors::open(&goldens().join("vit_base_patch16_224.safetensors")).unwrap();
    let values = vit_gpu::internals::model::random::HashedValues::new("vit_base_patch16_224", 0);
    let pixels: Vec<f32> = (0..3 * 224 * 224).map(|i| values.get(i)).collect();
    let named = || device::request();
    let mut tried = vec![
        (Device::Cpu, Kernels::Auto, Precision::F32),
        (named(), Kernels::Auto, Precision::F32),
        (named(), Kernels::Auto, Precision::F16),
    ];
    if device::executors().iter().any(|executor| executor.family == Kernels::Matrix) {
        tried.push((named(), Kernels::Matrix, Precision::F16));
    }
    for (device, kernels, precision) in tried {
        let options = Session::builder().device(device).kernels(kernels).precision(precision).threads(0);
        let session = match options.build(checkpoint.clone()) {
            Ok(session) => session,
            // An adapter without 16-bit floats.
            Err(vit_gpu::Error::Device { .. }) if precision == Precision::F16 => continue,
            Err(error) => panic!("{error}"),
        };
        let what = format!("{} {kernels:?} {}", session.device(), precision.name());
        let start = std::time::Instant::now();
        let outputs = session.forward(&pixels, false).unwrap();
        println!("{what}: {:?} with loading", start.elapsed());
        let stripe: Vec<f32> = outputs
            .get("last_hidden_state")
            .unwrap()
            .values
            .chunks_exact(768)
            .flat_map(|t| t.iter().step_by(48).copied())
            .collect();
        for (name, got) in [
            ("logits", &outputs.get("logits").unwrap().values),
            ("pooled", &outputs.get("pooled").unwrap().values),
            ("stripe", &stripe),
        ] {
            let (_, want) = file.values(name).unwrap();
            if precision == Precision::F16 {
                let far = distance(got, &want).unwrap();
                println!("  {name}: relative distance {far:.1e}");
                assert!(far < 1e-2, "{name} on {what}: off by {far:e}");
                continue;
            }
            assert_close(&format!("{name} on {what}"), got, &want, MODEL);
            println!("  {name}: {:.1} % of the tolerance", 100.0 * worst(got, &want, MODEL).unwrap());
        }
        if precision == Precision::F32 {
            let (_, want) = file.values("logits").unwrap();
            let top = |logits: &[f32]| checkpoint.labels.top_k(logits, 5).iter().map(|p| p.index).collect::<Vec<_>>();
            assert_eq!(top(&outputs.get("logits").unwrap().values), top(&want), "top 5 on {what}");
        }
    }
}

/// An app may stop waiting for a result, or ask for something wrong: the next run must be as good as the first.
#[test]
fn an_abandoned_or_failed_run_does_not_spoil_the_next() {
    use std::task::{Context, Waker};
    let folder = goldens().join("models/timm_plain");
    let (_, pixels) = golden(&folder, "pixel_values").unwrap();
    for (device, session) in sessions(&open(&folder)) {
        for _ in 0..2 {
            let mut run = Box::pin(session.forward_async(pixels.clone(), true));
            let _ = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            drop(run);
            assert!(session.forward(&pixels[1..], true).is_err());
            compare(&folder, &session.forward(&pixels, true).unwrap())
                .unwrap_or_else(|error| panic!("{device}: {error}"));
        }
    }
}

#[test]
fn a_lost_device_is_an_error_not_a_crash() {
    let executor = device::fresh();
    let op = vit_gpu::internals::ops::Op::Add(vit_gpu::internals::ops::Add { len: 4, scale: 1.0 });
    let x = [1.0f32; 4];
    let operands = [Some(vit_gpu::internals::ops::Data::F32(&x)); 2];
    pollster::block_on(executor.run_op(&op, None, &operands, &[0.0; 4])).unwrap();
    executor.lose_device();
    for _ in 0..2 {
        let error = pollster::block_on(executor.run_op(&op, None, &operands, &[0.0; 4])).unwrap_err();
        assert!(matches!(error, vit_gpu::Error::DeviceLost { .. }), "{error}");
        assert!(error.to_string().contains("the last that it ran was add"), "{error}");
    }
}
