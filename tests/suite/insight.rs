//! Attention maps, rollout and relevance against PyTorch's hooks (`tests/goldens/insight.py`), on both executors.

use vit_gpu::insight::{Fusion, Rollout, class_attention, relevance, rollout};
use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};
use vit_gpu::{Device, Image, Session};

use crate::cli::{fails, run};
use crate::compare::{OP, Tolerance, assert_close};
use crate::device;
use crate::models::{goldens, sessions};

const MODELS: [&str; 6] =
    ["timm_plain", "timm_registers", "timm_prenorm_avg", "timm_distilled", "timm_qk_norm", "timm_pool_map"];
/// Logits, after a whole block and the head.
const LOGITS: Tolerance = Tolerance { absolute: 1e-4, relative: 1e-4 };

fn cat() -> Image {
    Image::open(device::root().join("assets/cat.png")).unwrap()
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(goldens().join("models").join(name).to_str().unwrap()).unwrap()
}

fn on_processor(name: &str) -> Session {
    Session::builder().device(Device::Cpu).threads(2).build(open(name)).unwrap()
}

#[test]
fn maps_rollout_and_relevance_are_those_of_pytorch() {
    for name in MODELS {
        let golden = Tensors::open(&goldens().join("insight").join(format!("{name}.safetensors"))).unwrap();
        for (device, session) in sessions(&open(name)) {
            let what = |part: &str| format!("{name} on {device}: {part}");
            let maps = session.attentions(&cat(), 0..session.attention_layers()).unwrap();
            for i in 0..session.attention_layers() {
                let (shape, want) = golden.values(&format!("attentions.{i}")).unwrap();
                let got = maps.get(&format!("attentions.{i}")).unwrap();
                assert_eq!(got.shape, shape, "{}", what("shape"));
                assert_close(&what(&format!("layer {i}")), &got.values, &want, OP);
            }
            for (fusion, text) in [(Fusion::Mean, "mean.0.0"), (Fusion::Max, "max.0.5"), (Fusion::Min, "min.0.25")] {
                let discard = text.split_once('.').unwrap().1.parse().unwrap();
                let (_, want) = golden.values(&format!("rollout.{text}")).unwrap();
                let got = rollout(&session, &cat(), Rollout { fusion, discard }).unwrap();
                assert_eq!((got.rows, got.cols), session.model().patch_grid());
                assert_close(&what(text), &got.values, &want, OP);
            }
            let Ok((_, want)) = golden.values("relevance") else { continue };
            let got = relevance(&session, &cat(), None).unwrap();
            assert_eq!(got.class, golden.values("class").unwrap().1[0] as usize, "{}", what("class"));
            assert_close(&what("relevance"), &got.map.values, &want, LOGITS);
        }
    }
}

#[test]
fn class_attention_is_the_first_row_or_the_mean_of_all() {
    for (name, class_token) in [("timm_registers", true), ("timm_prenorm_avg", false)] {
        let session = on_processor(name);
        let layers = class_attention(&session, &cat(), 1..2).unwrap();
        assert_eq!((layers.len(), layers[0].layer), (1, 1));
        let whole = session.attentions(&cat(), 1..2).unwrap().0.remove(0);
        let [_, heads, queries, keys] = whole.shape[..] else { panic!("{:?}", whole.shape) };
        let patches = layers[0].heads[0].values.len();
        assert_eq!(
            (layers[0].heads.len(), patches),
            (heads, session.model().patch_grid().0 * session.model().patch_grid().1)
        );
        for (head, map) in layers[0].heads.iter().enumerate() {
            let rows = &whole.values[head * queries * keys..(head + 1) * queries * keys];
            let of = |key: usize| match class_token {
                true => rows[key],
                false => rows.chunks_exact(keys).map(|row| row[key]).sum::<f32>() / queries as f32,
            };
            let want: Vec<f32> = (keys - patches..keys).map(of).collect();
            assert_close(name, &map.values, &want, OP);
        }
        let mean = layers[0].mean().values[0];
        let by_hand = layers[0].heads.iter().map(|map| map.values[0]).sum::<f32>() / heads as f32;
        assert!((mean - by_hand).abs() < 1e-6);
    }
}

#[test]
fn another_class_has_another_relevance() {
    let session = on_processor("timm_plain");
    let best = relevance(&session, &cat(), None).unwrap();
    let other = relevance(&session, &cat(), Some((best.class + 1) % 7)).unwrap();
    assert_ne!(best.map, other.map);
}

#[test]
fn what_a_model_lacks_is_refused() {
    let said = |error: vit_gpu::Error| error.to_string();
    let session = on_processor("timm_plain");
    let layers = session.attention_layers();
    for layers in [0..0, layers..layers + 1, 0..usize::MAX] {
        assert!(said(session.attentions(&cat(), layers).unwrap_err()).contains("the model has"));
    }
    assert!(said(relevance(&session, &cat(), Some(7)).unwrap_err()).contains("7 classes"));
    for discard in [-0.1, 1.0, f32::NAN] {
        assert!(rollout(&session, &cat(), Rollout { fusion: Fusion::Mean, discard }).is_err());
    }
    let error = relevance(&on_processor("timm_res_post"), &cat(), None).unwrap_err();
    assert!(said(error).contains("pre-norm"));
    assert!(matches!(relevance(&on_processor("timm_no_head"), &cat(), None), Err(vit_gpu::Error::NoHead { .. })));
    // Its images attend to each other.
    let session = on_processor("enc_batch_second");
    let error = session.attentions(&cat(), 0..1).unwrap_err();
    assert!(!said(error).is_empty());
}

