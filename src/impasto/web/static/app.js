"use strict";
// The page: five tabs over one REST interface. No framework, no build step, no external resources.

const $ = (id) => document.getElementById(id);
const TABS = ["mix", "stylize", "styles", "train", "gallery"];
const EXPERTS = ["pixel", "orientation", "texture", "style"];
const state = { model: null, sources: [], mixStyles: new Map(), stylize: null, stylizeStyles: new Map(), styleSources: [],
  train: null, jobs: new Map(), chosen: new Set(), oldest: null, saved: [], models: [], settings: {} };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

async function ask(path, options = {}) {
  let answer;
  try {
    if (options.json !== undefined) {
      options = { method: "POST", ...options, headers: { "Content-Type": "application/json" }, body: JSON.stringify(options.json) };
    }
    answer = await fetch(path, options);
  } catch {
    notify(word("lost"));
    throw new Error("no answer");
  }
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    const detail = Array.isArray(body.detail) ? body.detail.map((d) => `${(d.loc || []).slice(1).join(".")}: ${d.msg}`).join("; ") : body.detail;
    notify(detail || answer.statusText);
    throw new Error(detail);
  }
  return answer.status === 204 ? null : (answer.headers.get("content-type") || "").includes("json") ? answer.json() : answer.blob();
}

let noticeTimer;
function notify(text) {
  $("notice").textContent = text;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { $("notice").textContent = ""; }, 8000);
}

// Uploads

async function upload(file) {
  const body = new FormData();
  body.append("file", file, file.name || "pasted.png");
  return ask("/api/uploads", { method: "POST", body });
}

function dropZone(id, take, many = true) {
  const zone = $(id);
  const receive = async (files) => { for (const file of many ? files : [...files].slice(0, 1)) await take(file).catch(() => {}); };
  const open = () => {
    const pick = $("pick");
    pick.multiple = many;
    pick.onchange = () => { receive([...pick.files]); pick.value = ""; };
    pick.click();
  };
  zone.addEventListener("click", open);
  zone.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); } });
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const id = event.dataTransfer.getData("text/impasto");
    if (id) { useAsSource(id); return; }
    const folder = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).find((entry) => entry?.isDirectory);
    if (folder) filesBelow(folder).then((files) => takeFolder(files, folder.name, take));
    else receive([...event.dataTransfer.files]);
  });
}

async function takeFolder(files, name, take) {
  if (!files.length) { notify(`${name}: ${word("no_pictures")}`); return; }
  try { await take(await packed(files, name)); } catch (error) { notify(`${name}: ${error.message}`); }
}

// A button that selects a folder, as an alternative to dragging.
function folderButton(id, take) {
  $(id).addEventListener("click", () => {
    const pick = $("pick-folder");
    pick.onchange = () => {
      const files = [...pick.files], name = files[0]?.webkitRelativePath.split("/")[0] || "folder";
      takeFolder(filesChosen(files), name, take);
      pick.value = "";
    };
    pick.click();
  });
}

async function addSource(file) {
  const found = await upload(file);
  if (found.kind !== "picture") { notify(found.name); return; }
  if (found.recipe) restore(found.recipe);
  pushSource(found);
}

function pushSource(found) {
  const first = state.sources.length === 0;
  state.sources.push({ id: found.id, name: found.name, pixel: first ? 1 : 0, orientation: first ? 1 : 0, texture: first ? 1 : 0, style: first ? 0 : 1 });
  showSources();
}

// Variations of a picture, with the defaults of impasto vary.
async function vary(id) {
  const { id: source } = await ask(`/api/pictures/${id}/source`, { method: "POST" });
  show("mix");
  const settings = bodyOf("vary", { ...defaultsOf("vary"), seed: randomSeed() });
  watch(await ask("/api/jobs", { json: { kind: "fuse", model: modelName(), sources: [{ source, pixel: 1, orientation: 1, texture: 1 }], ...settings } }));
}

async function useAsSource(id) {
  pushSource(await ask(`/api/pictures/${id}/source`, { method: "POST" }));
  show("mix");
}

