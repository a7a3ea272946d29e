// The package as an app uses it: results are those of the native program, errors say what is at fault, requests stay here.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { passForReal, start } from "./browser.mjs";
import { ROOT, difference, native, nativeMap, nativeScores, scores } from "./native.mjs";

const GOLDENS = join(ROOT, "tests/goldens");
const CAT = "assets/cat.png";
const PHOTO = "tests/goldens/images/exif6.jpg";
/** Logits and vectors are as near to the native processor's as this. */
const NEAR = 1e-3;

let browser;
let page;

before(async () => {
  browser = await start({
    "/dist/": join(ROOT, "web/dist"),
    "/assets/": join(ROOT, "assets"),
    "/tests/goldens/": GOLDENS,
    "/": join(ROOT, "web/tests/harness"),
  });
  console.log(`Chromium ${browser.version}`);
  page = await browser.open();
});

after(async () => {
  await browser.close();
});

/** Runs a function on a page, which is given the package, `blob(path)` and the arguments; the error's name and text if it throws. */
async function run(page, body, args = {}) {
  return page.evaluate(
    async ([body, args]) => {
      const vit = await import("/dist/index.js");
      const blob = async (path) => {
        const response = await fetch(`/${path}`);
        if (!response.ok) throw new Error(`${path} is not served`);
        return response.blob();
      };
      const file = (content, name) => new File([content], name);
      try {
        return await new Function("vit", "blob", "file", "args", `return (${body})(vit, blob, file, args)`)(
          vit,
          blob,
          file,
          args,
        );
      } catch (error) {
        return { error: `${error.name}: ${error.message}` };
      }
    },
    [body.toString(), args],
  );
}

async function logits({ Classifier }, blob, _file, { image, device, model }) {
  const classifier = await Classifier.create({ device, ...(model && { model }) });
  const logits = [...(await classifier.logits(await blob(image)))];
  const { predictions } = await classifier.classify(await blob(image), { topK: 2 });
  classifier.close();
  return { logits, predictions, device: classifier.device, info: classifier.model };
}

function near(name, found, wanted) {
  assert.equal(found.error, undefined);
  const off = difference(found.logits, wanted);
  console.log(`${name}: ${off.toExponential(1)} from the native processor`);
  assert.ok(off <= NEAR, `${name}: ${off}`);
}

for (const device of ["any", "cpu"]) {
  for (const image of [CAT, PHOTO]) {
    test(`the bundled model's logits of ${image} on ${device} are the native processor's`, async () => {
      const found = await run(page, logits, { image, device });
      near(`bundled, ${found.device?.name}`, found, native(join(ROOT, image), "logits"));
      assert.equal(found.device.kind, device === "any" ? "gpu" : "cpu");
      if (image === CAT)
        assert.deepEqual(
          found.predictions.map(({ label }) => label),
          ["cat", "dog"],
        );
    });
  }
}

test("without a real GPU, auto takes the processor and says why", async () => {
  const { device } = await run(page, logits, { image: CAT, device: "auto" });
  assert.equal(device.kind, "cpu");
  assert.match(device.note, /only software adapters were found/);
  assert.equal(device.noGpu, "software");
  const { error } = await run(page, logits, { image: CAT, device: "gpu" });
  assert.match(error, /^DeviceError: device `gpu`: only software adapters/);
});

test("on what passes for a real GPU, auto takes it and chooses kernels by measurement", async () => {
  const page = await browser.open();
  await passForReal(page);
  const found = await run(page, logits, { image: CAT, device: "auto" });
  near("bundled, chosen kernels", found, native(join(ROOT, CAT), "logits"));
  assert.deepEqual([found.device.kind, found.device.note], ["gpu", null]);
  await page.context().close();
});

/** Opens a golden's files as a visitor's. */
async function fromFiles({ Classifier, Embedder }, blob, file, { folder, image, device, names, weights, embed }) {
  const content = async (name) => file(await blob(`${folder}/${name}`), name);
  const model = { weights: await content(weights ?? "model.safetensors") };
  for (const name of names ?? []) model[name.startsWith("pre") ? "preprocessor" : "config"] = await content(name);
  const opened = await (embed ? Embedder : Classifier).create({ device, model });
  const logits = [...(embed ? await opened.embed(await blob(image)) : await opened.logits(await blob(image)))];
  const scaled = embed ? [...(await opened.embed(await blob(image), { normalize: true }))] : [];
  opened.close();
  return { logits, scaled, info: opened.model };
}

