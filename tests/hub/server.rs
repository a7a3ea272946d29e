//! A server that speaks the hub's protocol, with a second host for large files, and with faults on request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use serde_json::json;

/// The token that the server accepts.
pub const TOKEN: &str = "hf_good";

/// What goes wrong with a file's body, on whichever host it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed after so many bytes of each answer.
    Cut(usize),
    /// Nothing comes after so many bytes.
    Stall(usize),
    /// Other bytes than those announced.
    Wrong,
    /// Bytes without an end, in chunks without an announced length.
    Endless,
    /// The length is announced right, but more comes.
    Longer,
    /// This status.
    Status(u16),
    /// A range is asked for, and the whole file is sent.
    IgnoresRanges,
    /// Another range is sent than the one that was asked for.
    OtherRange,
}

/// Who may see a repository.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    #[default]
    Open,
    /// Its owners have granted access to nobody.
    Gated,
    /// Whoever has the token may see it.
    Private,
}

#[derive(Clone)]
pub struct File {
    bytes: Vec<u8>,
    large: bool,
}

impl File {
    fn digest(&self) -> String {
        let mut context = Context::new(if self.large { &SHA256 } else { &SHA1_FOR_LEGACY_USE_ONLY });
        if !self.large {
            context.update(format!("blob {}\0", self.bytes.len()).as_bytes());
        }
        context.update(&self.bytes);
        context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[derive(Clone, Default)]
pub struct Repo {
    pub commits: BTreeMap<String, BTreeMap<String, File>>,
    pub revisions: BTreeMap<String, String>,
    pub access: Access,
    /// What the API says instead of the truth: the commit, or a whole page.
    pub says: Option<String>,
    /// What the headers of files say instead of the truth: their entity tag, and the commit that they are of.
    pub etag: Option<String>,
    pub commit_of_files: Option<String>,
}

impl Repo {
    /// A repository whose `main` is this commit (one digit, repeated) with these files. Those that end in `.safetensors`, `.npz`
    /// or `.bin` lie on the second host.
    pub fn new(digit: char, files: &[(&str, &[u8])]) -> Repo {
        Repo::default().commit("main", digit, files)
    }

    pub fn commit(mut self, revision: &str, digit: char, files: &[(&str, &[u8])]) -> Repo {
        let large = |name: &str| [".safetensors", ".npz", ".bin"].iter().any(|ending| name.ends_with(ending));
        let files =
            files.iter().map(|(name, bytes)| ((*name).to_owned(), File { bytes: bytes.to_vec(), large: large(name) }));
        self.commits.insert(commit(digit), files.collect());
        self.revisions.insert(revision.to_owned(), commit(digit));
        self
    }

    pub fn access(self, access: Access) -> Repo {
        Repo { access, ..self }
    }
}

/// A commit of one digit, repeated.
pub fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub second_host: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct State {
    repos: BTreeMap<String, Repo>,
    faults: BTreeMap<String, (Fault, usize)>,
    requests: Vec<Request>,
    second: String,
}

/// The server; it ends with the process.
pub struct Hub {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub fn start() -> Hub {
        let state = Arc::new(Mutex::new(State::default()));
        let listen = |second: bool| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (port, state) = (listener.local_addr().unwrap().port(), Arc::clone(&state));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    // A client that goes away is no error.
                    std::thread::spawn(move || drop(answer(stream, &state, second)));
                }
            });
            port
        };
        let (first, second) = (listen(false), listen(true));
        state.lock().unwrap().second = format!("http://127.0.0.1:{second}");
        Hub { url: format!("http://127.0.0.1:{first}"), state }
    }

    pub fn with(name: &str, repo: Repo) -> Hub {
        let hub = Hub::start();
        hub.put(name, repo);
        hub
    }

    pub fn put(&self, name: &str, repo: Repo) {
        self.state.lock().unwrap().repos.insert(name.to_owned(), repo);
    }

    /// Lets this happen to the next so many bodies of a file.
    pub fn fault(&self, file: &str, fault: Fault, times: usize) {
        self.state.lock().unwrap().faults.insert(file.to_owned(), (fault, times));
    }

    /// The requests since this was last called.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

/// Status, headers and body of an answer, and for a file what to do to its body.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    file: Option<String>,
}

fn plain(status: u16, headers: Vec<(&'static str, String)>) -> Answer {
    Answer { status, headers, body: Vec::new(), file: None }
}

fn error(status: u16, code: &str) -> Answer {
    plain(status, if code.is_empty() { Vec::new() } else { vec![("X-Error-Code", code.to_owned())] })
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, second_host: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let request = Request { method, path, headers, second_host };
    let (answer, fault) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let answer = if second_host { state.second(&request) } else { state.first(&request) };
        let body = request.method == "GET" && matches!(answer.status, 200 | 206);
        let fault = answer.file.as_ref().filter(|_| body).and_then(|file| state.next_fault(file));
        (answer, fault)
    };
    send(&mut stream, &request, answer, fault)
}

impl State {
    fn next_fault(&mut self, file: &str) -> Option<Fault> {
        let (fault, times) = self.faults.get_mut(file).filter(|(_, times)| *times > 0)?;
        *times -= 1;
        Some(*fault)
    }

    /// The host of large files: no API, no tokens, an entity tag of its own.
    fn second(&self, request: &Request) -> Answer {
        let wanted = request.path.trim_start_matches("/blob/").split('?').next().unwrap_or_default();
        let all = self.repos.values().flat_map(|repo| repo.commits.values()).flatten();
        match all.into_iter().find(|(_, file)| file.digest() == wanted) {
            Some((name, file)) => whole(name, file, vec![("ETag", format!("\"at-second-{}\"", &wanted[..8]))]),
            None => error(403, ""),
        }
    }

