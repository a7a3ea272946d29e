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
