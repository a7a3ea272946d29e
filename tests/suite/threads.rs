//! Sessions called from many threads, of other pools too.

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

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
        let all = waited.recv_timeout(Duration::from_secs(60)).expect("no thread waits for itself");
        worker.join().unwrap();
        for (got, want) in all.iter().flatten().zip(alone.iter().flatten()) {
            assert_eq!(got.index, want.index);
            assert!((got.score - want.score).abs() < 1e-6);
        }
    }
}

/// Whoever awaits gets the thread back at once, and the same result as whoever blocks.
#[test]
fn asynchronous_calls_do_not_block() {
    let model = goldens().join("models/timm_plain");
    let images: Vec<Image> = (0..400).map(|i| Image::from_rgb(640, 480, vec![i as u8; 921_600]).unwrap()).collect();
    for device in [Device::Cpu, crate::device::request()] {
        let session = Session::builder().device(device).build(vit_gpu::Model::open(&model).unwrap()).unwrap();
        let clock = Instant::now();
        let want = session.classify_each(&images, 3).unwrap();
        let blocking = clock.elapsed();
        let clock = Instant::now();
        let mut run = Box::pin(session.classify_async(&images, 3));
        let mut polls = 0;
        let got = loop {
            let polled = Instant::now();
            let result = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polls == 0 || polled.elapsed() < blocking / 4, "poll {polls} took {:?}", polled.elapsed());
            polls += 1;
            match result {
                Poll::Ready(result) => break result.unwrap(),
                Poll::Pending => std::thread::sleep(Duration::from_millis(1)),
            }
            assert!(clock.elapsed() < Duration::from_secs(60));
        };
        assert!(polls > 1, "the first poll did all of it");
        let all = |results: Vec<vit_gpu::Result<_>>| results.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(all(got), all(want));
    }
}