    fn first(&self, request: &Request) -> Answer {
        let token = request.header("authorization").map(|value| value == format!("Bearer {TOKEN}"));
        if token == Some(false) {
            return error(401, "");
        }
        let parts: Vec<String> = request.path.trim_start_matches('/').split('/').map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (owner, name, kind, revision, file) = match parts[..] {
            ["api", "models", owner, name, "revision", revision] => (owner, name, "info", revision, ""),
            ["api", "resolve-cache", "models", owner, name, revision, file] => (owner, name, "small", revision, file),
            [owner, name, "resolve", revision, file] => (owner, name, "resolve", revision, file),
            _ => return error(404, ""),
        };
        let Some(repo) = self.repos.get(&format!("{owner}/{name}")) else { return error(401, "RepoNotFound") };
        match repo.access {
            Access::Private if token.is_none() => return error(401, "RepoNotFound"),
            Access::Gated if kind != "info" => {
                return error(if token.is_some() { 403 } else { 401 }, "GatedRepo");
            }
            _ => {}
        }
        let commit = repo.revisions.get(revision).map_or(revision, String::as_str);
        let Some(files) = repo.commits.get(commit) else { return error(404, "RevisionNotFound") };
        if kind == "info" {
            return info(repo, commit, files);
        }
        let Some(found) = files.get(file) else { return error(404, "EntryNotFound") };
        let tag = repo.etag.clone().unwrap_or_else(|| format!("\"{}\"", found.digest()));
        let commit_header = ("X-Repo-Commit", repo.commit_of_files.clone().unwrap_or_else(|| commit.to_owned()));
        if found.large {
            let location = format!("{}/blob/{}?signature=a%2Fb", self.second, found.digest());
            let size = found.bytes.len().to_string();
            let headers = vec![commit_header, ("X-Linked-Etag", tag), ("X-Linked-Size", size), ("Location", location)];
            return plain(302, headers);
        }
        // Small files are redirected within the host, by a path.
        if kind == "resolve" {
            let location = format!("/api/resolve-cache/models/{owner}/{name}/{commit}/{file}");
            return plain(307, vec![commit_header, ("Location", location)]);
        }
        whole(file, found, vec![commit_header, ("ETag", tag)])
    }
}

fn info(repo: &Repo, commit: &str, files: &BTreeMap<String, File>) -> Answer {
    let files: Vec<_> = files.keys().map(|name| json!({ "rfilename": name })).collect();
    let sha = repo.says.clone().unwrap_or_else(|| commit.to_owned());
    let body = match sha.starts_with('<') {
        true => sha,
        false => json!({ "id": "x", "sha": sha, "siblings": files }).to_string(),
    };
    Answer { body: body.into_bytes(), ..plain(200, Vec::new()) }
}

fn whole(name: &str, file: &File, headers: Vec<(&'static str, String)>) -> Answer {
    Answer { body: file.bytes.clone(), file: Some(name.to_owned()), ..plain(200, headers) }
}

/// Sends an answer, as a range if one is asked for and the entity tag still fits.
fn send(stream: &mut TcpStream, request: &Request, mut answer: Answer, fault: Option<Fault>) -> std::io::Result<()> {
    if let Some(Fault::Status(status)) = fault {
        answer = error(status, "");
    }
    let (total, mut start) = (answer.body.len(), 0);
    let tag = answer.headers.iter().find(|(name, _)| *name == "ETag").map(|(_, tag)| tag.as_str());
    let same = request.header("if-range").is_none_or(|wanted| Some(wanted) == tag);
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let range: Option<usize> = range.and_then(|from| from.parse().ok());
    if let Some(from) = range.filter(|_| same && answer.file.is_some() && fault != Some(Fault::IgnoresRanges)) {
        if from >= total {
            answer = plain(416, vec![("Content-Range", format!("bytes */{total}"))]);
        } else {
            start = from - usize::from(fault == Some(Fault::OtherRange));
            answer.status = 206;
            answer.headers.push(("Content-Range", format!("bytes {start}-{}/{total}", total - 1)));
        }
    }
    let mut body = answer.body.get(start..).unwrap_or_default().to_vec();
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    match fault {
        Some(Fault::Endless) => head += "Transfer-Encoding: chunked\r\n",
        Some(Fault::Longer) => {}
        _ => head += &format!("Content-Length: {}\r\n", body.len()),
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    match fault {
        Some(Fault::Cut(after)) => stream.write_all(&body[..after.min(body.len())]),
        Some(Fault::Stall(after)) => {
            stream.write_all(&body[..after.min(body.len())])?;
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        Some(Fault::Wrong) => {
            body.iter_mut().for_each(|byte| *byte ^= 1);
            stream.write_all(&body)
        }
        Some(Fault::Longer) => {
            body.push(0);
            stream.write_all(&body)
        }
        Some(Fault::Endless) => loop {
            stream.write_all(format!("{:x}\r\n", 1 << 16).as_bytes())?;
            stream.write_all(&[7; 1 << 16])?;
            stream.write_all(b"\r\n")?;
        },
        _ => stream.write_all(&body),
    }
}

fn decode(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, next @ ..] = rest {
        let code = next
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &next[2..];
            }
            None => {
                bytes.push(*first);
                rest = next;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
