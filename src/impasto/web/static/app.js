"use strict";
// The page: five tabs over one REST interface. No framework, no build step, nothing from elsewhere.

const $ = (id) => document.getElementById(id);
const TABS = ["mix", "redraw", "styles", "train", "gallery"];
const EXPERTS = ["pixel", "orientation", "texture", "style"];
const state = { model: null, sources: [], mixStyles: new Map(), redraw: null, redrawStyles: new Map(), styleSources: [],
  train: null, jobs: new Map(), chosen: new Set(), oldest: null, saved: [], models: [] };

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

// A button beside a drop zone, for those who cannot drag.
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

// The same picture again, its finest level drawn anew.
async function vary(id) {
  const { id: source } = await ask(`/api/pictures/${id}/source`, { method: "POST" });
  roll();
  show("mix");
  watch(await ask("/api/jobs", { json: { kind: "fuse", ...common(), sources: [{ source, pixel: 1, orientation: 1, texture: 1 }], style: [],
    harmony: 0.3, level_weights: [1, 1, 1, 0] } }));
}

async function useAsSource(id) {
  pushSource(await ask(`/api/pictures/${id}/source`, { method: "POST" }));
  show("mix");
}

function slider(name, value, max, step, set) {
  const output = element("output", { textContent: value });
  const input = element("input", { type: "range", min: 0, max, step, value, ariaLabel: word(name) });
  input.dataset.name = name;
  input.addEventListener("input", () => { output.textContent = input.value; set(Number(input.value)); });
  return element("label", { className: "slider" }, element("span", { textContent: word(name) }), input, output);
}

