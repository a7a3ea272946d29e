//! Downloads that break off, and how they go on.

use std::fs;

use vit_gpu::HubFault;

use crate::Place;
use crate::server::{Fault, Hub, Repo, Request};

const FILE: &str = "model.safetensors";

fn weights() -> Vec<u8> {
    (0..600_000_u32).map(|i| (i * 7 % 251) as u8).collect()
}

fn place() -> Place {
    let config: &[u8] = br#"{"architecture": "x"}"#;
    Place::new(Hub::with("a/b", Repo::new('1', &[("config.json", config), (FILE, &weights())])))
}

/// Requests for the bytes of the weights.
fn bodies(place: &Place) -> Vec<Request> {
    place.hub.requests().into_iter().filter(|request| request.second_host).collect()
}

#[track_caller]
fn is_whole(place: &Place) {
    let folder = place.pull("a/b").unwrap().folder;
    assert!(fs::read(folder.join(FILE)).unwrap() == weights());
    assert!(!place.tree().iter().any(|path| path.contains("incomplete")));
}

/// What is there of a download.
fn part(place: &Place) -> Option<std::path::PathBuf> {
    let found = place.tree().into_iter().find(|path| path.ends_with(".incomplete"));
    found.map(|path| place.cache(&path))
}

#[test]
fn a_cut_is_continued_at_once_in_the_same_version() {
    let place = place();
    place.hub.fault(FILE, Fault::Cut(200_000), 2);
    is_whole(&place);
    let asked: Vec<_> =
        bodies(&place).into_iter().map(|body| (body.header("range").map(str::to_owned), body)).collect();
    let ranges: Vec<_> = asked.iter().map(|(range, _)| range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=200000-"), Some("bytes=400000-")]);
    // The second host has an entity tag of its own, which is the one that counts there.
    assert!(asked[1].1.header("if-range").unwrap().starts_with("\"at-second-"), "{:?}", asked[1].1);
    assert_eq!(asked[0].1.header("if-range"), None);
}

#[test]
fn the_next_start_continues_what_was_cut() {
    let place = place();
    place.hub.fault(FILE, Fault::Cut(300_000), 1);
    std::thread::scope(|scope| {
        let pull = scope.spawn(|| place.fails("a/b"));
        while part(&place).and_then(|part| part.metadata().ok()).is_none_or(|part| part.len() < 300_000) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // From here on nothing more comes, which ends the pull.
        place.hub.fault(FILE, Fault::Cut(0), 99);
        let (fault, line) = pull.join().unwrap();
        assert_eq!(fault, HubFault::Cut);
        assert!(line.contains("`model.safetensors` broke off after 300000 of 600000 bytes: "), "{line}");
    });
    assert_eq!(part(&place).unwrap().metadata().unwrap().len(), 300_000);
    assert!(!place.tree().iter().any(|path| path.ends_with(FILE)), "nothing half-finished is shown");
    bodies(&place);
    place.hub.fault(FILE, Fault::Cut(0), 0);
    is_whole(&place);
    let asked = bodies(&place);
    assert_eq!((asked.len(), asked[0].header("range"), asked[0].header("if-range")), (1, Some("bytes=300000-"), None));
}

#[test]
fn a_server_that_does_not_continue_sends_everything_again() {
    for fault in [Fault::IgnoresRanges, Fault::OtherRange] {
        let place = place();
        place.pull("a/b").unwrap();
        // A part that begins as the file does.
        begin(&place, &weights()[..1000]);
        place.hub.fault(FILE, fault, 1);
        is_whole(&place);
    }
}

#[test]
fn a_part_of_something_else_is_thrown_away() {
    let place = place();
    place.pull("a/b").unwrap();
    for wrong in [vec![1; 1000], vec![1; 600_000], vec![1; 700_000]] {
        begin(&place, &wrong);
        is_whole(&place);
    }
}

/// Turns the model's blob into a part with these bytes.
fn begin(place: &Place, bytes: &[u8]) {
    let link = place.pull("a/b").unwrap().folder.join(FILE);
    let blob = link.canonicalize().unwrap();
    fs::remove_file(&blob).unwrap();
    let mut part = blob.into_os_string();
    part.push(".incomplete");
    fs::write(part, bytes).unwrap();
}

#[test]
fn what_stalls_never_ends_or_is_too_long_is_an_error() {
    let place = place();
    place.hub.fault(FILE, Fault::Stall(0), 99);
    let (fault, line) = place.fails("a/b");
    assert_eq!(fault, HubFault::Cut);
    assert!(line.contains("broke off after 0 of 600000 bytes: it did not answer in time"), "{line}");
    for endless in [Fault::Endless, Fault::Longer] {
        place.hub.fault(FILE, endless, 99);
        let (fault, line) = place.fails("a/b");
        assert_eq!(fault, HubFault::Cut);
        assert!(line.contains("`model.safetensors` does not end after the 600000 bytes that it may have"), "{line}");
        assert_eq!(part(&place), None);
    }
    place.hub.fault(FILE, Fault::Status(503), 99);
    assert!(place.fails("a/b").1.contains("broke off after 0 of 600000 bytes: the server answers with status 503"));
    place.hub.fault(FILE, Fault::Status(403), 99);
    assert!(place.fails("a/b").1.ends_with(": the host that the hub redirects to answers with status 403"));
    place.hub.fault(FILE, Fault::Status(503), 2);
    is_whole(&place);
}

#[test]
fn a_wrong_digest_is_never_kept() {
    for file in [FILE, "config.json"] {
        let place = place();
        place.hub.fault(file, Fault::Wrong, 1);
        let (fault, line) = place.fails("a/b");
        assert_eq!(fault, HubFault::Damaged);
        let want = format!("`{file}` was downloaded, but its digest is not the one that the hub announced");
        assert!(line.ends_with(&want), "{line}");
        assert_eq!(part(&place), None);
        is_whole(&place);
    }
}