for (const [name, names] of [
  ["hf_vit", ["config.json", "preprocessor_config.json"]],
  ["timm_plain", ["config.json"]],
  ["hf_dinov2", ["config.json"]],
]) {
  for (const device of ["any", "cpu"]) {
    test(`${name} from files on ${device}: its logits are the native processor's`, async () => {
      const folder = `tests/goldens/models/${name}`;
      const found = await run(page, fromFiles, { folder, image: CAT, device, names });
      near(`${name}, ${device}`, found, native(join(ROOT, CAT), "logits", join(ROOT, folder)));
      assert.equal(found.info.numClasses, found.logits.length);
    });
  }
}

const TIMM = "tests/goldens/models/timm_plain";

/** Maps of an image, and what is wrong with arguments that can't be used. */
async function maps({ Classifier }, blob, file, { image, device, folder, wrong = [] }) {
  const config = folder && file(await blob(`${folder}/config.json`), "config.json");
  const model = folder ? { weights: await blob(`${folder}/model.safetensors`), config } : "bundled";
  const classifier = await Classifier.create({ device, model });
  const found = {};
  for (const [name, options] of Object.entries({
    rollout: {},
    attention: { method: "attention", layer: 1, side: 64 },
    relevance: { method: "relevance", class: 3 },
  })) {
    const { values, rows, cols, class: of, seen, picture } = await classifier.attention(await blob(image), options);
    const changed = picture.data.filter((value, i) => value !== seen.data[i]).length / picture.data.length;
    const sizes = [rows * cols, picture.data.length / 4, seen.width * seen.height];
    found[name] = { values: [...values], of, sizes, side: Math.min(seen.width, seen.height), changed };
  }
  const errors = [];
  for (const options of wrong) {
    errors.push(
      await classifier.attention(await blob(image), options).then(String, ({ name, message }) => `${name}: ${message}`),
    );
  }
  classifier.close();
  return { found, errors };
}

for (const [name, folder] of [["bundled"], ["timm_plain", TIMM]]) {
  for (const device of ["any", "cpu"]) {
    test(`maps of ${name} on ${device} are the native processor's`, async () => {
      const { found, error } = await run(page, maps, { image: CAT, device, folder });
      assert.equal(error, undefined);
      for (const [method, ...args] of [["rollout"], ["attention", "--layer", "1"], ["relevance", "--class", "3"]]) {
        const { values, of, sizes, side, changed } = found[method];
        const wanted = nativeMap(join(ROOT, CAT), ["--method", method, ...args], folder && join(ROOT, folder));
        const off = difference(values, wanted);
        console.log(`${method} of ${name}, ${device}: ${off.toExponential(1)} from the native processor`);
        assert.ok(off <= NEAR, `${method}: ${off}`);
        assert.equal(of, method === "relevance" ? 3 : undefined);
        assert.deepEqual(sizes, [wanted.length, sizes[1], sizes[1]]);
        assert.ok(side >= (method === "attention" ? 64 : 448) && changed > 0.5, `${side} pixels, ${changed} of them changed`);
      }
    });
  }
}

test("a map that there is none of is an error", async () => {
  const wrong = [
    { method: "attention", layer: 99 },
    { method: "relevance", class: 99 },
    { method: "x" },
    { class: 0.5 },
    { side: 1e6 },
  ];
  const { errors } = await run(page, maps, { image: CAT, device: "cpu", wrong });
  assert.match(errors[0], /^ArgumentError: .*layers 99 to 100: the model has/);
  assert.match(errors[1], /^ArgumentError: .*99: the model has 10 classes/);
  assert.match(errors[2], /^ArgumentError: method is x: /);
  assert.match(errors[3], /^ArgumentError: class is 0.5: it must be a whole number/);
  assert.match(errors[4], /^ArgumentError: side is 1000000: /);
});

test("a model without classes embeds, and says that it does not classify", async () => {
  const folder = "tests/goldens/models/hf_clip_vision";
  const names = ["config.json", "preprocessor_config.json"];
  const args = { folder, image: CAT, device: "cpu", names };
  const found = await run(page, fromFiles, { ...args, embed: true });
  near("hf_clip_vision, vector", found, native(join(ROOT, CAT), "pooled", join(ROOT, folder)));
  assert.ok(Math.abs(Math.hypot(...found.scaled) - 1) < 1e-5);
  assert.match((await run(page, fromFiles, args)).error, /^ModelError: .* has no classification head: an Embedder can run it$/);
});