function showSources() {
  $("sources").replaceChildren(...state.sources.map((source) => {
    const picture = element("img", { src: `/api/uploads/${source.id}/picture`, alt: source.name });
    const strips = element("div", {}, ...EXPERTS.map((name) => slider(name, source[name], 2, 0.05, (value) => { source[name] = value; })));
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
  $("passes").closest("label").hidden = !state.model.redraws_alone;
  await loadStyles();
}

async function loadStyles() {
  state.saved = await ask("/api/styles");
  for (const [id, chosen] of [["mix-styles", state.mixStyles], ["redraw-styles", state.redrawStyles]]) {
    const entries = (state.model?.collections || []).map((source) => ({ kind: "collection", source }));
    entries.push(...state.saved.filter((style) => style.model === state.model?.name).map((style) => ({ kind: "style", source: style.name })));
    for (const key of [...chosen.keys()]) if (!entries.some((entry) => entry.source === key)) chosen.delete(key);
    $(id).replaceChildren(...entries.map((entry) => {
      const chip = element("button", { type: "button", textContent: entry.source, ariaPressed: String(chosen.has(entry.source)) });
      chip.addEventListener("click", () => {
        if (!chosen.delete(entry.source)) chosen.set(entry.source, entry);
        chip.ariaPressed = String(chosen.has(entry.source));
        if (chosen === state.redrawStyles) showPreview();
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

// Settings

const FIELDS = { steps: 8, count: 8, width: "", height: "", tile: "none", palette: "", pixel_art: "", transparent: true };
const SLIDERS = { harmony: [0.2, 1, 0.05], guidance: [1.5, 8, 0.1], clarity: [4, 8, 0.1], temperature: [1, 1.5, 0.05] };
const values = Object.fromEntries(Object.entries(SLIDERS).map(([name, [value]]) => [name, value]));
// Most of a redrawn picture is told: it needs no guidance.
const redrawing = { strength: 0.5, guidance: 1, steps: 8 };
const trainFields = { name: "my-style", init: "", size: "small", minutes: 30, resolution: 64, captions: false };

function field(name, value, set) {
  let input;
  const options = { tile: ["none", "x", "y", "xy"], size: ["tiny", "small", "base"], init: ["", ...state.models] }[name];
  if (options) {
    input = element("select", {}, ...options.map((v) => element("option", { value: v, textContent: ["", "none"].includes(v) ? word("none") : v })));
    input.value = value;
  } else if (typeof value === "boolean") input = element("input", { type: "checkbox", checked: value });
  else input = element("input", { type: name === "palette" || name === "name" ? "text" : "number", value });
  input.dataset.name = name;
  input.addEventListener("change", () => set(input.type === "checkbox" ? input.checked : input.value));
  return element("label", {}, element("span", { textContent: word(name) }), input);
}

function showSettings() {
  $("mix-sliders").replaceChildren(...Object.entries(SLIDERS).map(([name, [, max, step]]) => slider(name, values[name], max, step, (v) => { values[name] = v; })));
  $("mix-fields").replaceChildren(...Object.entries(FIELDS).map(([name, value]) => field(name, value, (v) => { FIELDS[name] = v; })));
  const redrawSlider = (name, max, step) => slider(name, redrawing[name], max, step, (v) => { redrawing[name] = v; showPreview(); });
  $("redraw-sliders").replaceChildren(redrawSlider("strength", 1, 0.05), redrawSlider("guidance", 8, 0.1));
  $("redraw-fields").replaceChildren(field("steps", redrawing.steps, (v) => { redrawing.steps = Number(v); }));
  showTrainFields();
}

function showTrainFields() {
  $("train-fields").replaceChildren(...Object.entries(trainFields).map(([name, value]) => field(name, value, (v) => { trainFields[name] = v; })));
}

function common() {
  const number = (value) => (value === "" || value === null ? null : Number(value));
  return { model: state.model?.name ?? "", count: Number(FIELDS.count), steps: Number(FIELDS.steps), temperature: values.temperature,
    guidance: values.guidance, clarity: values.clarity, tile: FIELDS.tile, palette: FIELDS.palette || null,
    pixel_art: number(FIELDS.pixel_art), opaque: !FIELDS.transparent, seed: number($("seed").value), text: $("text").value || null, negative_text: $("negative_text").value || null };
}

function roll() { $("seed").value = crypto.getRandomValues(new Uint32Array(1))[0]; }

async function make() {
  if (!$("lock").checked || $("seed").value === "") roll();
  const style = referencesOf(state.mixStyles);
  const number = (value) => (value === "" ? null : Number(value));
  const body = state.sources.length
    ? { kind: "fuse", ...common(), style, harmony: values.harmony,
      sources: state.sources.map(({ id, pixel, orientation, texture, style: own }) => ({ source: id, pixel, orientation, texture, style: own })) }
    : { kind: "generate", ...common(), style, width: number(FIELDS.width), height: number(FIELDS.height) };
  watch(await ask("/api/jobs", { json: body }));
}

// One preview is on its way at most; what was wished for meanwhile is asked for when it is here.
const preview = { busy: false, again: false };
async function showPreview() {
  const style = referencesOf(state.redrawStyles), image = $("redraw-preview");
  if (!state.redraw || state.redraw.kind === "clip" || !style.length) { image.hidden = true; return; }
  if (preview.busy) { preview.again = true; return; }
  preview.busy = true;
  try {
    const body = { model: state.model?.name ?? "", source: state.redraw.id, style, strength: redrawing.strength, guidance: redrawing.guidance,
      preserve_color: $("preserve_color").checked, seed: Number($("seed").value || 0) };
    const picture = await ask("/api/preview", { json: body });
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(picture);
    image.hidden = false;
  } catch { image.hidden = true; }
  preview.busy = false;
  if (preview.again) { preview.again = false; showPreview(); }
}

async function redraw() {
  if (!state.redraw) { notify(word("drop_any")); return; }
  const body = { kind: "stylize", ...common(), ...redrawing, count: 1, source: state.redraw.id, style: referencesOf(state.redrawStyles),
    preserve_color: $("preserve_color").checked, passes: $("passes").checked && state.model?.redraws_alone ? 4 : 1 };
  watch(await ask("/api/jobs", { json: body }));
}

function restore(recipe) {
  const settings = recipe.settings;
  const own = "strength" in settings ? redrawing : {};
  for (const name of Object.keys(own)) own[name] = settings[name];
  for (const name of Object.keys(SLIDERS)) if (name in settings && !(name in own)) values[name] = settings[name];
  for (const name of Object.keys(FIELDS)) if (settings[name] !== undefined && settings[name] !== null && !(name in own)) FIELDS[name] = settings[name];
  FIELDS.transparent = !settings.opaque;
  if ("strength" in settings) { $("preserve_color").checked = settings.preserve_color; $("passes").checked = settings.passes > 1; }
  $("seed").value = settings.seed;
  $("lock").checked = true;
  $("text").value = settings.text || "";
  $("negative_text").value = settings.negative_text || "";
  state.mixStyles.clear();
  for (const name of settings.style || []) {
    const source = name.replace(/:[\d.]+$/, "");
    if (state.model?.collections.includes(source)) state.mixStyles.set(source, { kind: "collection", source });
  }
  showSettings();
  loadStyles();
}

// Jobs

function jobsOf(kind) { return $({ stylize: "redraw-jobs", train: "train-jobs" }[kind] || "mix-jobs"); }

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
      button("again", async () => { restore(recipe); show("mix"); }),
      button("other_style", async () => { restore(recipe); state.mixStyles.clear(); loadStyles(); show("mix"); }));
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
  const audit = await ask(`/api/uploads/${state.train.id}/audit?resolution=${trainFields.resolution}`, { method: "POST" });
  $("audit").hidden = false;
  $("audit").textContent = audit.text;
}

async function train() {
  if (!state.train) { notify(word("drop_zip")); return; }
  const { name, init, size, minutes, resolution, captions } = trainFields;
  watch(await ask("/api/jobs", { json: { kind: "train", name, source: state.train.id, init: init || null, size, minutes: Number(minutes), resolution: Number(resolution), text: captions } }));
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

// After a reload: what a training in progress has told already.
async function recall(run) {
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

// The frame

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

function speak() {
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
    if (job.kind === "train") { if (job.state === "running") await recall(job.request.name).catch(() => {}); continue; }
    for (const picture of (await ask(`/api/jobs/${job.id}`)).pictures) addPicture(job.id, picture);
  }
}

function start() {
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
  $("language").addEventListener("click", () => { language = language === "en" ? "zh" : "en"; localStorage.setItem("language", language); speak(); loadStyles(); });
  $("model").addEventListener("change", () => chooseModel().catch(() => {}));
  $("make").addEventListener("click", () => make().catch(() => {}));
  $("dice").addEventListener("click", roll);
  $("redraw-go").addEventListener("click", () => redraw().catch(() => {}));
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
    await ask("/api/styles", { json: { name: $("style-name").value, model: state.model?.name ?? "", style } });
    notify(word("saved"));
    state.styleSources = [];
    $("style-sources").replaceChildren();
    loadStyles();
  });
  dropZone("mix-drop", addSource);
  const takeRedraw = async (file) => {
    state.redraw = await upload(file);
    $("redraw-source").replaceChildren(state.redraw.kind === "picture" ? element("img", { src: `/api/uploads/${state.redraw.id}/picture`, alt: state.redraw.name, width: 160 })
      : element("p", { textContent: state.redraw.name }));
    showPreview();
  };
  dropZone("redraw-drop", takeRedraw, false);
  folderButton("redraw-folder", takeRedraw);
  $("preserve_color").addEventListener("change", showPreview);
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
  speak();
  show(TABS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "mix");
  loadModels().catch(() => {}).then(listen);
}

start();
