// The page's elements, each with its type.

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`the page has no ${id}`);
}

export const page = {
  notice: element("notice", HTMLParagraphElement),
  error: element("error", HTMLParagraphElement),
  drop: element("drop", HTMLDivElement),
  preview: element("preview", HTMLImageElement),
  map: element("map", HTMLCanvasElement),
  looks: element("looks", HTMLDivElement),
  look: element("look", HTMLSelectElement),
  lookClasses: element("look-classes", HTMLOptGroupElement),
  legend: element("legend", HTMLParagraphElement),
  invitation: element("invitation", HTMLParagraphElement),
  choose: element("choose", HTMLButtonElement),
  file: element("file", HTMLInputElement),
  camera: element("camera", HTMLButtonElement),
  example: element("example", HTMLButtonElement),
  results: element("results", HTMLDivElement),
  facts: element("facts", HTMLDListElement),
  progress: element("progress", HTMLDivElement),
  progressBar: element("progress-bar", HTMLProgressElement),
  progressText: element("progress-text", HTMLSpanElement),
  models: element("models", HTMLUListElement),
  chooseModel: element("choose-model", HTMLButtonElement),
  modelFiles: element("model-files", HTMLInputElement),
  addressForm: element("address-form", HTMLFormElement),
  address: element("address", HTMLInputElement),
  device: element("device", HTMLSelectElement),
  precision: element("precision", HTMLSelectElement),
  cameraDialog: element("camera-dialog", HTMLDialogElement),
  video: element("video", HTMLVideoElement),
  shoot: element("shoot", HTMLButtonElement),
  cancel: element("cancel", HTMLButtonElement),
};

/** A new element with a class and a text. */
export function made<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  { kind = "", text = "" }: { kind?: string; text?: string } = {},
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

/** Shows a line of text, or hides it. */
export function say(where: HTMLElement, text: string | null): void {
  where.textContent = text;
  where.hidden = !text;
}

/** Bytes as a reader takes them in. */
export function bytes(count: number): string {
  return count < 1e6 ? `${Math.ceil(count / 1e3)} kB` : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}
