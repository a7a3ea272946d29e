// The model that is open and the photo that is shown: whatever of the two changes, the photo is classified anew.

import { Classifier, type DeviceInfo, type ImageSource, type OpenOptions, type Progress, VitGpuError } from "vit-gpu";

import * as attention from "./attention.js";
import { bytes, made, page, say } from "./elements.js";
import { show, showFacts } from "./results.js";

let current: Classifier | undefined;
let options: OpenOptions = {};
let photo: ImageSource | undefined;
let first = true;
/** What is waited for once the weights are read. */
let afterWeights = "";
/** Count what was asked for: only the last model is taken, only the last photo's classes are shown. */
let openings = 0;
let requests = 0;

/** Opens a model in place of the one before, which stays if that fails; whether it succeeded. */
export async function open(chosen: OpenOptions): Promise<boolean> {
  const mine = ++openings;
  say(page.error, null);
  busy(true);
  try {
    const opened = await Classifier.create({ ...chosen, onProgress: (progress) => mine === openings && tell(progress) });
    if (mine !== openings) {
      opened.close();
      return false;
    }
    attention.clear();
    current?.close();
    [current, options, first] = [opened, chosen, true];
    say(page.notice, notice(opened.device));
    done();
    if (photo) void classify();
    return true;
  } catch (error) {
    if (mine === openings) fail(error);
    return false;
  }
}

/** Classifies a photo, when there is a model. */
export function classifyPhoto(image: ImageSource): void {
  photo = image;
  attention.clear();
  void classify();
}

async function classify(): Promise<void> {
  const [image, classifier, mine] = [photo, current, ++requests];
  busy(true);
  say(page.error, null);
  if (!image || !classifier) return;
  afterWeights = classifier.device.kind === "gpu" ? "The first run compiles shaders and chooses the fastest." : "";
  if (first) wait(afterWeights);
  try {
    const classification = await classifier.classify(image);
    if (mine !== requests) return;
    const { model, device } = classifier;
    const run = { classification, model, device, firstRun: first ? classification.timings.run : undefined };
    show(run);
    done();
    const again = first && device.kind === "gpu";
    first = false;
    // A GPU shows what it can do from the second run on.
    const second = again ? await classifier.classify(image) : undefined;
    if (mine !== requests) return;
    if (second) showFacts({ ...run, classification: second });
    attention.offer(classifier, image, classification);
  } catch (error) {
    if (mine !== requests) return;
    page.results.replaceChildren(made("p", { kind: "empty", text: "This photo has no classes." }));
    page.facts.hidden = true;
    if (error instanceof VitGpuError && error.name === "CrashError") {
      // The photo would end the next one's computation too.
      [current, photo] = [undefined, undefined];
      await open(options);
    }
    fail(error);
  }
}

/** Why no GPU is used. */
const NO_GPU = {
  "no WebGPU": "this browser has no WebGPU, which current versions of Chrome, Edge, Safari and Firefox have",
  "no adapter": "this browser offers none to web pages on this device",
  software: "this browser offers only one in software",
};

function notice({ noGpu }: DeviceInfo): string | null {
  return (
    noGpu && `No GPU is used, because ${NO_GPU[noGpu]}. The model runs on the processor: more slowly, with the same results.`
  );
}

function done(): void {
  page.progress.hidden = true;
  busy(false);
}

function fail(error: unknown): void {
  done();
  say(page.error, VitGpuError.of(error).message);
  page.error.scrollIntoView({ block: "nearest" });
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
  page.progressText.textContent =
    stage === "download" ? `Downloading: ${bytes(done)}${total}` : `Reading weights: ${done} of ${of}`;
}
