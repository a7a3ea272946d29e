// What the model looks at, drawn over the photo.

import { type AttentionOptions, type Classification, type Classifier, type ImageSource, VitGpuError } from "vit-gpu";

import { made, page, say } from "./elements.js";
import { milliseconds } from "./results.js";

let shown: { classifier: Classifier; image: ImageSource } | undefined;
/** Counts what was asked for: only the last map is shown. */
let requests = 0;

/** Takes away what is drawn over a photo. */
export function clear(): void {
  requests++;
  shown = undefined;
  page.looks.hidden = true;
  hide();
}

/** Offers to draw over a photo whose classes are shown, and draws what was chosen for the photo before. */
export function offer(classifier: Classifier, image: ImageSource, { predictions }: Classification): void {
  shown = { classifier, image };
  const [kind, number] = page.look.value.split(" ");
  const classes = predictions.map(({ index, label }) => {
    const option = made("option", { text: `what speaks for ${label ?? `class ${index}`}` });
    option.value = `relevance ${index}`;
    option.selected = kind === "relevance" && number === String(index);
    return option;
  });
  page.lookClasses.replaceChildren(...classes);
  if (kind === "relevance" && !classes.some(({ selected }) => selected) && classes[0]) classes[0].selected = true;
  page.looks.hidden = false;
  void draw();
}

function hide(): void {
  page.map.hidden = true;
  page.preview.classList.remove("covered");
  say(page.legend, null);
}

async function draw(): Promise<void> {
  const mine = ++requests;
  const [method, number] = page.look.value.split(" ");
  if (!shown || !method) return hide();
  page.looks.setAttribute("aria-busy", "true");
  if (page.map.hidden) say(page.legend, "Computing …");
  try {
    const options = { method, ...(number && { class: Number(number) }) } as AttentionOptions;
    const { picture, seen, timings } = await shown.classifier.attention(shown.image, options);
    if (mine !== requests) return;
    [page.map.width, page.map.height] = [seen.width, seen.height];
    page.map.getContext("2d")?.putImageData(picture, 0, 0);
    page.map.setAttribute("aria-label", `${page.preview.alt || "The photo"}, and over it ${page.look.selectedOptions[0]?.text}`);
    page.map.hidden = false;
    page.preview.classList.add("covered");
    const time = milliseconds(timings.run);
    say(page.legend, `Bright is much, dark is little. This is the part of the photo that the model is given (${time}).`);
  } catch (error) {
    if (mine !== requests) return;
    hide();
    page.look.value = "";
    say(page.error, VitGpuError.of(error).message);
  } finally {
    if (mine === requests) page.looks.setAttribute("aria-busy", "false");
  }
}

page.look.addEventListener("change", () => void draw());