function slider(name, value, { min = 0, max, step }, set) {
  const output = element("output", { textContent: value });
  const input = element("input", { type: "range", min, max, step, value, ariaLabel: word(name) });
  input.dataset.name = name;
  input.addEventListener("input", () => { output.textContent = input.value; set(Number(input.value)); });
  return element("label", { className: "slider" }, element("span", { textContent: word(name) }), input, output);
}

function showSources() {
  $("sources").replaceChildren(...state.sources.map((source) => {
    const picture = element("img", { src: `/api/uploads/${source.id}/picture`, alt: source.name });
    const strips = element("div", {}, ...EXPERTS.map((name) => slider(name, source[name], { max: 2, step: 0.05 }, (value) => { source[name] = value; })));
    const remove = element("button", { type: "button", textContent: "×", ariaLabel: `${word("remove")} ${source.name}` });
    remove.addEventListener("click", () => { state.sources = state.sources.filter((other) => other !== source); showSources(); });
    return element("div", { className: "source" }, picture, strips, remove);
  }));
}

// Models and styles

async function loadModels() {
  const models = await ask("/api/models");
  state.models = models.map((model) => model.name);
  showTrainFields();
  $("model").replaceChildren(...models.map((model) => element("option", { value: model.name, textContent: model.name })));
  if (!models.length) { notify(word("no_model")); state.model = null; return; }
  const wanted = localStorage.getItem("model");
  $("model").value = models.some((model) => model.name === wanted) ? wanted : models[0].name;
  await chooseModel();
}

async function chooseModel() {
  localStorage.setItem("model", $("model").value);
  state.model = await ask(`/api/models/${encodeURIComponent($("model").value)}`);
  for (const id of ["text", "negative_text"]) $(id).closest("label").hidden = !state.model.reads_text;
  showSettings();
  await loadStyles();
}

async function loadStyles() {
  state.saved = await ask("/api/styles");
  for (const [id, chosen] of [["mix-styles", state.mixStyles], ["stylize-styles", state.stylizeStyles]]) {
    const entries = (state.model?.collections || []).map((source) => ({ kind: "collection", source }));
    entries.push(...state.saved.filter((style) => style.model === state.model?.name).map((style) => ({ kind: "style", source: style.name })));
    for (const key of [...chosen.keys()]) if (!entries.some((entry) => entry.source === key)) chosen.delete(key);
    $(id).replaceChildren(...entries.map((entry) => {
      const chip = element("button", { type: "button", textContent: entry.source, ariaPressed: String(chosen.has(entry.source)) });
      chip.addEventListener("click", () => {
        if (!chosen.delete(entry.source)) chosen.set(entry.source, entry);
        chip.ariaPressed = String(chosen.has(entry.source));
        if (chosen === state.stylizeStyles) showPreview();
      });
      return chip;
    }));
  }
  const cards = (state.model?.collections || []).map((source) => cardOf("collection", source, state.model.name));
  cards.push(...state.saved.map((style) => cardOf("style", style.name, style.model)));
  $("style-cards").replaceChildren(...cards, ...(cards.length ? [] : [element("p", { className: "soft", textContent: word("nothing") })]));
}

function cardOf(kind, source, model) {
  const samples = `/api/models/${encodeURIComponent(model)}/samples?${new URLSearchParams({ kind, source })}`;
  const card = element("div", { className: "card" }, element("img", { src: samples, alt: `${word("samples")} ${source}`, loading: "lazy" }),
    element("strong", { textContent: source }), element("p", { className: "soft", textContent: `${word("of_model")} ${model}` }));
  if (kind === "style") {
    const remove = element("button", { type: "button", textContent: word("delete"), ariaLabel: `${word("delete")} ${source}` });
    remove.addEventListener("click", async () => { await ask(`/api/styles/${encodeURIComponent(source)}`, { method: "DELETE" }); loadStyles(); });
    card.append(remove);
  }
  return card;
}

const referencesOf = (chosen) => [...chosen.values()].map(({ kind, source }) => ({ kind, source, weight: 1 }));

// Settings: the server describes them (default, range, choices); each tab has its own values.

