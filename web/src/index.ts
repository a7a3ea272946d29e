// The package's public face.

export type { ErrorName } from "./errors.js";
export { VitGpuError } from "./errors.js";
export type { ImageSource } from "./images.js";
export type { OpenOptions } from "./classifier.js";
export { Classifier, Embedder } from "./classifier.js";
export type {
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
