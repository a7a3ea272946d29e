// A photo from the camera.

import { page, say } from "./elements.js";

let stream: MediaStream | undefined;

function stop(): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = undefined;
  page.video.srcObject = null;
}

async function start(): Promise<void> {
  say(page.error, null);
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const denied = error instanceof DOMException && error.name === "NotAllowedError";
    say(page.error, denied ? "The camera may not be used: the browser or you did not allow it." : "No camera was found.");
    return;
  }
  page.video.srcObject = stream;
  page.cameraDialog.showModal();
  await page.video.play();
}

/** The picture that the camera shows now. */
function frame(): HTMLCanvasElement | undefined {
  const { videoWidth: width, videoHeight: height } = page.video;
  if (!width || !height) return undefined;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.drawImage(page.video, 0, 0);
  return canvas;
}

/** Has `taken` called for each photo. */
export function listen(taken: (canvas: HTMLCanvasElement) => void): void {
  if (!navigator.mediaDevices) page.camera.hidden = true;
  page.camera.addEventListener("click", () => void start());
  page.cancel.addEventListener("click", () => page.cameraDialog.close());
  page.cameraDialog.addEventListener("close", stop);
  page.shoot.addEventListener("click", () => {
    const canvas = frame();
    page.cameraDialog.close();
    if (canvas) taken(canvas);
  });
}