const SHOWN = {
  mix: { jobs: ["generate", "fuse"], sliders: ["conditioning_scale", "guidance", "internal_guidance", "temperature"],
    fields: ["steps", "count", "width", "height", "tile", "palette", "pixel_art", "opaque"] },
  stylize: { jobs: ["stylize"], sliders: ["strength", "guidance"], fields: ["steps", "num_shifts", "palette", "pixel_art", "opaque"], other: ["preserve_color"] },
  train: { jobs: ["train"], sliders: [], fields: ["size", "minutes", "resolution", "text"] },
};
const LABELS = { train: { text: "captions" } };
const values = { mix: {}, stylize: {}, train: {} };
const training = { name: "my-style", finetune: "" };

const modelName = () => state.model?.name ?? "";
const rowOf = (tab, name) => SHOWN[tab].jobs.flatMap((job) => state.settings[job]).find((row) => row.name === name);
const defaultsOf = (job) => Object.fromEntries(state.settings[job].map((row) => [row.name, row.default]));

async function loadSettings() {
  state.settings = await ask("/api/settings");
  for (const [tab, { sliders, fields, other = [] }] of Object.entries(SHOWN)) {
    for (const name of [...sliders, ...fields, ...other]) values[tab][name] = rowOf(tab, name).default;
  }
  $("preserve_color").checked = values.stylize.preserve_color;
}

// The settings in `given` (by name) as the corresponding part of the body of a job.
function bodyOf(job, given) {
  const body = {};
  for (const { name, path } of state.settings[job]) {
    if (!(name in given)) continue;
    const keys = path.split("."), last = keys.pop();
    keys.reduce((place, key) => (place[key] ||= {}), body)[last] = given[name];
  }
  return body;
}

// Whether a setting has an effect with this model: sampling needs the flow, shifts need a model that stylizes without it.
function acts(name) {
  if (name === "num_shifts") return Boolean(state.model?.decoder_only_stylization);
  return !state.model?.decoder_only_stylization || !rowOf("stylize", name).path.startsWith("settings.sampling.");
}

function field(label, row, value, set) {
  let input;
  const option = (v) => element("option", { value: v, textContent: ["", "none"].includes(v) ? word("none") : v });
  if (row.choices?.length) {
    input = element("select", {}, ...row.choices.map(option));
    input.value = value;
  } else if (row.type === "boolean") input = element("input", { type: "checkbox", checked: value });
  else if (row.type === "string") input = element("input", { type: "text", value: value ?? "" });
  else {
    const step = row.multiple_of ?? row.step ?? (row.type === "integer" ? 1 : "any");
    input = element("input", { type: "number", min: row.minimum ?? "", max: row.maximum ?? "", step, value: value ?? "" });
  }
  input.dataset.name = row.name;
  input.addEventListener("change", () => {
    if (row.type === "boolean") set(input.checked);
    else if (row.choices?.length) set(row.choices.find((choice) => String(choice) === input.value));
    else if (input.value === "") set(row.default);
    else set(row.type === "string" ? input.value : Number(input.value));
  });
  return element("label", {}, element("span", { textContent: word(label) }), input);
}

function showTab(tab, changed = () => {}) {
  const isShown = (name) => tab !== "stylize" || acts(name);
  const set = (name) => (value) => { values[tab][name] = value; changed(); };
  const sliders = SHOWN[tab].sliders.filter(isShown).map((name) => {
    const row = rowOf(tab, name);
    return slider(name, values[tab][name], { min: row.minimum, max: row.usual_maximum ?? row.maximum, step: row.step }, set(name));
  });
  const fields = SHOWN[tab].fields.filter(isShown).map((name) => field(LABELS[tab]?.[name] ?? name, rowOf(tab, name), values[tab][name], set(name)));
  return { sliders, fields };
}

function showSettings() {
  const mix = showTab("mix"), stylize = showTab("stylize", showPreview);
  $("mix-sliders").replaceChildren(...mix.sliders);
  $("mix-fields").replaceChildren(...mix.fields);
  $("stylize-sliders").replaceChildren(...stylize.sliders);
  $("stylize-fields").replaceChildren(...stylize.fields);
  showTrainFields();
}

function showTrainFields() {
  const name = field("name", { name: "name", type: "string", default: "" }, training.name, (value) => { training.name = value; });
  const finetune = field("finetune", { name: "finetune", choices: ["", ...state.models] }, training.finetune, (value) => { training.finetune = value; });
  $("train-fields").replaceChildren(name, finetune, ...showTab("train").fields);
}

