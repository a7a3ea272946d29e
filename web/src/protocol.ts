// What a page and its worker say to each other. Each call has a number, under which its result comes back.

import type { ErrorName } from "./errors.js";

/** A model's files, on the visitor's disk or in memory. */
export interface ModelFiles {
  /** The `.safetensors` file. It is read piece by piece and never lies in memory as a whole. */
  weights: Blob;
  /** `config.json` (or `open_clip_config.json`), as a file or its text. */
  config?: Blob | string | undefined;
  /** `preprocessor_config.json`, as a file or its text. */
  preprocessor?: Blob | string | undefined;
  /** What errors call the model. */
  name?: string | undefined;
}

/**
 * Which model: `"bundled"`, files, or an address. An address is a folder's (`https://…/resolve/main/`), a `.safetensors` file's,
 * or `owner/name` for a model of the Hugging Face Hub. What was downloaded is kept in the browser and not asked for again.
 */
export type ModelSource = "bundled" | ModelFiles | string;

/** A model's sizes and class names. */
export interface ModelInfo {
  name: string;
  /** Whose layout the weights have, such as `timm` or `huggingface-vit`. */
  family: string;
  /** Height and width of the images that it takes, in pixels; any image is resized and cropped as the model was trained. */
  imageSize: [number, number];
  numClasses: number;
  /** Names of the classes; `null` for a class without one. */
  labels: (string | null)[];
  /** Values of a vector. */
  embeddingDim: number;
  depth: number;
}

/** Where a model runs. */
export interface DeviceInfo {
  kind: "gpu" | "cpu";
  /** What the browser tells of the adapter, such as `nvidia ampere`; `processor` where there is no GPU. */
  name: string;
  /** Why it is not the device that a visitor would hope for, if so. */
  note: string | null;
  /**
   * The same for code: the browser has no WebGPU, gives no adapter through it, or only one in software. `null` on a GPU, and where the
   * processor was asked for.
   */
  noGpu: "no WebGPU" | "no adapter" | "software" | null;
}

/** One class with its score. */
export interface Prediction {
  index: number;
  label: string | null;
  /** A probability between 0 and 1, or the raw value of a regression, as the model's own library would show it. */
  score: number;
}

/** Milliseconds. */
export interface Timings {
  /** Decoding the image's file. */
  decode: number;
  /** Resizing it, running the model, reading the result. The first run also uploads weights and compiles shaders. */
  run: number;
}

/** Who decoded an image: this package, as Pillow does; the browser, where the format is none that is read here; nobody: pixels. */
export type DecodedBy = "vit-gpu" | "browser" | "pixels";

/** An image's classes. */
export interface Classification {
  /** The classes with the highest scores, best first. */
  predictions: Prediction[];
  timings: Timings;
  decodedBy: DecodedBy;
}

/**
 * What is shown: `"rollout"`, how much of each patch reaches the class token through all layers; `"attention"`, how much the class token
 * attends to each patch in one layer; `"relevance"`, how much each patch speaks for a class.
 */
export type AttentionMethod = "rollout" | "attention" | "relevance";

/** One value for each patch of an image, and pictures of it. */
export interface AttentionMap {
  /** Rows and columns of patches. */
  rows: number;
  cols: number;
  /** The values, row by row from the top. */
  values: Float32Array;
  /** With `"relevance"`: the class that the values speak for. */
  class: number | undefined;
  /** The part of the image that the model is given. */
  seen: ImageData;
  /** The same with the map over it: bright is the largest value, dark the smallest. */
  picture: ImageData;
  timings: Timings;
  decodedBy: DecodedBy;
}

/** How far something is that takes long: bytes of a download, or tensors of the weights that were read. */
export interface Progress {
  stage: "download" | "weights";
  done: number;
  /** How many there will be; 0 where that is not known. */
  of: number;
}

/** An image as it goes to the worker. */
export type SentImage = { file: Blob; name: string } | { pixels: Uint8ClampedArray; width: number; height: number };

/** How a model is to be run. */
export interface OpenRequest {
  model: ModelSource;
  device: string;
  precision: string;
}

/** Each call's arguments and result. */
export interface Calls {
  open: { args: OpenRequest; result: { model: ModelInfo; device: DeviceInfo } };
  classify: { args: { image: SentImage; topK: number }; result: Classification };
  logits: { args: { image: SentImage }; result: Float32Array };
  embed: { args: { image: SentImage; normalize: boolean }; result: Float32Array };
  attention: {
    args: { image: SentImage; method: AttentionMethod; number: number | undefined; side: number };
    result: AttentionMap;
  };
}

export type CallName = keyof Calls;

export type ToWorker = { [Name in CallName]: { id: number; call: Name; args: Calls[Name]["args"] } }[CallName];

export type FromWorker =
  | { id: number; result: Calls[CallName]["result"] }
  | { id: number; error: { name: ErrorName; message: string } }
  | { id: number; progress: Progress };
