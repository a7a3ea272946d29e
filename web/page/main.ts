// Photos come in here: chosen, dropped, pasted, taken, or the example.

import cat from "../../assets/cat.png?url";
import * as camera from "./camera.js";
import { page, say } from "./elements.js";
import * as models from "./models.js";
import { classifyPhoto } from "./runner.js";

/** Shows a picture beside its classes. */
function preview(url: string, name: string): void {
  if (page.preview.src.startsWith("blob:")) URL.revokeObjectURL(page.preview.src);
  page.preview.src = url;
  page.preview.alt = `The photo ${name}`;
  page.preview.hidden = false;
  page.invitation.hidden = true;
  page.drop.classList.add("full");
}

function take(file: Blob, name: string): void {
  preview(URL.createObjectURL(file), name);
  classifyPhoto(file);
}

/** Takes what was chosen, dropped or pasted: a photo, or a model's files. */
function takeFiles(files: File[]): void {
  const [photo] = files;
  if (!photo) return;
  if (files.some(({ name }) => /\.(safetensors|json)$/.test(name))) void models.addFiles(files);
  else take(photo, photo.name);
}

page.choose.addEventListener("click", () => page.file.click());
page.file.addEventListener("change", () => {
  const files = [...(page.file.files ?? [])];
  page.file.value = "";
  takeFiles(files);
});

page.example.addEventListener("click", async () => {
  const response = await fetch(cat);
  take(await response.blob(), "of a cat");
});

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length > 0) event.preventDefault();
  takeFiles(files);
});

// A browser would otherwise open what is dropped beside the frame.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const files = [...(event.dataTransfer?.files ?? [])];
  if (files.length > 0) takeFiles(files);
  else say(page.error, "Only files can be dropped here. Save the picture first, or copy it and paste it here.");
});

// A format that the browser does not show may still be one that is classified.
page.preview.addEventListener("error", () => {
  page.preview.hidden = true;
  page.drop.classList.remove("full");
  page.invitation.hidden = false;
  page.invitation.textContent = "This browser can't show the picture.";
});

camera.listen((canvas) => {
  const context = canvas.getContext("2d");
  if (!context) return;
  classifyPhoto(context.getImageData(0, 0, canvas.width, canvas.height));
  canvas.toBlob((blob) => blob && preview(URL.createObjectURL(blob), "from the camera"));
});

void models.listen();