const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];
function roll() { $("seed").value = randomSeed(); }

async function make() {
  if (!$("lock").checked || $("seed").value === "") roll();
  const job = state.sources.length ? "fuse" : "generate";
  const given = { ...values.mix, seed: Number($("seed").value) };
  if (state.model?.reads_text) Object.assign(given, { text: $("text").value || null, negative_text: $("negative_text").value || null });
  const body = { kind: job, model: modelName(), style: referencesOf(state.mixStyles), ...bodyOf(job, given) };
  if (job === "fuse") {
    body.sources = state.sources.map(({ id, pixel, orientation, texture, style }) => ({ source: id, pixel, orientation, texture, style }));
  }
  watch(await ask("/api/jobs", { json: body }));
}

// The body of a stylization, with the settings that have an effect.
function stylizeBody() {
  const given = Object.fromEntries(Object.entries(values.stylize).filter(([name]) => acts(name)));
  return { model: modelName(), source: state.stylize.id, style: referencesOf(state.stylizeStyles), ...bodyOf("stylize", given) };
}

// At most one preview request is pending; changes in the meantime cause one more request after it.
const preview = { busy: false, again: false };
async function showPreview() {
  const image = $("stylize-preview");
  if (!state.stylize || state.stylize.kind === "clip" || !state.stylizeStyles.size) { image.hidden = true; return; }
  if (preview.busy) { preview.again = true; return; }
  preview.busy = true;
  try {
    const picture = await ask("/api/preview", { json: stylizeBody() });
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(picture);
    image.hidden = false;
  } catch { image.hidden = true; }
  preview.busy = false;
  if (preview.again) { preview.again = false; showPreview(); }
}

async function stylize() {
  if (!state.stylize) { notify(word("drop_any")); return; }
  watch(await ask("/api/jobs", { json: { kind: "stylize", ...stylizeBody() } }));
}

// Restore the settings of a recipe on the tab of its command; returns the tab.
function restore(recipe) {
  const tab = recipe.command === "stylize" ? "stylize" : "mix";
  const found = {};
  for (const { name, path } of state.settings[recipe.command]) {
    const value = path.split(".").reduce((place, key) => place?.[key], recipe);
    if (value !== undefined) found[name] = value;
  }
  for (const name of Object.keys(values[tab])) if (name in found) values[tab][name] = found[name];
  if (tab === "stylize") $("preserve_color").checked = values.stylize.preserve_color;
  else {
    $("seed").value = found.seed;
    $("lock").checked = true;
    $("text").value = found.text || "";
    $("negative_text").value = found.negative_text || "";
  }
  const styles = tab === "stylize" ? state.stylizeStyles : state.mixStyles;
  styles.clear();
  for (const name of recipe.settings.style || []) {
    const source = name.replace(/:[\d.]+$/, "");
    if (state.model?.collections.includes(source)) styles.set(source, { kind: "collection", source });
  }
  showSettings();
  loadStyles();
  return tab;
}

// Jobs

function jobsOf(kind) { return $({ stylize: "stylize-jobs", train: "train-jobs" }[kind] || "mix-jobs"); }

function watch(job) {
  let card = state.jobs.get(job.id);
  if (!card) {
    const bar = element("progress", { max: 1 });
    bar.ariaLabel = word("running");
    const text = element("span", { className: "soft" });
    const cancel = element("button", { type: "button", textContent: word("cancel") });
    cancel.addEventListener("click", () => ask(`/api/jobs/${job.id}`, { method: "DELETE" }).catch(() => {}));
    const resume = element("button", { type: "button", textContent: word("resume"), hidden: true });
    resume.addEventListener("click", async () => { watch(await ask("/api/jobs", { json: job.request })); resume.hidden = true; });
    const pictures = element("div", { className: "grid" });
    card = { element: element("div", { className: "job" }, element("div", { className: "bar" }, bar, text, cancel, resume), pictures), bar, text, cancel, resume, pictures, seen: new Set() };
    card.element.dataset.job = job.id;
    state.jobs.set(job.id, card);
    jobsOf(job.kind).prepend(card.element);
  }
  const over = ["done", "failed", "cancelled"].includes(job.state);
  card.bar.hidden = over;
  card.cancel.hidden = over;
  if (job.total) card.bar.value = job.done / job.total; else card.bar.removeAttribute("value");
  const left = job.eta && !over ? ` · ${job.eta > 90 ? `${Math.round(job.eta / 60)} ${word("minutes_left")}` : `${Math.round(job.eta)} ${word("seconds")}`} ${word("left")}` : "";
  const place = job.state === "queued" && job.position ? ` (${job.position})` : "";
  card.text.textContent = `${word(job.state)}${place}${left}${job.message ? ` · ${job.message}` : ""}`;
  card.text.className = job.state === "failed" ? "bad" : "soft";
  card.resume.hidden = job.kind !== "train" || !["failed", "cancelled"].includes(job.state);
  if (over && job.kind === "train") loadModels().catch(() => {});
}

