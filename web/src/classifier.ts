// Models as a page holds them; each runs in a worker of its own.

import { VitGpuError } from "./errors.js";
import { type ImageSource, sent } from "./images.js";
import type { AttentionMap, AttentionMethod, Classification, DeviceInfo, ModelInfo, ModelSource, Progress } from "./protocol.js";
import { Remote } from "./remote.js";

/** Which model, and how it runs. */
export interface OpenOptions {
  /** The bundled model (CIFAR-10's ten classes) without this. */
  model?: ModelSource;
  /**
   * `"auto"`, which holds without this: the GPU, or the processor where the browser has none (`device.note` then says why).
   * `"gpu"`: the GPU, or an error. `"cpu"`: the processor. `"any"`: whatever the browser calls an adapter, also a slow one in
   * software.
   */
  device?: "auto" | "gpu" | "cpu" | "any";
  /** What weights and activations are stored in: `"f32"`, which holds without this, or `"f16"` where the GPU has it. */
  precision?: "f32" | "f16";
  /** Is told how far a download, or reading the weights at the first image, is. */
  onProgress?: (progress: Progress) => void;
}

/** What of a model's attention is shown, and how large. */
export interface AttentionOptions {
  /** `"rollout"` without this. */
  method?: AttentionMethod;
  /** With `"attention"`: the layer, counted from 0; the last without this. A pooling by attention is the layer behind the last block. */
  layer?: number;
  /** With `"relevance"`: the class's number; the class with the highest score without this. */
  class?: number;
  /** Pixels that the shorter side of the pictures has at least; 448 without this. */
  side?: number;
}

/** What a `Classifier` and an `Embedder` share. */
class Opened {
  /** The model. */
  readonly model: ModelInfo;
  /** Where it runs. */
  readonly device: DeviceInfo;
  protected readonly remote: Remote;

  protected constructor(remote: Remote, { model, device }: { model: ModelInfo; device: DeviceInfo }) {
    this.remote = remote;
    this.model = model;
    this.device = device;
  }

  protected static async opened(options: OpenOptions): Promise<[Remote, { model: ModelInfo; device: DeviceInfo }]> {
    const { model = "bundled", device = "auto", precision = "f32", onProgress = () => {} } = options;
    const remote = new Remote(onProgress);
    try {
      return [remote, await remote.call("open", { model, device: device === "any" ? "0" : device, precision })];
    } catch (thrown) {
      remote.end(VitGpuError.of(thrown));
      throw thrown;
    }
  }

  /** The image's vector: what the model's head is given, or its pooler's or projection's output. `embeddingDim` values. */
  async embed(image: ImageSource, { normalize = false }: { normalize?: boolean } = {}): Promise<Float32Array> {
    return this.remote.call("embed", { image: sent(image), normalize });
  }

  /**
   * What the model looks at in an image: one value for each patch, and the image with the values in colours over it. With `"relevance"`
   * the model's last block runs once for each patch.
   *
   * @throws {VitGpuError} with the name `ImageError`, `ArgumentError` for a layer or a class that does not exist, `ModelError` for a
   * model that has no such map, or `DeviceError`.
   */
  async attention(image: ImageSource, options: AttentionOptions = {}): Promise<AttentionMap> {
    const { method = "rollout", side = 448 } = options;
    if (!["rollout", "attention", "relevance"].includes(method)) {
      throw new VitGpuError("ArgumentError", `method is ${method}: it must be rollout, attention or relevance`);
    }
    const number = method === "attention" ? options.layer : method === "relevance" ? options.class : undefined;
    for (const [name, value] of Object.entries({ layer: options.layer, class: options.class, side })) {
      if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value < 2 ** 31)) {
        throw new VitGpuError("ArgumentError", `${name} is ${value}: it must be a whole number`);
      }
    }
    if (side > 4096) throw new VitGpuError("ArgumentError", `side is ${side}: it may be 4096 at most`);
    return this.remote.call("attention", { image: sent(image), method, number, side });
  }

  /** Ends the worker and gives back its memory and the GPU's. Calls under way fail. */
  close(): void {
    this.remote.end(new VitGpuError("VitGpuError", "it was closed"));
  }
}

/** Names what is in an image. */
export class Classifier extends Opened {
  /**
   * Opens a model.
   *
   * @throws {VitGpuError} with the name `ModelError`, `DeviceError`, `ArgumentError` or `NetworkError`.
   */
  static async create(options: OpenOptions = {}): Promise<Classifier> {
    const classifier = new Classifier(...(await Opened.opened(options)));
    if (classifier.model.numClasses > 0) return classifier;
    classifier.close();
    throw new VitGpuError("ModelError", `${classifier.model.name} has no classification head: an Embedder can run it`);
  }

  /**
   * The image's classes with the highest scores, best first; `topK` of them (5), or all where there are fewer.
   *
   * @throws {VitGpuError} with the name `ImageError` for an image that can't be used, or `DeviceError`.
   */
  async classify(image: ImageSource, { topK = 5 }: { topK?: number } = {}): Promise<Classification> {
    if (!Number.isInteger(topK) || topK < 1) throw new VitGpuError("ArgumentError", `topK is ${topK}: it must be at least 1`);
    return this.remote.call("classify", { image: sent(image), topK });
  }

  /** What the model's head computes for each class, before softmax or sigmoid. */
  async logits(image: ImageSource): Promise<Float32Array> {
    return this.remote.call("logits", { image: sent(image) });
  }
}

/** Turns images into vectors, which are close to each other where the images are alike. */
export class Embedder extends Opened {
  /**
   * Opens a model, with or without a classification head.
   *
   * @throws {VitGpuError} with the name `ModelError`, `DeviceError`, `ArgumentError` or `NetworkError`.
   */
  static async create(options: OpenOptions = {}): Promise<Embedder> {
    return new Embedder(...(await Opened.opened(options)));
  }
}
