//! What is downloaded, where it goes, and how often anyone is asked.

use std::fs;

use vit_gpu::HubFault;
use vit_gpu::internals::hub;

use crate::server::{Access, Hub, Repo, TOKEN, commit};
use crate::{Place, names};

const NAME: &str = "google/vit-base-patch16-224";
const CONFIG: &[u8] = br#"{"model_type": "vit"}"#;
const IMAGES: &[u8] = b"{}";

/// A model of transformers, with everything that such a repository has besides.
fn transformers(digit: char, weights: &[u8]) -> Repo {
    let files: &[(&str, &[u8])] = &[
        (".gitattributes", b"*.bin lfs"),
        ("README.md", b"# A model"),
        ("config.json", CONFIG),
        ("onnx", b"a folder, elsewhere"),
        ("preprocessor_config.json", IMAGES),
        ("model.safetensors", weights),
        ("pytorch_model.bin", b"a pickle"),
    ];
    Repo::new(digit, files)
}

#[test]
fn only_what_is_needed_comes_and_lies_where_python_puts_it() {
    let mut place = Place::new(Hub::with(NAME, transformers('1', b"weights")));
    place.settings.token = Some(TOKEN.to_owned());
    let mut told = Vec::new();
    let found = hub::pull(NAME, &place.settings, &mut |done, of| told.push((done, of))).unwrap();
    assert_eq!(found.folder, place.cache("models--google--vit-base-patch16-224/snapshots").join(commit('1')));
    assert_eq!((found.commit.as_str(), found.note), (commit('1').as_str(), None));
    assert_eq!(names(&found.folder), ["config.json", "model.safetensors", "preprocessor_config.json"]);
    assert_eq!((told[0], *told.last().unwrap()), ((0, 7), (7, 7)));
    let repo = "models--google--vit-base-patch16-224";
    // Digests as `git hash-object` and `sha256sum` print them.
    let weights = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";
    assert_eq!(blob(&place, repo, "model.safetensors"), weights);
    assert_eq!(blob(&place, repo, "preprocessor_config.json"), "9e26dfeeb6e641a33dae4961196235bdb965b21b");
    let tree = place.tree();
    for path in [
        "CACHEDIR.TAG".to_owned(),
        format!("{repo}/refs/main"),
        format!("{repo}/.no_exist/{}/processor_config.json", commit('1')),
        format!(".locks/{repo}/{weights}.lock"),
    ] {
        assert!(tree.contains(&path), "{path} in {tree:#?}");
    }
    assert_eq!(fs::read_to_string(place.cache(&format!("{repo}/refs/main"))).unwrap(), commit('1'));
    assert!(!tree.iter().any(|path| path.contains("incomplete") || path.contains(".tmp")), "{tree:#?}");
    // The token goes to the hub with every request, and to nobody else.
    let requests = place.hub.requests();
    assert!(requests.iter().any(|request| request.second_host));
    for request in &requests {
        let want = (!request.second_host).then(|| format!("Bearer {TOKEN}"));
        assert_eq!(request.header("authorization"), want.as_deref(), "{request:?}");
        assert_eq!(request.header("accept-encoding"), Some("identity"));
    }
}

/// The name of the blob that a link leads to, after a look at how it leads there.
fn blob(place: &Place, repo: &str, file: &str) -> String {
    let link = place.cache(&format!("{repo}/snapshots/{}/{file}", commit('1')));
    let target = fs::read_link(link).unwrap();
    let name = target.strip_prefix("../../blobs").unwrap().to_str().unwrap().to_owned();
    assert!(place.cache(&format!("{repo}/blobs/{name}")).is_file());
    name
}

