// The list of models, and what adds one to it.

import { type ModelFiles, type ModelSource, VitGpuError, forgetModel, keepModel, keptModel, keptModels } from "vit-gpu";

import { bytes, made, page, say } from "./elements.js";
import { open } from "./runner.js";

const BUNDLED = "bundled";

/** The name of the model that is chosen. */
let chosen = BUNDLED;
/** Models from files that the browser could not keep, for this visit. */
const visiting = new Map<string, ModelFiles>();

/** The settings with which the model that is open was opened. */
let settings = { device: "auto" as "auto" | "cpu" | "any", precision: "f32" as "f32" | "f16" };

/** Opens the model of a name, or other files under it, as the settings say. If that fails, all stays as it was. */
async function openNamed(name: string, files?: ModelSource): Promise<boolean> {
  const model = files ?? (name === BUNDLED ? "bundled" : (visiting.get(name) ?? (await keptModel(name)) ?? name));
  const wanted = { device: page.device.value, precision: page.precision.value } as typeof settings;
  const opened = await open({ model, ...wanted });
  if (opened) [chosen, settings] = [name, wanted];
  else [page.device.value, page.precision.value] = [settings.device, settings.precision];
  for (const radio of page.models.querySelectorAll("input")) radio.checked = radio.value === chosen;
  return opened;
}

async function list(): Promise<void> {
  const kept = await keptModels();
  for (const [name, { weights }] of visiting) kept.push({ name, size: weights.size });
  const rows = [row(BUNDLED, "CIFAR-10, ten classes (comes with the page)", undefined)];
  for (const { name, size } of kept) rows.push(row(name, name, size));
  page.models.replaceChildren(...rows);
}

function row(name: string, text: string, size: number | undefined): HTMLLIElement {
  const row = made("li");
  const label = made("label");
  const radio = made("input");
  Object.assign(radio, { type: "radio", name: "model", value: name, checked: name === chosen });
  radio.addEventListener("change", () => void openNamed(name));
  label.append(radio, made("span", { text }));
  if (size !== undefined) label.append(made("span", { kind: "size", text: bytes(size) }));
  row.append(label);
  if (size !== undefined) row.append(remover(name));
  return row;
}

function remover(name: string): HTMLButtonElement {
  const button = made("button", { text: "Remove" });
  button.type = "button";
  button.setAttribute("aria-label", `Remove ${name}`);
  button.addEventListener("click", async () => {
    visiting.delete(name);
    await forgetModel(name);
    if (chosen === name) await openNamed(BUNDLED);
    await list();
    page.models.querySelector("input")?.focus();
  });
  return button;
}

/** Opens a model and, if that succeeds, lists it as the chosen one. */
async function add(name: string, source: ModelSource): Promise<void> {
  const opened = await openNamed(name, source);
  if (opened && typeof source === "object") await keepModel(name, source).catch(() => visiting.set(name, source));
  // What was downloaded is kept before it is known whether it is a model.
  if (!opened && typeof source === "string" && chosen !== name) await forgetModel(name);
  await list();
}

/** Opens a model from files that were chosen or dropped together. */
export async function addFiles(files: File[]): Promise<void> {
  const named = (...names: string[]) => files.find(({ name }) => names.includes(name));
  const weights = files.filter(({ name }) => name.endsWith(".safetensors"));
  if (weights.length !== 1 || !weights[0]) {
    const found = files.map(({ name }) => name).join(", ");
    const what =
      weights.length > 1 ? "one .safetensors file at a time can be opened" : "there is no .safetensors file among them";
    return say(page.error, `${found}: ${what}`);
  }
  const config = named("config.json", "open_clip_config.json");
  const name = await unused(await title(weights[0], config));
  await add(name, {
    name,
    weights: weights[0],
    config,
    preprocessor: named("preprocessor_config.json", "processor_config.json"),
  });
}

/** What a model may be called: by its configuration, or as its file is called. */
async function title(weights: File, config: File | undefined): Promise<string> {
  const stem = weights.name.replace(/\.safetensors$/, "");
  try {
    const { architecture, _name_or_path: origin, model_type: type } = JSON.parse((await config?.text()) ?? "{}");
    const name = [architecture, origin, type].find((name) => typeof name === "string" && name !== "");
    return name ?? stem;
  } catch {
    // Opening it will say what is wrong with its configuration.
    return stem;
  }
}

/** The name, with a number behind it if another model has it. */
async function unused(name: string): Promise<string> {
  const taken = new Set([BUNDLED, ...visiting.keys(), ...(await keptModels()).map(({ name }) => name)]);
  let number = 1;
  const numbered = () => (number === 1 ? name : `${name} (${number})`);
  while (taken.has(numbered())) number++;
  return numbered();
}

export async function listen(): Promise<void> {
  page.chooseModel.addEventListener("click", () => page.modelFiles.click());
  page.modelFiles.addEventListener("change", () => {
    const files = [...(page.modelFiles.files ?? [])];
    page.modelFiles.value = "";
    if (files.length > 0) void addFiles(files);
  });
  page.addressForm.addEventListener("submit", (event) => {
    event.preventDefault();
    const address = page.address.value.trim();
    if (address) void add(address, address);
  });
  for (const select of [page.device, page.precision]) select.addEventListener("change", () => void openNamed(chosen));
  await Promise.all([list(), precisions(), openNamed(BUNDLED)]).catch((error: unknown) =>
    say(page.error, VitGpuError.of(error).message),
  );
}

/** Offers f16 where the adapter has it. */
async function precisions(): Promise<void> {
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<{ features: Set<string> } | null> } }).gpu;
  const adapter = await gpu?.requestAdapter();
  const option = page.precision.options[1];
  if (!option || !adapter?.features.has("shader-f16")) return;
  option.disabled = false;
  option.textContent = "f16: half the memory, nearly the same results";
}
