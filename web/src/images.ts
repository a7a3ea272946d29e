// What a page may give as an image, as it is sent to the worker.

import { VitGpuError } from "./errors.js";
import type { SentImage } from "./protocol.js";

/**
 * An image: a file of any common format, its bytes, or pixels. The pixels of a video or a canvas are had by `ImageData`
 * (`context.getImageData`) or by `createImageBitmap`.
 */
export type ImageSource = Blob | ArrayBuffer | Uint8Array<ArrayBuffer> | ImageData | ImageBitmap;

export function sent(image: ImageSource): SentImage {
  if (image instanceof Blob) return { file: image, name: image instanceof File ? image.name : "image" };
  if (image instanceof ArrayBuffer || image instanceof Uint8Array) return { file: new Blob([image]), name: "image" };
  if (image instanceof ImageData) return pixels(image);
  if (typeof ImageBitmap !== "undefined" && image instanceof ImageBitmap) {
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    if (!context) throw new VitGpuError("ImageError", "image: this browser can't draw it");
    context.drawImage(image, 0, 0);
    return pixels(context.getImageData(0, 0, image.width, image.height));
  }
  throw new VitGpuError("ArgumentError", "an image is a Blob, its bytes, ImageData or an ImageBitmap");
}

function pixels({ data, width, height }: ImageData): SentImage {
  // A copy that starts at its buffer's begin: a page may go on drawing.
  return { pixels: new Uint8ClampedArray(data), width, height };
}
