// Models that are kept in the browser, by its Cache interface: on disk, until they are removed or the browser needs the room.

import { VitGpuError } from "./errors.js";
import type { ModelFiles, Progress } from "./protocol.js";

const CACHE = "vit-gpu-models-1";
const WEIGHTS = "model.safetensors";
const CONFIG = "config.json";
const PREPROCESSOR = "preprocessor_config.json";

/** A model that is kept. */
export interface KeptModel {
  name: string;
  /** Bytes of its weights. */
  size: number;
}

/** Where a model's files are. */
interface Places {
  weights: string;
  config: string[];
  preprocessor: string;
}

/** A file's key: no request ever goes there. */
function key(model: string, file: string): string {
  return `/vit-gpu-models/${encodeURIComponent(model)}/${file}`;
}

/** The cache; nothing where the browser has none, as on pages without HTTPS. */
async function opened(): Promise<Cache | undefined> {
  try {
    return await globalThis.caches?.open(CACHE);
  } catch {
    return undefined;
  }
}

/** The models that are kept, by name. */
export async function keptModels(): Promise<KeptModel[]> {
  const cache = await opened();
  const models: KeptModel[] = [];
  for (const request of (await cache?.keys()) ?? []) {
    const [model, file] = new URL(request.url).pathname.split("/").slice(-2);
    if (!cache || !model || file !== WEIGHTS) continue;
    const size = Number((await cache.match(request))?.headers.get("content-length") ?? 0);
    models.push({ name: decodeURIComponent(model), size });
  }
  return models.sort((a, b) => a.name.localeCompare(b.name));
}

/** Forgets a model. */
export async function forgetModel(name: string): Promise<void> {
  const cache = await opened();
  await Promise.all([WEIGHTS, CONFIG, PREPROCESSOR].map((file) => cache?.delete(key(name, file))));
}

/** Keeps a model's files under a name, so that the name opens it from now on. If there is no room, it fails and nothing is kept. */
export async function keepModel(name: string, files: ModelFiles): Promise<void> {
  const cache = await opened();
  if (!cache) throw new VitGpuError("VitGpuError", "this browser keeps nothing for this page");
  const put = async (file: string, content: Blob | string | undefined) => {
    if (content === undefined) return;
    const length = content instanceof Blob ? content.size : new Blob([content]).size;
    await cache.put(key(name, file), new Response(content, { headers: { "content-length": String(length) } }));
  };
  try {
    // The weights come last: with them the model counts as kept.
    await put(CONFIG, files.config);
    await put(PREPROCESSOR, files.preprocessor);
    await put(WEIGHTS, files.weights);
  } catch (thrown) {
    await forgetModel(name);
    throw new VitGpuError("VitGpuError", `${name}: this browser has no room to keep it (${String(thrown)})`);
  }
}

/** A model's files, if it is kept. */
export async function keptModel(name: string): Promise<ModelFiles | undefined> {
  const cache = await opened();
  const content = async (file: string) => (await cache?.match(key(name, file)))?.blob();
  const weights = await content(WEIGHTS);
  return weights && { name, weights, config: await content(CONFIG), preprocessor: await content(PREPROCESSOR) };
}

/** Where the files of an address are. */
function places(address: string): Places {
  const hub = /^[\w.-]+\/[\w.-]+$/.test(address);
  const base = hub ? `https://huggingface.co/${address}/resolve/main/` : address;
  let url: URL;
  try {
    url = new URL(base, globalThis.location.href);
  } catch {
    throw new VitGpuError("ArgumentError", `${address}: this is neither an address nor the name of a model`);
  }
  const file = url.pathname.endsWith(".safetensors");
  if (!file && !url.pathname.endsWith("/")) url.pathname += "/";
  const beside = (name: string) => {
    const other = new URL(name, url);
    other.search = url.search;
    return other.href;
  };
  return {
    weights: file ? url.href : beside(WEIGHTS),
    config: [beside(CONFIG), beside("open_clip_config.json")],
    preprocessor: beside(PREPROCESSOR),
  };
}

/** A model's files from the browser, or from an address, and then kept. */
export async function fetchModel(address: string, told: (progress: Progress) => void): Promise<ModelFiles> {
  const kept = await keptModel(address);
  if (kept) return kept;
  const { weights, config, preprocessor } = places(address);
  const files: ModelFiles = { name: address, weights: new Blob() };
  for (const place of config) files.config ??= await text(place);
  files.preprocessor = await text(preprocessor);
  files.weights = await download(weights, (done, of) => told({ stage: "download", done, of }));
  try {
    await keepModel(address, files);
    return (await keptModel(address)) ?? files;
  } catch {
    // There is too little room, or none: it runs all the same.
    return files;
  }
}

/** A small file's text, if there is one at this address. */
async function text(address: string): Promise<string | undefined> {
  const response = await request(address);
  if (response.ok) {
    const content = await response.text();
    // Servers of single-page apps answer with their page where there is no file.
    return content.trimStart().startsWith("<") ? undefined : content;
  }
  if (response.status === 404 || response.status === 410) return undefined;
  throw refusal(address, response);
}

async function download(address: string, told: (done: number, of: number) => void): Promise<Blob> {
  const response = await request(address);
  if (!response.ok || !response.body) throw refusal(address, response);
  const of = Number(response.headers.get("content-length") ?? 0);
  let done = 0;
  told(done, of);
  const counted = response.body.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, next) {
        done += chunk.byteLength;
        told(done, of);
        next.enqueue(chunk);
      },
    }),
  );
  try {
    return await new Response(counted).blob();
  } catch {
    throw new VitGpuError("NetworkError", `${address}: the download broke off after ${done} bytes`);
  }
}

async function request(address: string): Promise<Response> {
  try {
    return await fetch(address, { credentials: "omit" });
  } catch {
    const reason = "there is no connection, or the server does not allow pages of other sites to read the file (CORS)";
    throw new VitGpuError("NetworkError", `${address}: ${reason}`);
  }
}

function refusal(address: string, response: Response): VitGpuError {
  const why = response.status === 401 || response.status === 403 ? "access is refused" : "it can't be downloaded";
  return new VitGpuError("NetworkError", `${address}: ${why} (HTTP status ${response.status})`);
}