function cellOf(picture, choose = false) {
  const cell = element("button", { type: "button", className: "cell", draggable: true });
  const isClip = !picture.file.endsWith(".png");
  cell.append(isClip && !picture.file.endsWith(".webp") ? element("video", { src: `/api/pictures/${picture.id}/file`, muted: true, loop: true, autoplay: true })
    : element("img", { src: `/api/pictures/${picture.id}/${isClip ? "file" : "small"}`, alt: picture.label || word("picture"), loading: "lazy" }));
  if (picture.favourite) cell.append(element("span", { className: "mark", textContent: "★" }));
  cell.dataset.picture = picture.id;
  cell.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/impasto", picture.id));
  cell.addEventListener("click", (event) => {
    if (choose && (event.ctrlKey || event.metaKey || event.shiftKey)) {
      if (!state.chosen.delete(picture.id)) state.chosen.add(picture.id);
      cell.classList.toggle("chosen", state.chosen.has(picture.id));
    } else view(picture);
  });
  return cell;
}

async function view(picture) {
  const isClip = !picture.file.endsWith(".png");
  const body = $("viewer-body");
  body.className = "";
  body.replaceChildren(isClip && !picture.file.endsWith(".webp") ? element("video", { src: `/api/pictures/${picture.id}/file`, controls: true, loop: true })
    : element("img", { src: `/api/pictures/${picture.id}/file`, alt: picture.label || word("picture") }));
  const button = (name, act) => {
    const made = element("button", { type: "button", textContent: word(name) });
    made.addEventListener("click", async () => { await act(); $("viewer").close(); });
    return made;
  };
  const bar = element("div", { className: "bar" });
  body.append(bar);
  $("viewer").showModal();
  if (!isClip) {
    const zoom = element("button", { type: "button", textContent: word("zoom"), ariaPressed: "false" });
    zoom.addEventListener("click", () => { zoom.ariaPressed = String(body.classList.toggle("zoomed")); });
    bar.append(zoom);
    const recipe = await ask(`/api/pictures/${picture.id}/recipe`);
    bar.append(button("use", () => useAsSource(picture.id)), button("vary", () => vary(picture.id)),
      button("restore", async () => show(restore(recipe))),
      button("other_style", async () => {
        const tab = restore(recipe);
        (tab === "stylize" ? state.stylizeStyles : state.mixStyles).clear();
        loadStyles();
        show(tab);
      }));
    body.append(element("pre", { textContent: JSON.stringify(recipe, null, 1), tabIndex: 0 }));
  }
  bar.append(button("like", async () => {
    await ask(`/api/pictures/${picture.id}`, { method: "PATCH", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ favourite: !picture.favourite }) });
    loadGallery();
  }), element("a", { href: `/api/pictures/${picture.id}/file`, download: picture.file, textContent: word("download") }),
  button("delete", async () => { await ask(`/api/pictures/${picture.id}`, { method: "DELETE" }); document.querySelectorAll(`[data-picture="${picture.id}"]`).forEach((cell) => cell.remove()); }));
}

// Gallery

