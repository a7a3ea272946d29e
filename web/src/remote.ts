// A worker, and the calls that wait for its answers.

import { VitGpuError } from "./errors.js";
import type { CallName, Calls, FromWorker, Progress, ToWorker } from "./protocol.js";

interface Waiting {
  resolve(result: unknown): void;
  reject(error: VitGpuError): void;
}

export class Remote {
  readonly #worker: Worker;
  readonly #told: (progress: Progress) => void;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #ended: VitGpuError | undefined;

  constructor(told: (progress: Progress) => void) {
    this.#told = told;
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "vit-gpu" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#heard(data);
    this.#worker.onerror = (event) => {
      this.end(new VitGpuError("CrashError", `the worker failed: ${event.message || "its script can't be loaded"}`));
    };
  }

  call<Name extends CallName>(call: Name, args: Calls[Name]["args"]): Promise<Calls[Name]["result"]> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#calls++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#worker.postMessage({ id, call, args } as ToWorker);
    });
  }

  /** Stops the worker; calls under way, and all later ones, fail with this error. */
  end(error: VitGpuError): void {
    this.#ended ??= error;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #heard(message: FromWorker): void {
    if ("progress" in message) return this.#told(message.progress);
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ("result" in message) return waiting?.resolve(message.result);
    const error = new VitGpuError(message.error.name, message.error.message);
    waiting?.reject(error);
    if (error.name === "CrashError") this.end(error);
  }
}
