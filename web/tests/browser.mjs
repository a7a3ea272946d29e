// Debian's Chromium without a window, with an adapter in software, and a watch over every request.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

import { serve } from "./server.mjs";

const executablePath = process.env.VIT_GPU_CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);

const CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

/** A browser and a server for these folders; `webgpu: false` for a browser that has no adapter. */
export async function start(folders, { webgpu = true } = {}) {
  const site = await serve(folders);
  const gpu = webgpu ? ["--enable-unsafe-webgpu"] : ["--disable-features=WebGPU", "--disable-gpu"];
  const browser = await chromium.launch({ executablePath, args: ["--headless", "--no-sandbox", ...gpu, ...CAMERA] });
  const [seen, foreign] = [[], []];

  /** A page in a profile of its own. Every request of it and its workers is noted; `foreign` has those that left the site. */
  async function open(path = "/", options = {}) {
    const context = await browser.newContext(options);
    context.on("request", (request) => {
      const url = request.url();
      seen.push(url);
      if (!/^(data|blob):/.test(url) && !url.startsWith(`${site.address}/`)) foreign.push(url);
    });
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error("error on the page:", error));
    await page.goto(site.address + path);
    return page;
  }

  async function close() {
    await browser.close();
    site.close();
  }

  return { address: site.address, requests: site.requests, version: browser.version(), open, close, seen, foreign };
}

/** Has a line run at the begin of the package's workers on a page. */
async function inWorkers(page, line) {
  await page.route(/\/worker[^/]*\.js$/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${line}\n${await response.text()}` });
  });
}

/** Makes the adapter in software pass for a real one, so that kernels are chosen by measurement. */
export function passForReal(page) {
  return inWorkers(page, 'Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });');
}

/** Takes WebGPU away, as in a browser from before it. */
export function withoutWebGpu(page) {
  return inWorkers(page, "delete WorkerNavigator.prototype.gpu;");
}
