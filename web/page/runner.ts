// The model that is open and the photo that is shown: whatever of the two changes, the photo is classified anew.

import { Classifier, type ImageSource, type OpenOptions, type Progress, VitGpuError } from "vit-gpu";

import { bytes, page, say } from "./elements.js";
import { show } from "./results.js";

let opening: Promise<Classifier> | undefined;
let options: OpenOptions = {};
let photo: ImageSource | undefined;
let first = true;
/** What is waited for once the weights are read. */
let afterWeights = "";
/** Counts the requests: only the last one's result is shown. */
let request = 0;

/** Opens a model in place of the one before; whether that succeeded. */
export async function open(chosen: OpenOptions): Promise<boolean> {
  const before = opening;
  options = { ...chosen, onProgress: tell };
  first = true;
  const mine = (opening = Classifier.create(options));
  void before?.then((classifier) => classifier.close()).catch(() => {});
  say(page.error, null);
  busy(true);
  try {
    const { device } = await mine;
    if (opening !== mine) return false;
    say(page.notice, notice(device.note));
    page.progress.hidden = true;
    busy(false);
    if (photo) void classify();
    return true;
  } catch (error) {
    if (opening !== mine) return false;
    fail(error);
    return false;
  }
}

/** Classifies a photo. */
export function classifyPhoto(image: ImageSource): void {
  photo = image;
  void classify();
}

async function classify(): Promise<void> {
  const image = photo;
  if (!image || !opening) return;
  const mine = ++request;
  busy(true);
  say(page.error, null);
  try {
    const classifier = await opening;
    afterWeights = classifier.device.kind === "gpu" ? "The first run compiles shaders and chooses the fastest." : "";
    if (first) wait(afterWeights);
    const classification = await classifier.classify(image);
    if (mine !== request) return;
    show({ classification, model: classifier.model, device: classifier.device, first });
    first = false;
    page.progress.hidden = true;
    busy(false);
  } catch (error) {
    if (mine !== request) return;
    // The photo would end the next one's computation too.
    const crashed = error instanceof VitGpuError && error.name === "CrashError";
    if (crashed) photo = undefined;
    if (crashed) await open(options);
    fail(error);
  }
}

function notice(note: string | null): string | null {
  if (!note) return null;
  const why = "gpu" in navigator ? "" : " This browser has no WebGPU; current versions of Chrome, Edge, Safari and Firefox do.";
  return `No GPU is used: the model runs on the processor, with the same results but more slowly.${why}`;
}

function fail(error: unknown): void {
  page.progress.hidden = true;
  busy(false);
  page.results.replaceChildren();
  page.facts.hidden = true;
  say(page.error, VitGpuError.of(error).message);
}

function busy(busy: boolean): void {
  document.body.classList.toggle("busy", busy);
  page.results.setAttribute("aria-busy", String(busy));
}

/** Says what is being waited for; nobody knows how long. */
function wait(text: string): void {
  page.progress.hidden = !text;
  page.progressBar.removeAttribute("value");
  page.progressText.textContent = text;
}

function tell({ stage, done, of }: Progress): void {
  if (stage === "weights" && done === of) return wait(afterWeights);
  page.progress.hidden = false;
  if (of > 0) page.progressBar.value = Math.min(done / of, 1);
  else page.progressBar.removeAttribute("value");
  const total = of > 0 ? ` of ${bytes(of)}` : "";
  page.progressText.textContent = stage === "download" ? `Downloading: ${bytes(done)}${total}` : `Reading weights: ${done} of ${of}`;
}
