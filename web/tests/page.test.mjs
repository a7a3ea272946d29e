// The page as a visitor uses it. Screenshots go to web/shots, to be looked at.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { passForReal, start, withoutWebGpu } from "./browser.mjs";
import { ROOT, native } from "./native.mjs";

const CAT = join(ROOT, "assets/cat.png");
const MODEL = join(ROOT, "tests/goldens/models/hf_vit");
const SHOTS = join(ROOT, "web/shots");
const DESKTOP = { viewport: { width: 1200, height: 800 } };
const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true };

let browser;

before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  browser = await start({ "/app/": join(ROOT, "web/page/dist"), "/models/": join(ROOT, "tests/goldens/models") });
});

after(async () => {
  await browser.close();
});

/** The labels and scores that the page shows, once it shows any that are not `before`. */
async function shown(page, before = "") {
  const classes = () => [...document.querySelectorAll(".bars li")].map((row) => row.innerText.replace(/\s+/g, " ").trim());
  await page.waitForFunction(
    ([before]) =>
      !document.body.classList.contains("busy") &&
      document.querySelector(".bars") &&
      document.querySelector("#results").innerText !== before,
    [before],
    { timeout: 120_000 },
  );
  return page.evaluate(classes);
}

/** The share of the first class by the native processor. */
function best(model) {
  const logits = native(CAT, "logits", model);
  const shares = logits.map((value) => Math.exp(value - Math.max(...logits)));
  return `${((100 * Math.max(...shares)) / shares.reduce((a, b) => a + b)).toFixed(1)} %`;
}

/** Waits until nothing moves any more, for a screenshot. */
const settled = (page) =>
  page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished)).then(() => {}));

const facts = (page) => page.innerText("#facts");

for (const [name, options] of Object.entries({
  light: { ...DESKTOP, colorScheme: "light" },
  dark: { ...DESKTOP, colorScheme: "dark" },
  phone: { ...PHONE, colorScheme: "light" },
  "phone-dark": { ...PHONE, colorScheme: "dark" },
})) {
  test(`the example is classified (${name})`, async () => {
    const page = await browser.open("/app/", options);
    await page.click("text=Try a cat");
    const classes = await shown(page);
    assert.equal(classes[0], `cat ${best()}`);
    assert.equal(classes.length, 5);
    assert.match(await page.innerText("#notice"), /^No GPU is used, because this browser offers only one in software\./);
    assert.match(await facts(page), /Device\s+processor\s+Run\s+[\d.]+ m?s/);
    for (const details of await page.locator("summary").all()) await details.click();
    await settled(page);
    await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
    const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= window, `${wide} pixels wide in a window of ${window}`);
    await page.context().close();
  });
}

/** The map that the page shows, as the canvas's bytes, once it is another than `before`. */
async function map(page, before = "") {
  await page.waitForFunction(
    (before) => {
      const [looks, map] = ["looks", "map"].map((id) => document.getElementById(id));
      return !map.hidden && looks.getAttribute("aria-busy") === "false" && map.toDataURL() !== before;
    },
    before,
    { timeout: 120_000 },
  );
  return page.evaluate(() => document.getElementById("map").toDataURL());
}

test("what the model looks at is drawn over the photo", async () => {
  const page = await browser.open("/app/", DESKTOP);
  assert.equal(await page.isHidden("#look"), true);
  await page.click("text=Try a cat");
  const before = await shown(page);
  await page.waitForSelector("#look");
  const seen = [];
  for (const [kind, name] of [
    ["rollout", "attention"],
    ["attention", "attention-last"],
    ["relevance 3", "relevance"],
  ]) {
    await page.selectOption("#look", kind);
    seen.push(await map(page, seen.at(-1)));
    await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
  }
  assert.equal(new Set(seen).size, 3);
  assert.equal(await page.isHidden("#preview"), true);
  assert.match(await page.getAttribute("#map", "aria-label"), /^The photo of a cat, and over it what speaks for cat$/);
  assert.match(await page.innerText("#legend"), /^Bright is much, dark is little\./);
  // The next photo has the same map, of its own.
  await page.setInputFiles("#file", join(ROOT, "tests/goldens/images/exif6.jpg"));
  const next = await map(page, seen[2]);
  assert.notEqual(next, seen[2]);
  assert.notDeepEqual(await shown(page), before);
  await page.selectOption("#look", "");
  await page.waitForSelector("#preview");
  assert.equal(await page.isHidden("#map"), true);
  await page.context().close();
});