async function loadGallery(older = false) {
  const query = new URLSearchParams({ limit: 60, label: $("filter").value, favourite: $("liked").checked });
  if (older && state.oldest) query.set("before", state.oldest);
  const found = await ask(`/api/pictures?${query}`);
  if (found.length) state.oldest = found[found.length - 1].created;
  const cells = found.map((picture) => cellOf(picture, true));
  if (older) $("pictures").append(...cells);
  else { state.chosen.clear(); $("pictures").replaceChildren(...cells, ...(cells.length ? [] : [element("p", { className: "soft", textContent: word("nothing") })])); }
  $("older").hidden = found.length < 60;
}

async function downloadZip() {
  if (!state.chosen.size) { notify(word("choose")); return; }
  const blob = await ask("/api/pictures/zip", { json: { pictures: [...state.chosen] } });
  const link = element("a", { href: URL.createObjectURL(blob), download: "impasto.zip" });
  link.click();
  URL.revokeObjectURL(link.href);
}

async function removeChosen() {
  if (!state.chosen.size) { notify(word("choose")); return; }
  if (!confirm(word("sure"))) return;
  for (const id of state.chosen) await ask(`/api/pictures/${id}`, { method: "DELETE" });
  loadGallery();
}

// Training

async function takeArchive(file) {
  state.train = await upload(file);
  if (state.train.kind !== "archive") { notify(word("drop_zip")); state.train = null; return; }
  const audit = await ask(`/api/uploads/${state.train.id}/audit${values.train.resolution ? `?resolution=${values.train.resolution}` : ""}`, { method: "POST" });
  $("audit").hidden = false;
  $("audit").textContent = audit.text;
}

async function train() {
  if (!state.train) { notify(word("drop_zip")); return; }
  const body = { kind: "train", name: training.name, source: state.train.id, finetune: training.finetune || null, ...bodyOf("train", values.train) };
  watch(await ask("/api/jobs", { json: body }));
  curves = {};
}

let curves = {};
function addStep({ stage, terms }) {
  const name = stage === "prior" ? "flow" : "reconstruction";
  if (!(name in terms)) return;
  (curves[name] ||= []).push(terms[name]);
  $("curves").replaceChildren(...Object.entries(curves).map(([term, points]) => {
    const top = Math.max(...points), bottom = Math.min(...points);
    const path = points.map((value, i) => `${(i / Math.max(1, points.length - 1)) * 300},${95 - 90 * ((value - bottom) / (top - bottom || 1))}`).join(" ");
    const figure = element("figure");
    figure.innerHTML = '<svg class="curve" viewBox="0 0 300 100" preserveAspectRatio="none" role="img"><polyline fill="none" stroke="currentColor" stroke-width="1.5" vector-effect="non-scaling-stroke"/></svg><figcaption></figcaption>';
    figure.querySelector("polyline").setAttribute("points", path);
    figure.querySelector("svg").setAttribute("aria-label", term);
    figure.querySelector("figcaption").textContent = `${term}: ${points[points.length - 1].toPrecision(3)}`;
    return figure;
  }));
}

// After a reload: the curves and previews of a running training.
async function restoreTraining(run) {
  const path = `/api/models/${encodeURIComponent(run)}`;
  const log = await ask(`${path}/log`);
  curves = {};
  for (const line of log) if (line.stage) addStep({ stage: line.stage, terms: line });
  $("timeline").replaceChildren();
  for (const file of await ask(`${path}/previews`)) addPreview({ run, file });
}

function addPreview({ run, file }) {
  $("timeline").prepend(element("img", { src: `/api/models/${encodeURIComponent(run)}/previews/${encodeURIComponent(file)}`, alt: file }));
}

// Tabs, language and events

function show(name) {
  for (const tab of TABS) {
    $(tab).hidden = tab !== name;
    const button = $(`tab-${tab}`);
    button.ariaSelected = String(tab === name);
    button.tabIndex = tab === name ? 0 : -1;
  }
  if (name === "gallery") loadGallery().catch(() => {});
  location.hash = name;
}

function showWords() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.querySelectorAll("[data-word]").forEach((node) => { node.textContent = word(node.dataset.word); });
  document.querySelectorAll("[data-alt]").forEach((node) => { node.alt = word(node.dataset.alt); });
  $("language").textContent = word("other");
  for (const tab of TABS) $(`tab-${tab}`).textContent = word(tab);
  showSettings();
  showSources();
}

