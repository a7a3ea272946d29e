// An app that installed the packed package; scripts/check-web builds it, and says where by VIT_GPU_APP.

import assert from "node:assert/strict";
import { test } from "node:test";

import { start } from "./browser.mjs";

test("an app that installed the package classifies", async () => {
  const browser = await start({ "/": process.env.VIT_GPU_APP });
  const page = await browser.open();
  await page.waitForFunction(() => document.title !== "waiting");
  assert.equal(await page.title(), "class 3");
  assert.ok(browser.seen.some((url) => url.endsWith(".wasm")));
  assert.deepEqual(browser.foreign, []);
  await browser.close();
});