#[test]
fn a_model_that_is_there_costs_one_request_and_none_offline_or_by_commit() {
    let mut place = Place::new(Hub::with(NAME, transformers('1', b"weights")));
    let first = place.pull(NAME).unwrap();
    place.hub.requests();
    assert_eq!(place.pull(NAME).unwrap().folder, first.folder);
    let asked = place.hub.requests();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/api/models/google/vit-base-patch16-224/revision/main"));
    assert_eq!(place.pull(&format!("{NAME}@{}", commit('1'))).unwrap().folder, first.folder);
    // The short name is the same model.
    place.settings.offline = true;
    for name in [NAME, "vit-base"] {
        let found = place.pull(name).unwrap();
        assert_eq!((found.folder, found.note), (first.folder.clone(), None));
    }
    let (fault, line) = place.fails("a/b");
    assert_eq!(fault, HubFault::Offline);
    assert!(
        line.contains("it is not in the cache (") && line.ends_with("HF_HUB_OFFLINE is set, so the hub is not asked"),
        "{line}"
    );
    fs::remove_file(first.folder.join("preprocessor_config.json")).unwrap();
    assert!(place.fails(NAME).1.contains("`preprocessor_config.json` is not in the cache ("));
    fs::remove_file(first.folder.join("model.safetensors")).unwrap();
    assert!(place.fails(NAME).1.contains("its weights file is not in the cache ("));
    assert!(place.hub.requests().is_empty());
}

#[test]
fn without_a_network_the_cache_is_used_and_that_is_said() {
    let mut place = Place::new(Hub::with(NAME, transformers('1', b"weights")));
    let first = place.pull(NAME).unwrap();
    let endpoint = std::mem::replace(&mut place.settings.endpoint, "http://127.0.0.1:9".to_owned());
    let found = place.pull(NAME).unwrap();
    let note = found.note.unwrap();
    assert_eq!(found.folder, first.folder);
    assert!(
        note.starts_with("127.0.0.1:9 can't be reached: ")
            && note.ends_with("; the files in the cache are used, commit 1111111"),
        "{note}"
    );
    let (fault, line) = place.fails("a/b");
    assert_eq!(fault, HubFault::Unreachable);
    assert!(line.starts_with("a/b: 127.0.0.1:9 can't be reached: "), "{line}");
    // A page for signing in, instead of the hub, and a model that the hub no longer shows.
    place.settings.endpoint = endpoint;
    place.hub.put(NAME, Repo { says: Some("<html>sign in</html>".into()), ..transformers('1', b"weights") });
    assert!(place.pull(NAME).unwrap().note.unwrap().contains("it does not answer as a hub does"));
    place.hub.put(NAME, transformers('1', b"weights").access(Access::Private));
    assert!(place.pull(NAME).unwrap().note.unwrap().contains("has no model of this name that can be seen"));
}

#[test]
fn revisions_stand_side_by_side_and_share_what_is_the_same() {
    let repo = transformers('1', b"old weights").commit(
        "v2/next",
        '2',
        &[("config.json", CONFIG), ("preprocessor_config.json", IMAGES), ("model.safetensors", b"new weights")],
    );
    let place = Place::new(Hub::with(NAME, repo.clone()));
    let old = place.pull(NAME).unwrap();
    place.hub.requests();
    let new = place.pull(&format!("{NAME}@v2/next")).unwrap();
    assert_eq!(new.commit, commit('2'));
    let bodies =
        place.hub.requests().into_iter().filter(|request| request.method == "GET" && request.path.contains("blob"));
    assert_eq!(bodies.count(), 1, "only the weights differ");
    assert_eq!(fs::read(old.folder.join("model.safetensors")).unwrap(), b"old weights");
    assert_eq!(fs::read(new.folder.join("model.safetensors")).unwrap(), b"new weights");
    let (fault, line) = place.fails(&format!("{NAME}@v3"));
    assert_eq!(fault, HubFault::Revision);
    assert!(line.contains("it has no branch, tag or commit `v3` on 127.0.0.1:"), "{line}");
    // The branch moves on.
    place.hub.put(NAME, repo.commit("main", '3', &[("config.json", CONFIG), ("model.safetensors", b"newest")]));
    assert_eq!(place.pull(NAME).unwrap().commit, commit('3'));
    let reference = place.cache("models--google--vit-base-patch16-224/refs/main");
    assert_eq!(fs::read_to_string(reference).unwrap(), commit('3'));
}

