// The package's public face.

export type { ErrorName } from "./errors.js";
export { VitGpuError } from "./errors.js";
export type { ImageSource } from "./images.js";
export type { AttentionOptions, OpenOptions } from "./classifier.js";
export { Classifier, Embedder } from "./classifier.js";
export type {
  AttentionMap,
  AttentionMethod,
  Classification,
  DecodedBy,
  DeviceInfo,
  ModelFiles,
  ModelInfo,
  ModelSource,
  Prediction,
  Progress,
  Timings,
} from "./protocol.js";
export type { KeptModel } from "./store.js";
export { forgetModel, keepModel, keptModel, keptModels } from "./store.js";