#[test]
fn parallel_branches_have_their_heads_side_by_side() {
    let session = on_processor("timm_parallel_things");
    let maps = session.attentions(&cat(), 0..1).unwrap();
    let heads = session.checkpoint().config.num_heads;
    assert!(maps.0[0].shape[1] > heads && maps.0[0].shape[1].is_multiple_of(heads), "{:?}", maps.0[0].shape);
}

#[test]
fn the_command_writes_a_picture_or_the_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let draws = |arguments: &[&str], name: &str| {
        let output = file(name);
        let all = [&["attention", "assets/cat.png", "-d", "cpu", "-o", &output], arguments].concat();
        let ran = run(&all);
        assert!(ran.status.success(), "{all:?}: {}", String::from_utf8_lossy(&ran.stderr));
        std::fs::read(output).unwrap()
    };
    // The shape in the head of a .npy file, and the values.
    let values = |bytes: &[u8]| {
        let head = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let text = String::from_utf8_lossy(&bytes[10..head]).into_owned();
        let shape = text.split_once('(').unwrap().1.split_once(')').unwrap().0.to_owned();
        let (floats, _) = bytes[head..].as_chunks::<4>();
        (shape, floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>())
    };
    let session = Session::builder().device(Device::Cpu).build(Checkpoint::bundled().unwrap()).unwrap();
    let layers = class_attention(&session, &cat(), 0..6).unwrap();

    let (shape, got) = values(&draws(&["--method", "attention", "--grid"], "grid.NPY"));
    assert_eq!(shape, "6, 4, 8, 8,");
    let want: Vec<f32> = layers.iter().flat_map(|layer| &layer.heads).flat_map(|map| map.values.clone()).collect();
    assert_eq!(got, want);
    let (shape, got) = values(&draws(&["--method", "attention", "--layer", "2", "--head", "1"], "one.npy"));
    assert_eq!((shape.as_str(), &got), ("8, 8,", &layers[2].heads[1].values));
    let (_, got) = values(&draws(&["--discard", "0.5", "--fusion", "max"], "rollout.npy"));
    assert_eq!(got, rollout(&session, &cat(), Rollout { fusion: Fusion::Max, discard: 0.5 }).unwrap().values);
    let (_, by_name) = values(&draws(&["--method", "relevance", "--class", "Dog"], "dog.npy"));
    let (_, by_number) = values(&draws(&["--method", "relevance", "--class", "5"], "five.npy"));
    assert_eq!(by_name, by_number);

    // The picture alone on the left, with the map over it on the right.
    let png = draws(&[], "cat.png");
    let drawn = Image::decode(&png, "cat", vit_gpu::Orient::AsStored).unwrap();
    assert_eq!(drawn.width(), 3 * 8 + 2 * 448);
    let column = |x: usize| {
        let at = |y: usize| 3 * (y * drawn.width() + x);
        (8..456).map(|y| drawn.data()[at(y)..at(y) + 3].to_vec()).collect::<Vec<_>>()
    };
    let large = session.checkpoint().transform.clone().with_size((448, 448)).apply(&cat()).unwrap();
    let want: Vec<_> = (0..448).map(|y| large.data[3 * (y * 448 + 200)..][..3].to_vec()).collect();
    assert_eq!(column(8 + 200), want);
    assert_ne!(column(2 * 8 + 448 + 200), want);
}

#[test]
fn the_command_refuses_what_has_no_effect_or_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("map.png").to_str().unwrap().to_owned();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--layer", "1"], 2, "--layer has an effect with --method attention alone"),
        (&["--method", "attention", "--discard", "0.5"], 2, "--method rollout alone"),
        (&["--class", "cat"], 2, "--method relevance alone"),
        (&["--discard", "1"], 2, "from 0 to below 1"),
        (&["--method", "attention", "--layer", "6"], 2, "the model has 6"),
        (&["--method", "attention", "--head", "4"], 2, "has 4 heads"),
        (&["--method", "relevance", "--class", "unicorn"], 2, "no class of this name"),
        (&["--method", "relevance", "--class", "10"], 2, "10 classes"),
        (&["-m", "tests/goldens/models/timm_no_head", "--method", "relevance"], 2, "head"),
    ];
    for (arguments, code, expected) in cases {
        fails(&[&["attention", "assets/cat.png", "-d", "cpu", "-o", &output], arguments].concat(), code, expected);
    }
    fails(&["attention", "assets/cat.png", "-o", "map.jpg"], 2, "must end in .png or .npy");
    fails(&["attention", "assets/README.md", "-d", "cpu", "-o", &output], 1, "README.md");
    fails(&["attention", "assets/cat.png", "-d", "cpu", "-o", "/no/such/folder/map.png"], 2, "/no/such/folder/map.png");
    assert!(!std::path::Path::new(&output).exists());
}
