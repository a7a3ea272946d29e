//! What can be wrong with a name, a repository or the hub's answers, and the line that says so.

use vit_gpu::HubFault;

use crate::Place;
use crate::server::{Access, Hub, Repo, TOKEN, commit};

const FILES: &[(&str, &[u8])] = &[("config.json", b"{}"), ("model.safetensors", b"weights")];

fn place(repo: Repo) -> Place {
    Place::new(Hub::with("a/b", repo))
}

/// A pull fails with this fault and this text.
#[track_caller]
fn check(place: &Place, name: &str, fault: HubFault, text: &str) {
    let (found, line) = place.fails(name);
    assert_eq!(found, fault, "{line}");
    assert!(line.contains(text), "{line}");
}

#[test]
fn names_that_are_not_there() {
    let place = place(Repo::new('1', FILES));
    check(
        &place,
        "google/vit-bas",
        HubFault::NotFound,
        "has no model of this name that can be seen without a token in HF_TOKEN; short names like it are `vit-base`",
    );
    check(&place, "dinov2-smal", HubFault::NotFound, "nor a short name; short names like it are `dinov2-small`");
    check(&place, "xyzzy", HubFault::NotFound, "nor a name on the hub (`owner/name`), nor a short name");
    check(&place, "a/b@..", HubFault::NotFound, "`..` can't be a branch, a tag or a commit");
    check(&place, "a/b@v9", HubFault::Revision, "it has no branch, tag or commit `v9`");
    check(&place, &format!("a/b@{}", commit('9')), HubFault::Revision, "it has no branch, tag or commit `999");
}

#[test]
fn what_needs_a_token_says_so() {
    let mut place = place(Repo::new('1', FILES).access(Access::Gated));
    check(&place, "a/b", HubFault::Gated, "its owners grant access: accept their conditions at http://127.0.0.1:");
    place.settings.token = Some(TOKEN.to_owned());
    check(&place, "a/b", HubFault::Gated, "the token in use has no access to it: ask for access at http://127.0.0.1:");
    check(&place, "c/d", HubFault::NotFound, "that can be seen with this token");
    place.settings.token = Some("hf_old".to_owned());
    check(&place, "a/b", HubFault::Gated, "does not accept the token in HF_TOKEN or in the token file");
    place.hub.put("a/b", Repo::new('1', FILES).access(Access::Private));
    place.settings.token = None;
    check(&place, "a/b", HubFault::NotFound, "without a token in HF_TOKEN");
    place.settings.token = Some(TOKEN.to_owned());
    place.pull("a/b").unwrap();
}

#[test]
fn repositories_without_weights_that_can_be_read() {
    let pickled = [("config.json", &b"{}"[..]), ("pytorch_model.bin", b"pickle"), ("training_args.bin", b"")];
    let fault = HubFault::Pickled { file: "pytorch_model.bin".to_owned() };
    check(
        &place(Repo::new('1', &pickled)),
        "a/b",
        fault,
        "it has only pickled weights (`pytorch_model.bin`), and unpickling runs code",
    );
    let several = [("a.safetensors", &b"a"[..]), ("b.safetensors", b"b")];
    check(
        &place(Repo::new('1', &several)),
        "a/b",
        HubFault::NoWeights,
        "2 weights files and no main one (a.safetensors, b.safetensors)",
    );
    check(
        &place(Repo::new('1', &[("README.md", b"")])),
        "a/b",
        HubFault::NoWeights,
        "it has no .safetensors or .npz file",
    );
}

#[test]
fn hostile_names_in_an_index_lead_nowhere() {
    for hostile in [
        "../../../../evil.safetensors",
        "/tmp/evil.safetensors",
        "..\\\\evil.safetensors",
        "C:\\\\evil.safetensors",
        "a/../b.safetensors",
    ] {
        let index = format!(r#"{{"weight_map": {{"w": "{hostile}"}}}}"#);
        let files = [("config.json", &b"{}"[..]), ("model.safetensors.index.json", index.as_bytes())];
        let place = place(Repo::new('1', &files));
        check(&place, "a/b", HubFault::Damaged, "`model.safetensors.index.json`: it puts `w` into \"");
        assert!(!place.tree().iter().any(|path| path.contains("evil")));
        assert!(!place.path().join("evil.safetensors").exists());
    }
    let index = br#"{"weight_map": {"w": "lost.safetensors"}}"#;
    let place = place(Repo::new('1', &[("model.safetensors.index.json", index)]));
    check(&place, "a/b", HubFault::Damaged, "`lost.safetensors` is in its index, but not among its files");
}

#[test]
fn answers_that_make_no_sense() {
    let says = |says: &str| place(Repo { says: Some(says.to_owned()), ..Repo::new('1', FILES) });
    check(
        &says("<html></html>"),
        "a/b",
        HubFault::Unreachable,
        "it does not answer as a hub does; is HF_ENDPOINT right?",
    );
    for nonsense in ["", "../../../x", "main"] {
        check(&says(nonsense), "a/b", HubFault::Damaged, "the hub's answer has no commit");
    }
    let tags = |etag: &str| place(Repo { etag: Some(etag.to_owned()), ..Repo::new('1', FILES) });
    for nonsense in ["\"../../x\"", "\"\"", "\"abc\""] {
        check(&tags(nonsense), "a/b", HubFault::Damaged, "the hub gives no digest of `config.json`");
    }
    let other = place(Repo { commit_of_files: Some(commit('2')), ..Repo::new('1', FILES) });
    check(&other, "a/b", HubFault::Damaged, "`config.json` is of another commit than the one that was asked for");
}

#[test]
fn a_cache_that_is_no_folder_is_an_error_of_the_disk() {
    let place = place(Repo::new('1', FILES));
    std::fs::write(&place.settings.cache, "a file").unwrap();
    let error = place.pull("a/b").unwrap_err();
    assert!(matches!(error, vit_gpu::Error::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("hub/models--a--b"), "{error}");
}
