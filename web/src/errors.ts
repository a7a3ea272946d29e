/**
 * What is at fault: an image, a model's files, the device, an argument, a download, a computation that ended for good
 * (`CrashError`), or something else (`VitGpuError`).
 */
export type ErrorName =
  "ImageError" | "ModelError" | "DeviceError" | "ArgumentError" | "NetworkError" | "CrashError" | "VitGpuError";

const NAMES: readonly string[] = [
  "ImageError",
  "ModelError",
  "DeviceError",
  "ArgumentError",
  "NetworkError",
  "CrashError",
  "VitGpuError",
] satisfies ErrorName[];

/** Why something could not be done, in one line. `name` says what is at fault. */
export class VitGpuError extends Error {
  override name: ErrorName;

  constructor(name: ErrorName, message: string) {
    super(message);
    this.name = name;
  }

  /** The same error where it is one, or one that says what another value says. */
  static of(thrown: unknown): VitGpuError {
    if (thrown instanceof VitGpuError) return thrown;
    const { name, message } = thrown instanceof Error ? thrown : { name: "", message: String(thrown) };
    const known = NAMES.includes(name);
    return new VitGpuError(known ? (name as ErrorName) : "VitGpuError", known || !name ? message : `${name}: ${message}`);
  }
}
