// What the native program gives for the same images and models: the reference of these tests.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const BINARY = process.env.VIT_GPU_BINARY ?? join(ROOT, "target/release/vit-gpu");

/** The tensor `name` of a safetensors file, as floats. */
function tensor(file, name) {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const { [name]: info } = JSON.parse(bytes.subarray(8, 8 + length).toString());
  if (info?.dtype !== "F32") throw new Error(`${file} has no ${name} in F32`);
  const [first, end] = info.data_offsets.map((offset) => 8 + length + offset);
  return [...new Float32Array(new Uint8Array(bytes.subarray(first, end)).buffer)];
}

/** An output of the processor for an image: `logits` or `pooled`. Without a model: the bundled one. */
export function native(image, output, model) {
  const folder = mkdtempSync(join(tmpdir(), "vit-gpu-"));
  try {
    const [pixels, results] = ["pixels", "results"].map((name) => join(folder, `${name}.safetensors`));
    const which = model ? ["-m", model] : [];
    execFileSync(BINARY, ["preprocess", "-q", ...which, image, "-o", pixels]);
    execFileSync(BINARY, ["forward", "-q", ...which, "-d", "cpu", "-i", pixels, "-o", results]);
    return tensor(results, output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A map of `attention` on the processor, row by row; `args` say which. */
export function nativeMap(image, args, model) {
  const folder = mkdtempSync(join(tmpdir(), "vit-gpu-"));
  try {
    const file = join(folder, "map.npy");
    execFileSync(BINARY, ["attention", "-q", ...(model ? ["-m", model] : []), "-d", "cpu", ...args, image, "-o", file]);
    const bytes = readFileSync(file);
    return [...new Float32Array(new Uint8Array(bytes.subarray(10 + bytes.readUInt16LE(8))).buffer)];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What the program says of images, by their paths in the checkout: the score of every class of the bundled model, or an error. */
export function nativeScores(images) {
  const command = ["classify", "-d", "cpu", "-k", "10", "-f", "jsonl", ...images];
  // It ends with 1 where an image failed, which is wanted here.
  const { stdout } = spawnSync(BINARY, command, { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 26 });
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  return new Map(lines.map(({ image, predictions, error }) => [image, error ?? scores(predictions)]));
}

/** Scores in the order of the classes. */
export function scores(predictions) {
  return predictions.toSorted((a, b) => a.index - b.index).map(({ score }) => score);
}

/** The largest difference of two lists of numbers; an error where it has no meaning. */
export function difference(found, wanted) {
  if (found.length !== wanted.length || wanted.length === 0) throw new Error(`${found.length} values, ${wanted.length} wanted`);
  const off = Math.max(...wanted.map((value, i) => Math.abs(found[i] - value)));
  if (!Number.isFinite(off)) throw new Error("a value is not finite");
  return off;
}