test("pixels of a canvas and bytes give what the file gives", async () => {
  const found = await run(page, async ({ Classifier }, blob) => {
    const classifier = await Classifier.create({ device: "cpu" });
    const file = await blob("assets/cat.png");
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const all = [file, await file.arrayBuffer(), new Uint8Array(await file.arrayBuffer()), pixels, bitmap];
    const logits = await Promise.all(all.map((image) => classifier.logits(image)));
    const { decodedBy } = await classifier.classify(pixels);
    classifier.close();
    return { logits: logits.map((logits) => [...logits]), decodedBy };
  });
  assert.equal(found.decodedBy, "pixels");
  for (const logits of found.logits) assert.deepEqual(logits, found.logits[0]);
});

test("files of every format are decoded, or refused, as the program does it", async () => {
  const folders = ["tests/goldens/images", "tests/goldens/photos"];
  const images = folders.flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`));
  // These are left to the browser.
  const wanted = nativeScores(images.filter((image) => !/\.(avif|heic|heif)$/.test(image)));
  const found = await run(
    page,
    async ({ Classifier }, blob, file, { images }) => {
      const classifier = await Classifier.create({ device: "cpu" });
      const results = [];
      for (const image of images) {
        const one = classifier.classify(file(await blob(image), image), { topK: 10 });
        results.push(
          await one.then(
            ({ predictions }) => predictions,
            ({ message }) => message,
          ),
        );
      }
      classifier.close();
      return results;
    },
    { images: [...wanted.keys()] },
  );
  let [largest, refused] = [0, 0];
  [...wanted].forEach(([image, wanted], i) => {
    if (typeof wanted === "string") {
      refused++;
      return assert.equal(found[i], wanted);
    }
    assert.ok(Array.isArray(found[i]), `${image}: ${found[i]}`);
    const off = difference(scores(found[i]), wanted);
    assert.ok(off < 1e-5, `${image}: ${off}`);
    largest = Math.max(largest, off);
  });
  console.log(`${wanted.size} files, ${refused} of them refused: scores are up to ${largest.toExponential(1)} apart`);
  assert.ok(wanted.size > 150 && refused > 5 && refused < wanted.size / 4);
});

test("a format that only the browser reads is decoded by it, and the result says so", async () => {
  const found = await run(page, async ({ Classifier }, blob) => {
    const classifier = await Classifier.create({ device: "cpu" });
    const { decodedBy } = await classifier.classify(await blob("tests/goldens/photos/avif-420.avif"));
    classifier.close();
    return { decodedBy };
  });
  assert.deepEqual(found, { decodedBy: "browser" });
});

test("a model from an address is downloaded once, with progress, and kept until it is removed", async () => {
  const address = `${browser.address}/tests/goldens/models/hf_vit/`;
  const open = async ({ Classifier, forgetModel, keptModels }, blob, _file, { address }) => {
    const progress = [];
    const classifier = await Classifier.create({ device: "cpu", model: address, onProgress: (told) => progress.push(told) });
    const logits = [...(await classifier.logits(await blob("assets/cat.png")))];
    classifier.close();
    const kept = await keptModels();
    return { logits, progress, kept, name: classifier.model.name };
  };
  const weights = () => browser.requests.filter((path) => path.endsWith("hf_vit/model.safetensors")).length;
  const before = weights();
  const first = await run(page, open, { address });
  near("hf_vit from an address", first, native(join(ROOT, CAT), "logits", join(GOLDENS, "models/hf_vit")));
  const size = readFileSync(join(GOLDENS, "models/hf_vit/model.safetensors")).length;
  assert.deepEqual(first.progress.filter(({ stage }) => stage === "download").at(-1), {
    stage: "download",
    done: size,
    of: size,
  });
  const read = first.progress.filter(({ stage }) => stage === "weights");
  assert.ok(read.length > 10 && read.at(-1).done === read.at(-1).of);
  assert.deepEqual(first.kept, [{ name: address, size }]);
  const second = await run(page, open, { address });
  assert.deepEqual(second.logits, first.logits);
  assert.equal(weights() - before, 1, "the second time, nothing is downloaded");
  const left = await run(
    page,
    async ({ forgetModel, keptModels }, _b, _f, { address }) => {
      await forgetModel(address);
      return keptModels();
    },
    { address },
  );
  assert.deepEqual(left, []);
});

test("what can't be used is one clear line", async () => {
  const folder = "tests/goldens/models/hf_vit";
  const one = (args) => run(page, fromFiles, { folder, image: CAT, device: "cpu", ...args });
  const errors = [
    [await one({ weights: "config.json" }), /^ModelError: config\.json: .*JSON/],
    [await one({ names: ["config.json"], image: "assets/README.md" }), /^ImageError: image: not an image in a supported format$/],
    [
      await run(page, logits, { image: CAT, device: "any", model: "/nowhere/" }),
      /^NetworkError: .*\/nowhere\/model\.safetensors: it can't be downloaded \(HTTP status 404\)$/,
    ],
    [await run(page, logits, { image: CAT, device: "any", model: "http://[" }), /^ArgumentError: /],
    [
      await run(page, async ({ Classifier }, blob, file) => {
        const whole = await blob("assets/vit-nano-cifar10/model.safetensors");
        return Classifier.create({ model: { weights: file(whole.slice(0, 5000), "cut.safetensors") } });
      }),
      /^ModelError: cut\.safetensors: not a valid safetensors file: /,
    ],
    [
      await run(page, async ({ Classifier }, blob) => {
        const weights = await blob("tests/goldens/models/hf_vit/model.safetensors");
        return Classifier.create({ model: { weights, config: "{", name: "mine" } });
      }),
      /^ModelError: mine \(config\.json\): /,
    ],
    [
      await run(page, async ({ Classifier }) => Classifier.create({ device: "any", precision: "f16" })),
      /^DeviceError: WebGPU: it can't compute in f16, only in f32/,
    ],
    [
      await run(page, async ({ Classifier }, blob) => {
        const classifier = await Classifier.create({ device: "cpu" });
        const cat = await blob("assets/cat.png");
        await classifier.classify(new Blob([cat.slice(0, 9000)])).catch((error) => (classifier.said = error));
        // The error of one image is no other's.
        if ((await classifier.classify(cat)).predictions[0].label !== "cat") return null;
        throw classifier.said;
      }),
      /^ImageError: image: .*(truncated|cut|end)/i,
    ],
    [
      await run(page, async ({ Classifier }, blob) => {
        const classifier = await Classifier.create({ device: "cpu" });
        const call = classifier.classify(await blob("assets/cat.png"));
        classifier.close();
        return call;
      }),
      /^VitGpuError: it was closed$/,
    ],
    [
      await run(page, async ({ Classifier }) => (await Classifier.create({ device: "cpu" })).classify("cat.png")),
      /^ArgumentError: an image is/,
    ],
  ];
  for (const [found, wanted] of errors) assert.match(found?.error ?? JSON.stringify(found), wanted);
});

test("a worker that can't start is an error", async () => {
  const page = await browser.open();
  await page.route(/\/worker\.js$/, (route) => route.abort());
  assert.match((await run(page, logits, { image: CAT, device: "cpu" })).error, /^CrashError: the worker failed: /);
  await page.context().close();
});

test("after a computation that ended for good, calls fail at once and a new classifier works", async () => {
  const page = await browser.open();
  await page.route(/vit_gpu_web\.js$/, async (route) => {
    const response = await route.fetch();
    const trap = '\nSession.prototype.logits = () => { throw new WebAssembly.RuntimeError("unreachable"); };';
    await route.fulfill({ response, body: (await response.text()) + trap });
  });
  const found = await run(page, async ({ Classifier }, blob) => {
    const cat = await blob("assets/cat.png");
    const said = [];
    const classifier = await Classifier.create({ device: "cpu" });
    for (const call of ["logits", "classify"])
      await classifier[call](cat).catch(({ name, message }) => said.push(`${name}: ${message}`));
    const { predictions } = await (await Classifier.create({ device: "cpu" })).classify(cat);
    return { said, label: predictions[0].label };
  });
  const said = "CrashError: the computation ended for good: unreachable";
  assert.deepEqual(found, { said: [said, said], label: "cat" });
  await page.context().close();
});

test("no request left the site", () => {
  // Those of workers are seen too.
  assert.ok(browser.seen.some((url) => url.endsWith(".wasm")));
  assert.deepEqual(browser.foreign, []);
});
