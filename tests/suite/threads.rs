//! Sessions called from many threads, of other pools too.

use rayon::prelude::*;
use vit_gpu::{Classifier, Device, Image, Session};

use crate::models::goldens;

/// A thread of a pool that waits for another pool takes up other work meanwhile: a lock that it holds would be asked for again
/// by the same thread.
#[test]
fn a_classifier_is_called_from_a_thread_pool() {
    let images: Vec<Image> = (0..200u8).map(|i| Image::from_rgb(9, 7, vec![i; 189]).unwrap()).collect();
    let model = goldens().join("models/timm_plain");
    for threads in [1, 3] {
        let options = Session::builder().device(Device::Cpu).threads(threads);
        let checkpoint = vit_gpu::internals::checkpoint::Checkpoint::open(model.to_str().unwrap()).unwrap();
        let session = options.build(checkpoint).unwrap();
        let alone: Vec<_> = session.classify(&images, 5).unwrap();
        let classifier = Classifier::new(session).unwrap();
        let (done, waited) = std::sync::mpsc::channel();
        let images = images.clone();
        let worker = std::thread::spawn(move || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
            let all: Vec<_> = pool.install(|| images.par_iter().map(|i| classifier.classify(i).unwrap()).collect());
            done.send(all).unwrap();
        });
        let all = waited.recv_timeout(std::time::Duration::from_secs(60)).expect("no thread waits for itself");
        worker.join().unwrap();
        for (got, want) in all.iter().flatten().zip(alone.iter().flatten()) {
            assert_eq!(got.index, want.index);
            assert!((got.score - want.score).abs() < 1e-6);
        }
    }
}
