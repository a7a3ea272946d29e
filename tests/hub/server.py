"""A small server that speaks the Hugging Face Hub's protocol, for folders on this machine.

    python server.py FOLDER [PORT]

FOLDER has one folder per model, OWNER/NAME, with its files. The server prints its address, then every request. Files of more
than 1,000 bytes are "large": they lie on a second host (another port) and have a SHA-256 digest. All others have the id of a git
blob. `import server` and `server.start(folder)` give an object with `url` and `requests`.
"""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

LARGE = 1000


def digest(data):
    if len(data) > LARGE:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commit_of(files):
    return hashlib.sha1(json.dumps([[name, digest(data)] for name, data in files.items()]).encode()).hexdigest()


class Hub:
    """Two listening sockets and what was asked of them."""

    def __init__(self, folder, port=0):
        self.folder, self.requests = Path(folder), []
        first = ThreadingHTTPServer(("127.0.0.1", port), self.handler(False))
        second = ThreadingHTTPServer(("127.0.0.1", 0), self.handler(True))
        self.url = f"http://127.0.0.1:{first.server_port}"
        self.second = f"http://127.0.0.1:{second.server_port}"
        for each in (first, second):
            threading.Thread(target=each.serve_forever, daemon=True).start()

    def files(self, repo):
        folder = self.folder / repo
        found = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
        return {path.name: path.read_bytes() for path in found}

    def handler(hub, second):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.answer()

            def do_GET(self):
                self.answer()

            def answer(self):
                path = unquote(self.path.split("?")[0])
                token = self.headers.get("Authorization")
                hub.requests.append((self.command, path, second, token))
                parts = path.strip("/").split("/")
                if second:
                    assert token is None, "the token followed to another host"
                    return self.blob(parts[-1])
                if parts[:2] == ["api", "models"] and parts[4:5] == ["tree"]:
                    return self.tree("/".join(parts[2:4]))
                if parts[:2] == ["api", "models"] and len(parts) in (4, 6):
                    return self.info("/".join(parts[2:4]), parts[5] if len(parts) == 6 else "main")
                if len(parts) == 5 and parts[2] == "resolve":
                    return self.resolve("/".join(parts[:2]), parts[3], parts[4])
                self.error(404, "RepoNotFound")

            def send(self, status, headers, body=b""):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def error(self, status, code, headers={}):
                self.send(status, {"X-Error-Code": code, "X-Error-Message": code, **headers})

            def known(self, repo, revision):
                """The files of a revision, or None after an error was sent."""
                files = hub.files(repo)
                if not files:
                    self.error(401, "RepoNotFound")
                elif revision not in ("main", commit_of(files)):
                    self.error(404, "RevisionNotFound")
                else:
                    return files

            def json(self, value):
                self.send(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

            def info(self, repo, revision):
                files = self.known(repo, revision)
                if files is not None:
                    names = [{"rfilename": name} for name in files]
                    self.json({"id": repo, "modelId": repo, "sha": commit_of(files), "siblings": names, "tags": []})

            def tree(self, repo):
                entries = []
                for name, data in hub.files(repo).items():
                    entry = {"type": "file", "path": name, "size": len(data), "oid": digest(data)[:40]}
                    if len(data) > LARGE:
                        entry["lfs"] = {"oid": digest(data), "size": len(data), "pointerSize": 130}
                    entries.append(entry)
                self.json(entries)

            def resolve(self, repo, revision, name):
                files = self.known(repo, revision)
                if files is None:
                    return
                commit = {"X-Repo-Commit": commit_of(files)}
                if name not in files:
                    return self.error(404, "EntryNotFound", commit)
                data = files[name]
                if len(data) > LARGE:
                    tag, size = f'"{digest(data)}"', str(len(data))
                    location = f"{hub.second}/blob/{digest(data)}?signature=x"
                    linked = {"X-Linked-Etag": tag, "X-Linked-Size": size, "Location": location, **commit}
                    return self.send(302, linked)
                self.send(200, {"ETag": f'"{digest(data)}"', **commit}, data)

            def blob(self, wanted):
                for folder in hub.folder.glob("*/*"):
                    for data in hub.files(folder.relative_to(hub.folder)).values():
                        if digest(data) == wanted:
                            return self.ranged(data, {"ETag": f'"second-{wanted[:8]}"', "Accept-Ranges": "bytes"})
                self.send(404, {})

            def ranged(self, data, headers):
                asked = self.headers.get("Range", "")
                if not asked.startswith("bytes="):
                    return self.send(200, headers, data)
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, end = int(first), int(last) if last else len(data) - 1
                headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
                self.send(206, headers, data[start : end + 1])

        return Handler


def start(folder, port=0):
    return Hub(folder, port)


if __name__ == "__main__":
    hub = start(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"HF_ENDPOINT={hub.url}", flush=True)
    shown = 0
    while True:
        threading.Event().wait(0.2)
        for request in hub.requests[shown:]:
            print(*request, flush=True)
            shown += 1
