// Runs in a worker: holds the one model of a `Classifier` or an `Embedder`, and does what its page asks, one call at a time.

import { VitGpuError } from "./errors.js";
import type {
  AttentionMap,
  Calls,
  CallName,
  DecodedBy,
  DeviceInfo,
  FromWorker,
  ModelFiles,
  ModelInfo,
  ModelSource,
  OpenRequest,
  Prediction,
  Progress,
  SentImage,
  ToWorker,
} from "./protocol.js";
import { fetchModel } from "./store.js";
import init, { Image, type Map, Model, Session, lastPanic } from "./wasm/vit_gpu_web.js";

/** What of a dedicated worker's global scope is used here; TypeScript's library has it apart from a page's. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
}
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}
const page = globalThis as unknown as WorkerScope;

let session: Session | undefined;

/** Formats that this package does not read but a browser may, by what their files begin with from the fifth byte on. */
const BY_BROWSERS = /^ftyp(avif|avis|heic|heix|hevc|mif1|msf1)/;

async function open(
  { model: source, device, precision }: OpenRequest,
  told: (progress: Progress) => void,
): Promise<Calls["open"]["result"]> {
  await init();
  const model = await openModel(source, told);
  const weights = (done: number, of: number) => told({ stage: "weights", done, of });
  session = await Session.open(model, device, precision, weights);
  const info = JSON.parse(model.info) as ModelInfo;
  model.free();
  return { model: info, device: await where(session) };
}

async function openModel(source: ModelSource, told: (progress: Progress) => void): Promise<Model> {
  if (source === "bundled") return Model.bundled();
  const files = typeof source === "string" ? await fetchModel(source, told) : source;
  const text = async (file: Blob | string | undefined) => (file instanceof Blob ? await file.text() : file);
  const [config, preprocessor] = [await text(files.config), await text(files.preprocessor)];
  return Model.open(nameOf(files), reader(files.weights), files.weights.size, config, preprocessor);
}

function nameOf({ name, weights }: ModelFiles): string {
  return name ?? ("name" in weights && typeof weights.name === "string" ? weights.name : "model.safetensors");
}

/** A function that reads a part of a file at once; only workers have that. */
function reader(blob: Blob): (offset: number, length: number) => Uint8Array {
  const files = new FileReaderSync();
  return (offset, length) => new Uint8Array(files.readAsArrayBuffer(blob.slice(offset, offset + length)));
}

/** The part of WebGPU that is used here; TypeScript's library does not have it yet. */
interface Gpu {
  requestAdapter(): Promise<{ info: { vendor: string; architecture: string; description: string } } | null>;
}

/** What is known of the device that a session runs on: a browser tells an adapter's maker, but not to WebAssembly. */
async function where(session: Session): Promise<DeviceInfo> {
  const { gpu } = navigator as { gpu?: Gpu };
  const adapter = await gpu?.requestAdapter();
  const note = session.note ?? null;
  if (session.device === "cpu") {
    const reason = !gpu ? "no WebGPU" : !adapter ? "no adapter" : "software";
    return { kind: "cpu", name: "processor", note, noGpu: note === null ? null : reason };
  }
  const { vendor, architecture, description } = adapter?.info ?? {};
  const name = description || [vendor, architecture].filter((part) => part).join(" ") || "WebGPU";
  return { kind: "gpu", name, note, noGpu: null };
}

function running(): Session {
  if (!session) throw new VitGpuError("VitGpuError", "no model is open");
  return session;
}

/** An image as RGB bytes, in WebAssembly's memory, and who decoded it. */
async function decoded(image: SentImage): Promise<[Image, DecodedBy]> {
  if ("pixels" in image) {
    return [Image.fromRgba(image.width, image.height, new Uint8Array(image.pixels.buffer)), "pixels"];
  }
  const bytes = new Uint8Array(await image.file.arrayBuffer());
  if (BY_BROWSERS.test(String.fromCharCode(...bytes.subarray(4, 12)))) {
    const pixels = await byBrowser(image.file);
    if (pixels) return [Image.fromRgba(pixels.width, pixels.height, new Uint8Array(pixels.data.buffer)), "browser"];
  }
  return [Image.decode(bytes, image.name, true), "vit-gpu"];
}

/** An image's pixels, if the browser can decode it. */
async function byBrowser(file: Blob): Promise<ImageData | undefined> {
  try {
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context?.drawImage(bitmap, 0, 0);
    return context?.getImageData(0, 0, width, height);
  } catch {
    return undefined;
  }
}

/** Decodes an image, has something done with it, and takes the time of both. */
async function timed<T>(image: SentImage, run: (image: Image) => Promise<T>) {
  const start = performance.now();
  const [pixels, decodedBy] = await decoded(image);
  const middle = performance.now();
  try {
    const result = await run(pixels);
    return { result, decodedBy, timings: { decode: middle - start, run: performance.now() - middle } };
  } finally {
    pixels.free();
  }
}

/** A map with its pictures, away from WebAssembly's memory. */
function drawn(map: Map): Omit<AttentionMap, "timings" | "decodedBy"> {
  const picture = (rgba: Uint8Array) => new ImageData(new Uint8ClampedArray(rgba), map.width, map.height);
  const { rows, cols, values } = map;
  const result = { rows, cols, values, class: map.class, seen: picture(map.seen()), picture: picture(map.over()) };
  map.free();
  return result;
}

async function answer(message: ToWorker, told: (progress: Progress) => void): Promise<Calls[CallName]["result"]> {
  switch (message.call) {
    case "open":
      return open(message.args, told);
    case "classify": {
      const { image, topK } = message.args;
      const { result, ...more } = await timed(image, (image) => running().classify(image, topK));
      return { predictions: JSON.parse(result) as Prediction[], ...more };
    }
    case "logits":
      return (await timed(message.args.image, (image) => running().logits(image))).result;
    case "embed": {
      const { image, normalize } = message.args;
      return (await timed(image, (image) => running().embed(image, normalize))).result;
    }
    case "attention": {
      const { image, method, number, side } = message.args;
      const { result, ...more } = await timed(image, (image) => running().attention(image, method, number, side));
      return { ...drawn(result), ...more };
    }
  }
}

/** The error to report; one after which nothing works any more says what the panic said. */
function reported(thrown: unknown): { name: VitGpuError["name"]; message: string } {
  if (thrown instanceof WebAssembly.RuntimeError) {
    return { name: "CrashError", message: `the computation ended for good: ${lastPanic() ?? thrown.message}` };
  }
  const { name, message } = VitGpuError.of(thrown);
  return { name, message };
}

/** The weights are read in a call's midst, so that their progress belongs to whatever call is under way. */
let told: (progress: Progress) => void = () => {};
let last: Promise<void> = Promise.resolve();

page.onmessage = ({ data }) => {
  last = last.then(async () => {
    const { id } = data;
    told = (progress) => page.postMessage({ id, progress });
    try {
      const result = await answer(data, (progress) => told(progress));
      page.postMessage({ id, result }, result instanceof Float32Array ? [result.buffer] : []);
    } catch (thrown) {
      page.postMessage({ id, error: reported(thrown) });
    }
  });
};
