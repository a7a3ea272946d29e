//! Text halves against the numbers of transformers and open_clip: tokens, embeddings, logits and scores, on every device.

use std::path::PathBuf;

use serde_json::Value;
use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};
use vit_gpu::{Device, Error, Image, Orient, Precision, Session, TextEmbedder, ZeroShot};

use crate::compare::{EXACT, MODEL, assert_close, distance};
use crate::models::{golden, goldens, sessions_in};

/// A golden of each library and each kind of text tower and tokenizer.
pub const MODELS: [&str; 8] = [
    "hf_clip",
    "hf_clip_legacy",
    "hf_siglip",
    "hf_siglip_masked",
    "hf_siglip2",
    "open_clip",
    "open_clip_siglip",
    "openai",
];

pub fn folder(model: &str) -> PathBuf {
    goldens().join("words").join(model)
}

fn open(model: &str) -> Checkpoint {
    Checkpoint::open(folder(model).to_str().unwrap()).unwrap_or_else(|error| panic!("{model}: {error}"))
}

fn on_processor(model: &str, precision: Precision) -> Session {
    Session::builder().device(Device::Cpu).threads(2).precision(precision).build(open(model)).unwrap()
}

/// `texts` or `labels` of the goldens.
fn listed(what: &str) -> Vec<String> {
    let json = std::fs::read_to_string(goldens().join("words/texts.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    json[what].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn token_ids_are_the_librarys() {
    let texts = listed("texts");
    let mut wrong = Vec::new();
    for model in MODELS {
        let embedder = TextEmbedder::new(on_processor(model, Precision::F32)).unwrap();
        let (shape, want) = golden(&folder(model), "input_ids").unwrap();
        assert_eq!(shape[0], texts.len());
        for (text, want) in texts.iter().zip(want.chunks_exact(shape[1])) {
            let got: Vec<f32> = embedder.token_ids(text).unwrap().into_iter().map(|id| id as f32).collect();
            if got != want {
                wrong.push(format!("{model}: {text:?}\n  is     {got:?}\n  wanted {want:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn text_embeddings_are_the_librarys() {
    let texts = listed("texts");
    for model in MODELS {
        let (shape, want) = golden(&folder(model), "text_embeds").unwrap();
        for (device, session) in sessions_in(&open(model), Precision::F32) {
            let embedder = TextEmbedder::new(session).unwrap();
            assert_eq!(embedder.dim(), shape[1]);
            let got = embedder.embed_batch(&texts).unwrap();
            assert_close(&format!("{model} on {device}"), &got.concat(), &want, MODEL);
            // One text by itself gives what it gives among others.
            assert_close(&format!("{model} on {device}, alone"), &embedder.embed(&texts[1]).unwrap(), &got[1], MODEL);
        }
    }
}

/// Eight bits within five percent, as for the small models of images.
#[test]
fn halves_and_eight_bits_stay_near() {
    let texts = listed("texts");
    for model in MODELS {
        let (_, want) = golden(&folder(model), "text_embeds").unwrap();
        let halves = sessions_in(&open(model), Precision::F16)
            .into_iter()
            .skip(1)
            .map(|(device, session)| (device, session, 1e-2));
        let eight = ("i8".to_owned(), on_processor(model, Precision::I8), 5e-2);
        for (device, session, limit) in halves.chain([eight]) {
            let got = TextEmbedder::new(session).unwrap().embed_batch(&texts).unwrap().concat();
            let off = distance(&got, &want).unwrap_or_else(|error| panic!("{model} on {device}: {error}"));
            assert!(off < limit, "{model} on {device}: {off}");
        }
    }
}

/// The logits of images and texts, from both halves.
#[test]
fn logits_are_the_librarys() {
    let texts = listed("texts");
    for model in MODELS {
        let (shape, want) = golden(&folder(model), "logits_per_image").unwrap();
        let (_, pixels) = golden(&folder(model), "pixel_values").unwrap();
        let session = on_processor(model, Precision::F32);
        let images = session.forward(&pixels, false).unwrap();
        let images = images.get("pooled").unwrap();
        let texts = ZeroShot::with_templates(session, &texts, &["{}"]).unwrap();
        assert_eq!((shape[0], shape[1]), (images.shape[0], texts.num_labels()));
        let got: Vec<f32> = images.values.chunks_exact(images.shape[1]).flat_map(|image| texts.logits(image)).collect();
        assert_close(model, &got, &want, MODEL);
    }
}

fn images() -> Vec<Image> {
    let read = |i: usize| {
        let path = goldens().join(format!("words/image{i}.png"));
        Image::decode(&std::fs::read(&path).unwrap(), "image", Orient::Exif).unwrap()
    };
    vec![read(0), read(1)]
}

/// Scores of labels: those of transformers' pipeline `zero-shot-image-classification`, and of open_clip's README.
#[test]
fn zero_shot_scores_are_the_pipelines() {
    let labels = listed("labels");
    for model in MODELS {
        let (shape, want) = golden(&folder(model), "scores").unwrap();
        for (device, session) in sessions_in(&open(model), Precision::F32) {
            let zero_shot = ZeroShot::new(session, &labels).unwrap().top_k(99);
            let mut got = vec![f32::NAN; want.len()];
            for (i, predictions) in zero_shot.classify_batch(&images()).unwrap().into_iter().enumerate() {
                let predictions = predictions.unwrap();
                assert!(predictions.is_sorted_by(|a, b| a.score >= b.score));
                for prediction in predictions {
                    assert_eq!(prediction.label.as_deref(), Some(&*labels[prediction.index]));
                    got[i * shape[1] + prediction.index] = prediction.score;
                }
            }
            assert_close(&format!("{model} on {device}"), &got, &want, MODEL);
        }
    }
}

/// A pair of towers that was trained (`training/words.py`): 48 labels for 240 drawings that it has not seen, of which 40 show
/// pairs of colour and shape that it has never seen. The scores are PyTorch's, and so is how often the best label is right.
#[test]
fn a_trained_pair_is_as_right_as_in_pytorch() {
    let folder = goldens().join("shapes");
    let held = Tensors::open(&folder.join("held.safetensors")).unwrap();
    let get = |name: &str| held.values(name).unwrap();
    let ((shape, want), (_, shown)) = (get("scores"), get("labels"));
    let names = std::fs::read_to_string(folder.join("labels.txt")).unwrap();
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(shape, [shown.len(), names.len()]);
    // The drawings are one below the other in one picture.
    let sheet = Image::decode(&std::fs::read(folder.join("held.png")).unwrap(), "held.png", Orient::Exif).unwrap();
    let images: Vec<Image> =
        sheet.data().chunks_exact(32 * 32 * 3).map(|image| Image::from_rgb(32, 32, image.to_vec()).unwrap()).collect();
    for (device, session) in sessions_in(&Checkpoint::open(folder.to_str().unwrap()).unwrap(), Precision::F32) {
        let zero_shot = ZeroShot::new(session, &names).unwrap().top_k(99);
        let (mut right, mut theirs) = (0, 0);
        for ((result, want), shown) in
            zero_shot.classify_batch(&images).unwrap().into_iter().zip(want.chunks_exact(names.len())).zip(&shown)
        {
            let predictions = result.unwrap();
            let mut got = vec![f32::NAN; names.len()];
            predictions.iter().for_each(|prediction| got[prediction.index] = prediction.score);
            assert_close(&format!("shapes on {device}"), &got, want, MODEL);
            let best = (0..want.len()).max_by(|&a, &b| want[a].total_cmp(&want[b])).unwrap();
            (right, theirs) =
                (right + u32::from(predictions[0].index as f32 == *shown), theirs + u32::from(best as f32 == *shown));
        }
        println!("{device}: {right} of {} are right", shown.len());
        assert!(right == theirs && f64::from(right) > 0.6 * shown.len() as f64, "{device}: {right} and {theirs}");
    }
}

/// Several templates: each vector scaled to length 1, their mean, which is scaled again.
#[test]
fn templates_are_averaged() {
    let session = on_processor("hf_clip", Precision::F32);
    let embedder = TextEmbedder::new(session.clone()).unwrap();
    let unit = |vector: Vec<f32>| {
        let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        vector.into_iter().map(|v| v / length).collect::<Vec<_>>()
    };
    let [one, two] = ["a photo of a cat", "an image of a cat"].map(|text| unit(embedder.embed(text).unwrap()));
    let mean = unit(one.iter().zip(&two).map(|(a, b)| a + b).collect());
    let zero_shot =
        ZeroShot::with_templates(session.clone(), &["cat"], &["a photo of a {}", "an image of a {}"]).unwrap();
    let (scale, bias) = embedder.logit_scale_and_bias().unwrap();
    assert_eq!(bias, 0.0);
    // The logit of the mean itself is the scale, and no other direction has it.
    assert_close("the mean", &zero_shot.logits(&mean), &[scale], MODEL);
    assert!(zero_shot.logits(&one)[0] < 0.9999 * scale);

    let failed = |labels: &[&str], templates: &[&str]| {
        ZeroShot::with_templates(session.clone(), labels, templates).unwrap_err().to_string()
    };
    assert_eq!(failed(&[], &["{}"]), "no labels were given");
    assert_eq!(failed(&["a"], &[]), "no templates were given");
    assert_eq!(failed(&["a"], &["a photo"]), "\"a photo\" has no {} for the label");
    assert_eq!(embedder.embed_batch(&[""; 0]).unwrap_err().to_string(), "no texts were given");
}

#[test]
fn models_without_texts_say_why() {
    let plain =
        Session::builder().device(Device::Cpu).build(Checkpoint::open("random:vit_tiny_patch16_224@1").unwrap());
    let error = TextEmbedder::new(plain.unwrap()).unwrap_err();
    assert!(matches!(error, Error::NoText { .. }) && !error.is_input());
    assert_eq!(error.to_string(), "random:vit_tiny_patch16_224@1 can't read texts: it has no text half");
}

/// OpenAI's vocabulary serves a file of transformers' CLIP that has no tokenizer beside it, if it is as large.
#[test]
fn missing_tokenizers_are_errors() {
    let files = |model: &str, wanted: &[&str]| {
        let copy = tempfile::tempdir().unwrap();
        for file in wanted {
            std::fs::copy(folder(model).join(file), copy.path().join(file)).unwrap();
        }
        let opened =
            Session::builder().device(Device::Cpu).build(Checkpoint::open(copy.path().to_str().unwrap()).unwrap());
        TextEmbedder::new(opened.unwrap()).map(|_| ()).unwrap_err().to_string()
    };
    let error = files("hf_clip", &["model.safetensors", "config.json"]);
    assert!(error.ends_with("texts need the tokenizer's files, and tokenizer.json is missing"), "{error}");
    let error = files("hf_siglip", &["model.safetensors", "config.json"]);
    assert!(error.ends_with("and tokenizer.json or spiece.model is missing"), "{error}");
    let bytes = std::fs::read(folder("hf_clip").join("model.safetensors")).unwrap();
    let config = std::fs::read_to_string(folder("hf_clip").join("config.json")).unwrap();
    let memory = Checkpoint::from_bytes("memory", bytes, Some(&config), None).unwrap();
    let error = TextEmbedder::new(Session::builder().device(Device::Cpu).build(memory).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "memory: texts need the tokenizer's files, and tokenizer.json is missing");
}

/// What a call gives does not depend on the texts beside it, whatever their lengths.
#[test]
fn texts_do_not_depend_on_each_other() {
    let texts = listed("texts");
    for model in ["hf_clip", "hf_siglip_masked"] {
        let embedder = TextEmbedder::new(on_processor(model, Precision::F32)).unwrap().normalized(true);
        let together = embedder.embed_batch(&texts).unwrap();
        for (text, vector) in texts.iter().zip(&together) {
            assert_close(text, &embedder.embed(text).unwrap(), vector, EXACT);
            let length: f32 = vector.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-5);
        }
    }
}
