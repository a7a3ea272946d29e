// Damaged images and models: each is an error or a result, none ends WebAssembly. No browser is needed for that. Each test goes on
// for VIT_GPU_SECONDS (5), with the same damages every time as far as it comes.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT } from "./native.mjs";

const WASM = join(ROOT, "web/src/wasm");
const GOLDENS = join(ROOT, "tests/goldens");
const SECONDS = Number(process.env.VIT_GPU_SECONDS ?? 5);

const module = new WebAssembly.Module(readFileSync(join(WASM, "vit_gpu_web_bg.wasm")));
const vit = await import(join(WASM, "vit_gpu_web.js"));
vit.initSync({ module });

/** Numbers below a bound, the same ones in every run. */
function numbers(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % bound;
  };
}

/** Does it over and over; how often it succeeded. An error is as good as a result, the end of WebAssembly is not. */
async function repeat(one) {
  const end = Date.now() + 1000 * SECONDS;
  let [runs, succeeded] = [0, 0];
  for (; Date.now() < end; runs++) {
    try {
      await one();
      succeeded++;
    } catch (error) {
      if (!/^(Argument|Device|Image|Model|VitGpu)Error$/.test(error.name)) {
        throw new Error(`run ${runs}: ${vit.lastPanic() ?? error}`, { cause: error });
      }
    }
  }
  console.log(`${runs} of them, ${succeeded} succeeded all the same`);
  assert.ok(succeeded > 0 && succeeded < runs);
}

test("damaged images", async () => {
  const folders = ["images", "photos"].map((name) => join(GOLDENS, name));
  const files = folders.flatMap((folder) => readdirSync(folder).map((name) => readFileSync(join(folder, name))));
  const below = numbers(1);
  await repeat(async () => {
    const bytes = new Uint8Array(files[below(files.length)]);
    for (let left = 1 + below(4); left > 0; left--) {
      // Most of what matters stands at the begin.
      const at = below(Math.min(bytes.length, below(2) ? 64 : 600));
      bytes[at] = below(2) ? below(256) : [0, 1, 127, 128, 255][below(5)];
    }
    vit.Image.decode(bytes, "image", true).free();
  });
});

/** The text with one of its whole numbers replaced, or as it is. */
function disturbed(text, below) {
  const found = [...(text ?? "").matchAll(/\d+/g)];
  if (found.length === 0 || below(2)) return text;
  const { 0: number, index } = found[below(found.length)];
  const other = ["0", "1", "-1", "65536", "2147483648", "4294967295", "99999999999999"][below(7)];
  return text.slice(0, index) + other + text.slice(index + number.length);
}

/** A safetensors file with another header. */
function withHeader(file, change) {
  const length = Number(file.readBigUInt64LE(0));
  const header = Buffer.from(change(file.subarray(8, 8 + length).toString()));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([size, header, file.subarray(8 + length)]);
}

test("damaged models", async () => {
  const folders = readdirSync(join(GOLDENS, "models")).map((name) => join(GOLDENS, "models", name));
  const models = folders
    .filter((folder) => existsSync(join(folder, "model.safetensors")))
    .map((folder) => {
      const text = (name) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : undefined);
      const weights = readFileSync(join(folder, "model.safetensors"));
      return [weights, text("config.json") ?? text("open_clip_config.json"), text("preprocessor_config.json")];
    });
  const image = vit.Image.decode(readFileSync(join(ROOT, "assets/cat.png")), "cat.png", true);
  const below = numbers(2);
  await repeat(async () => {
    const [weights, config, preprocessor] = models[below(models.length)];
    const file = withHeader(weights, (header) => disturbed(header, below));
    const read = (offset, length) => new Uint8Array(file.subarray(offset, offset + length));
    const model = vit.Model.open("model", read, file.length, disturbed(config, below), disturbed(preprocessor, below));
    if (below(10) > 0) return model.free();
    const session = await vit.Session.open(model, "cpu", "f32", () => {});
    await session.embed(image, false);
    session.free();
  });
});
