// Classes as bars, and what is to be known of the run beneath them.

import type { Classification, DeviceInfo, ModelInfo } from "vit-gpu";

import { made, page } from "./elements.js";

/** What a model's first run does besides. */
const FIRST = { gpu: "uploading the weights and compiling shaders", cpu: "reading the weights" };

/** What a run took, and where. */
export interface Run {
  classification: Classification;
  model: ModelInfo;
  device: DeviceInfo;
  /** Milliseconds of the model's first run, if this photo had it. */
  firstRun: number | undefined;
}

export function show(run: Run): void {
  const list = made("ol", { kind: "bars" });
  const { predictions } = run.classification;
  // A regression's values are no shares of anything: their bars are shares of the largest.
  const shares = predictions.every(({ score }) => score >= 0 && score <= 1);
  const largest = Math.max(...predictions.map(({ score }) => Math.abs(score)), Number.MIN_VALUE);
  for (const { index, label, score } of predictions) {
    const row = made("li");
    row.append(made("span", { kind: "label", text: label ?? `class ${index}` }));
    row.append(made("span", { kind: "score", text: shares ? percent(score) : score.toPrecision(4) }));
    const track = made("span", { kind: "track" });
    track.setAttribute("aria-hidden", "true");
    track.style.setProperty("--share", `${100 * (shares ? score : Math.max(score, 0) / largest)}%`);
    row.append(track);
    list.append(row);
  }
  page.results.replaceChildren(list);
  showFacts(run);
}

export function showFacts({ classification: { timings, decodedBy }, model, device, firstRun }: Run): void {
  const first = firstRun === timings.run ? "" : `${milliseconds(timings.run)}; `;
  const run =
    firstRun === undefined
      ? milliseconds(timings.run)
      : `${first}${milliseconds(firstRun)} the first, with ${FIRST[device.kind]}`;
  const by = { "vit-gpu": "", browser: ", by the browser", pixels: "" }[decodedBy];
  const rows: [string, string][] = [
    ["Device", device.kind === "gpu" ? `GPU: ${device.name}` : "processor"],
    ["Run", run],
    ["Decoding", decodedBy === "pixels" ? "not needed" : `${milliseconds(timings.decode)}${by}`],
    ["Model", `${model.name}, ${model.imageSize[1]} × ${model.imageSize[0]}, ${model.numClasses} classes`],
  ];
  page.facts.replaceChildren(...rows.flatMap(([name, value]) => [made("dt", { text: name }), made("dd", { text: value })]));
  page.facts.hidden = false;
}

function percent(score: number): string {
  return `${(100 * score).toFixed(1)} %`;
}

/** A time in milliseconds, as a reader takes it in. */
export function milliseconds(time: number): string {
  return time < 10 ? `${time.toFixed(1)} ms` : time < 10_000 ? `${Math.round(time)} ms` : `${(time / 1000).toFixed(1)} s`;
}
