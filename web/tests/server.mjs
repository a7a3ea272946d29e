// Serves folders of the checkout over HTTP, as a static host would.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** Serves each folder under its prefix; the port is one that is free. `requests` lists the paths that were asked for. */
export async function serve(folders) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://host").pathname));
    requests.push(path);
    const prefix = Object.keys(folders).find((prefix) => path.startsWith(prefix));
    try {
      if (!prefix || path.includes("..")) throw new Error("not served");
      const file = join(folders[prefix], path.slice(prefix.length) || "index.html");
      const body = await readFile(file);
      response.writeHead(200, {
        "content-type": TYPES[extname(file)] ?? "application/octet-stream",
        "content-length": body.length,
      });
      response.end(body);
    } catch {
      response.writeHead(404, { "content-type": "text/plain" }).end("not found");
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { requests, address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