function listen() {
  const events = new EventSource("/api/events");
  events.addEventListener("job", (event) => watch(JSON.parse(event.data)));
  events.addEventListener("picture", (event) => {
    const { job, picture } = JSON.parse(event.data);
    addPicture(job, picture);
  });
  events.addEventListener("step", (event) => addStep(JSON.parse(event.data)));
  events.addEventListener("preview", (event) => addPreview(JSON.parse(event.data)));
  events.addEventListener("hello", () => refreshJobs().catch(() => {}));
}

function addPicture(job, picture) {
  const card = state.jobs.get(job);
  if (!card || card.seen.has(picture.id)) return;
  card.seen.add(picture.id);
  card.pictures.append(cellOf({ favourite: false, label: "", ...picture }));
}

async function refreshJobs() {
  const jobs = await ask("/api/jobs?limit=20");
  for (const job of jobs.reverse()) {
    watch(job);
    if (job.kind === "train") { if (job.state === "running") await restoreTraining(job.request.name).catch(() => {}); continue; }
    for (const picture of (await ask(`/api/jobs/${job.id}`)).pictures) addPicture(job.id, picture);
  }
}

async function start() {
  $("tabs").append(...TABS.map((tab, i) => {
    const button = element("button", { type: "button", id: `tab-${tab}`, role: "tab" });
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", tab);
    button.addEventListener("click", () => show(tab));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = TABS[(i + step + TABS.length) % TABS.length];
      show(next);
      $(`tab-${next}`).focus();
    });
    return button;
  }));
  $("language").addEventListener("click", () => { language = language === "en" ? "zh" : "en"; localStorage.setItem("language", language); showWords(); loadStyles(); });
  $("model").addEventListener("change", () => chooseModel().catch(() => {}));
  $("make").addEventListener("click", () => make().catch(() => {}));
  $("dice").addEventListener("click", roll);
  $("stylize-go").addEventListener("click", () => stylize().catch(() => {}));
  $("train-go").addEventListener("click", () => train().catch(() => {}));
  $("zip").addEventListener("click", () => downloadZip().catch(() => {}));
  $("remove").addEventListener("click", () => removeChosen().catch(() => {}));
  $("older").addEventListener("click", () => loadGallery(true).catch(() => {}));
  $("filter").addEventListener("input", () => loadGallery().catch(() => {}));
  $("liked").addEventListener("change", () => loadGallery().catch(() => {}));
  $("viewer-close").addEventListener("click", () => $("viewer").close());
  $("style-save").addEventListener("click", async () => {
    const style = state.styleSources.map((source) => ({ kind: "upload", source: source.id, weight: 1 }));
    if (!style.length) { notify(word("drop_style")); return; }
    await ask("/api/styles", { json: { name: $("style-name").value, model: modelName(), style } });
    notify(word("saved"));
    state.styleSources = [];
    $("style-sources").replaceChildren();
    loadStyles();
  });
  dropZone("mix-drop", addSource);
  const takeContent = async (file) => {
    state.stylize = await upload(file);
    $("stylize-source").replaceChildren(state.stylize.kind === "picture" ? element("img", { src: `/api/uploads/${state.stylize.id}/picture`, alt: state.stylize.name, width: 160 })
      : element("p", { textContent: state.stylize.name }));
    showPreview();
  };
  dropZone("stylize-drop", takeContent, false);
  folderButton("stylize-folder", takeContent);
  $("preserve_color").addEventListener("change", () => { values.stylize.preserve_color = $("preserve_color").checked; showPreview(); });
  dropZone("style-drop", async (file) => {
    const found = await upload(file);
    state.styleSources.push(found);
    $("style-sources").append(found.kind === "picture" ? element("img", { src: `/api/uploads/${found.id}/picture`, alt: found.name }) : element("span", { textContent: found.name }));
  });
  dropZone("train-drop", takeArchive, false);
  folderButton("train-folder", takeArchive);
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length && !$("mix").hidden) files.forEach((file) => addSource(file).catch(() => {}));
  });
  await loadSettings();
  showWords();
  show(TABS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "mix");
  loadModels().catch(() => {}).then(listen);
}

start().catch(() => {});