#[test]
fn shards_open_clip_timm_and_archives() {
    let index =
        br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    type Files = [(&'static str, &'static [u8])];
    let cases: [(&Files, &[&str]); 4] = [
        (
            &[
                ("config.json", CONFIG),
                ("model.safetensors.index.json", index),
                ("model-00001-of-00002.safetensors", b"one"),
                ("model-00002-of-00002.safetensors", b"two"),
                ("model-00003-of-00003.safetensors", b"of another set"),
            ],
            &[
                "config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
            ],
        ),
        (
            &[
                ("open_clip_config.json", b"{}"),
                ("open_clip_model.safetensors", b"w"),
                ("open_clip_pytorch_model.bin", b"p"),
                ("tokenizer.json", b"{}"),
            ],
            &["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"],
        ),
        (
            &[("config.json", br#"{"architecture": "x"}"#), ("model.safetensors", b"w"), ("pytorch_model.bin", b"p")],
            &["config.json", "model.safetensors"],
        ),
        (&[("README.md", b""), ("ViT-B_16.npz", b"arrays")], &["ViT-B_16.npz"]),
    ];
    for (files, want) in cases {
        let mut place = Place::new(Hub::with("a/b", Repo::new('4', files)));
        let found = place.pull("a/b").unwrap();
        assert_eq!(names(&found.folder), want);
        place.settings.offline = true;
        assert_eq!(place.pull("a/b").unwrap().folder, found.folder);
        if want.len() == 4 {
            fs::remove_file(found.folder.join(want[2])).unwrap();
            assert!(place.fails("a/b").1.contains("`model-00002-of-00002.safetensors` is not in the cache"));
        }
    }
}

#[test]
fn where_there_are_no_links_the_files_themselves_lie_in_the_snapshot() {
    let mut place = Place::new(Hub::with(NAME, transformers('1', b"weights")));
    place.settings.symlinks = false;
    let found = place.pull(NAME).unwrap();
    for name in names(&found.folder) {
        assert!(found.folder.join(name).symlink_metadata().unwrap().is_file());
    }
    assert!(names(&place.cache("models--google--vit-base-patch16-224/blobs")).is_empty());
    place.hub.requests();
    place.pull(NAME).unwrap();
    assert_eq!(place.hub.requests().len(), 1);
    // A blob that other snapshots show is copied, not taken from them.
    let place = Place::new(Hub::with(
        NAME,
        transformers('1', b"weights").commit("v2", '2', &[("model.safetensors", b"weights")]),
    ));
    place.pull(NAME).unwrap();
    let settings = vit_gpu::internals::hub::Settings { symlinks: false, ..place.settings.clone() };
    let second = hub::pull(&format!("{NAME}@v2"), &settings, &mut |_, _| ()).unwrap();
    assert!(second.folder.join("model.safetensors").symlink_metadata().unwrap().is_file());
    assert_eq!(names(&place.cache("models--google--vit-base-patch16-224/blobs")).len(), 3);
}

#[test]
fn two_at_a_time_download_once() {
    let weights = vec![5; 3 << 20];
    let place = Place::new(Hub::with(NAME, transformers('1', &weights)));
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| place.pull(NAME).unwrap().folder)).collect();
        let folders: Vec<_> = pulls.into_iter().map(|pull| pull.join().unwrap()).collect();
        assert!(folders.iter().all(|folder| *folder == folders[0]));
        assert_eq!(fs::read(folders[0].join("model.safetensors")).unwrap(), weights);
    });
    let bodies = place.hub.requests().into_iter().filter(|request| request.second_host);
    assert_eq!(bodies.count(), 1, "the others waited");
}

#[test]
fn the_cache_is_listed_and_models_are_removed() {
    let place = Place::new(Hub::with(NAME, transformers('1', b"weights")));
    assert!(hub::cached(&place.settings).unwrap().is_empty());
    let found = place.pull(NAME).unwrap();
    fs::create_dir_all(place.cache("models--a--half/snapshots").join(commit('2'))).unwrap();
    let listed = hub::cached(&place.settings).unwrap();
    assert_eq!(listed.iter().map(|model| model.repo.as_str()).collect::<Vec<_>>(), ["a/half", NAME]);
    assert_eq!((listed[0].bytes, listed[0].folder.as_deref()), (0, None));
    assert_eq!(listed[1].folder.as_deref(), Some(found.folder.as_path()));
    let own = (b"weights".len() + CONFIG.len() + IMAGES.len()) as u64;
    // The reference is a file, too.
    assert_eq!(listed[1].bytes, own + 40);
    assert_eq!(hub::remove("vit-base", &place.settings).unwrap(), Some(own + 40));
    assert_eq!(hub::remove(NAME, &place.settings).unwrap(), None);
    assert!(!place.cache("models--google--vit-base-patch16-224").exists());
}