test("on what passes for a real GPU, the page uses it", async () => {
  const page = await browser.open("/app/", DESKTOP);
  await passForReal(page);
  await page.reload();
  await page.click("text=Try a cat");
  assert.equal((await shown(page))[0], `cat ${best()}`);
  assert.match(await facts(page), /Device\s+GPU: google swiftshader/);
  assert.equal(await page.isHidden("#notice"), true);
  await settled(page);
  await page.screenshot({ path: join(SHOTS, "gpu.png"), fullPage: true });
  await page.context().close();
});

test("photos come from files, from the clipboard, by dropping, and from the camera", async () => {
  const page = await browser.open("/app/", DESKTOP);
  await page.setInputFiles("#file", CAT);
  const cat = await shown(page);
  assert.equal(cat[0], `cat ${best()}`);
  assert.equal(await page.getAttribute("#preview", "alt"), "The photo cat.png");

  /** Takes a photo; its classes. */
  const taken = async () => {
    const before = await page.innerText("#results");
    await page.click("text=Use the camera");
    await page.waitForFunction(() => document.querySelector("video").videoWidth > 0);
    await page.screenshot({ path: join(SHOTS, "camera.png") });
    await page.click("text=Take the photo");
    return shown(page, before);
  };
  assert.notDeepEqual(await taken(), cat);
  assert.match(await facts(page), /Decoding\s+not needed/);
  assert.equal(await page.evaluate(() => document.querySelector("video").srcObject), null, "the camera is off again");

  const bytes = [...readFileSync(CAT)];
  for (const kind of ["paste", "drop"]) {
    const before = await page.innerText("#results");
    await page.evaluate(
      ([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "cat.png", { type: "image/png" }));
        const options = { bubbles: true, cancelable: true };
        const pasted = () => new ClipboardEvent("paste", { ...options, clipboardData: data });
        document.body.dispatchEvent(kind === "paste" ? pasted() : new DragEvent("drop", { ...options, dataTransfer: data }));
      },
      [kind, bytes],
    );
    assert.deepEqual(await shown(page, before), cat, kind);
    if (kind === "paste") await taken();
  }
  await page.context().close();
});

test("a model from files is run, kept, opened again by a later visit, and removed", async () => {
  const page = await browser.open("/app/", DESKTOP);
  await page.click("text=Try a cat");
  const bundled = await shown(page);
  const before = await page.innerText("#results");
  await page.click("text=Add a model");
  await page.setInputFiles(
    "#model-files",
    ["model.safetensors", "config.json", "preprocessor_config.json"].map((name) => join(MODEL, name)),
  );
  const classes = await shown(page, before);
  assert.ok(classes[0].endsWith(` ${best(MODEL)}`), classes[0]);
  await page.waitForSelector("text=Remove");
  assert.match(await page.innerText(".models"), /\bvit\b/, "its name is from its configuration");
  await settled(page);
  await page.screenshot({ path: join(SHOTS, "own-model.png"), fullPage: true });

  await page.reload();
  await page.waitForSelector("text=Remove");
  assert.equal(await page.isChecked("input[value=bundled]"), true);
  await page.click("text=Try a cat");
  assert.deepEqual(await shown(page), bundled);
  const again = await page.innerText("#results");
  await page.click(".models li:nth-child(2) label");
  assert.deepEqual(await shown(page, again), classes);
  const own = await page.innerText("#results");
  await page.click("text=Remove");
  assert.deepEqual(await shown(page, own), bundled);
  assert.equal(await page.locator(".models li").count(), 1);
  await page.context().close();
});

test("a model from an address is downloaded and kept", async () => {
  const page = await browser.open("/app/", DESKTOP);
  await page.click("text=Try a cat");
  await shown(page);
  const before = await page.innerText("#results");
  await page.click("text=Add a model");
  await page.fill("#address", "/models/hf_vit");
  await page.keyboard.press("Enter");
  assert.ok((await shown(page, before))[0].endsWith(` ${best(MODEL)}`));
  await page.waitForSelector("text=Remove");
  await page.context().close();
});

test("what can't be used is said in one line, and the page goes on", async () => {
  const page = await browser.open("/app/", DESKTOP);
  const said = async (wanted) => {
    await page.waitForFunction((wanted) => new RegExp(wanted).test(document.querySelector("#error").innerText), wanted.source, {
      timeout: 20_000,
    });
  };
  await page.setInputFiles("#file", join(ROOT, "assets/README.md"));
  await said(/^README\.md: not an image in a supported format$/);
  await page.screenshot({ path: join(SHOTS, "error.png"), fullPage: true });
  await page.click("text=Add a model");
  await page.setInputFiles("#model-files", join(MODEL, "config.json"));
  await said(/^config\.json: there is no \.safetensors file among them$/);
  await page.setInputFiles("#model-files", {
    name: "torn.safetensors",
    mimeType: "",
    buffer: readFileSync(join(MODEL, "model.safetensors")).subarray(0, 9999),
  });
  await said(/^torn: not a valid safetensors file: /);
  await page.fill("#address", "/models/nothing");
  await page.click("text=Download");
  await said(/nothing\/model\.safetensors: it can't be downloaded \(HTTP status 404\)$/);
  assert.equal(await page.locator(".models li").count(), 1);
  await page.click("text=Try a cat");
  assert.equal((await shown(page))[0], `cat ${best()}`);
  assert.equal(await page.isHidden("#error"), true);
  await page.context().close();
});

test("all is done by the keyboard", async () => {
  const page = await browser.open("/app/", DESKTOP);
  const reached = [];
  for (let i = 0; i < 8; i++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.innerText?.trim() || document.activeElement.value));
    if (reached.at(-1) === "Try a cat") await page.keyboard.press("Enter");
  }
  assert.deepEqual(reached.slice(0, 6), [
    "Choose a photo",
    "Use the camera",
    "Try a cat",
    "bundled",
    "Add a model",
    "Where it runs",
  ]);
  assert.equal((await shown(page))[0], `cat ${best()}`);
  // Every control has a name, and every picture a text.
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, select, input:not([hidden]), progress")]
      .filter((element) => !element.textContent?.trim() && !element.labels?.length && !element.getAttribute("aria-labelledby"))
      .map((element) => element.id),
  );
  assert.deepEqual(nameless, []);
  await page.context().close();
});

test("in a browser from before WebGPU the page says so and runs on the processor", async () => {
  const page = await browser.open("/app/", PHONE);
  await withoutWebGpu(page);
  await page.reload();
  await page.click("text=Try a cat");
  assert.equal((await shown(page))[0], `cat ${best()}`);
  assert.match(
    await page.innerText("#notice"),
    /^No GPU is used, because this browser has no WebGPU, which .* have\. The model runs/,
  );
  await settled(page);
  await page.screenshot({ path: join(SHOTS, "no-webgpu.png"), fullPage: true });
  await page.context().close();
});

test("without an adapter the page says so and runs on the processor", async () => {
  const old = await start({ "/app/": join(ROOT, "web/page/dist") }, { webgpu: false });
  try {
    const page = await old.open("/app/", DESKTOP);
    await page.click("text=Try a cat");
    assert.equal((await shown(page))[0], `cat ${best()}`);
    assert.match(
      await page.innerText("#notice"),
      /^No GPU is used, because this browser offers none to web pages on this device\./,
    );
    assert.deepEqual(old.foreign, []);
  } finally {
    await old.close();
  }
});

test("no request left the site", () => {
  assert.ok(browser.seen.some((url) => url.endsWith(".wasm")));
  assert.deepEqual(browser.foreign, []);
});
