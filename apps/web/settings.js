// What is shown and where it comes from: score, classes, model, source.
import { change } from "./api.js";
import { $, classColor, element, emit, on, state, write } from "./state.js";

const MANY = 12; // classes from which a search is worth its place
const SETTLE_MS = 250;
let labels = "";
let timer = 0;
let wanted = {}; // what the viewer chose and the session has not heard of yet
let touched = false; // the viewer is moving the slider: what the session says waits

function later(part) {
  clearTimeout(timer);
  touched = true;
  Object.assign(wanted, part);
  timer = setTimeout(send, SETTLE_MS);
}

async function send() {
  const sent = wanted;
  wanted = {};
  const good = await change(sent);
  touched = Object.keys(wanted).length > 0;
  if (!good && !touched) emit("settings"); // what was refused is taken back
}

$("score").addEventListener("input", () => {
  state.score = Number($("score").value);
  write($("score-value"), state.score.toFixed(2));
  emit("filters");
  later({ score: state.score });
});

function chooseClasses(classes) {
  state.classes = classes;
  showClasses();
  emit("filters");
  later({ classes: classes === null ? null : [...classes] });
}

function boxes() {
  return [...$("class-list").querySelectorAll("input")];
}

$("class-list").addEventListener("change", () => {
  const chosen = boxes().filter((box) => box.checked).map((box) => box.value);
  chooseClasses(chosen.length === boxes().length ? null : new Set(chosen));
});
$("all-classes").onclick = () => chooseClasses(null);
$("no-classes").onclick = () => chooseClasses(new Set());
$("find-class").addEventListener("input", () => {
  const text = $("find-class").value.trim().toLowerCase();
  for (const box of boxes()) box.parentElement.hidden = !box.value.toLowerCase().includes(text);
});

function buildClasses(names) {
  const joined = names.join("\n");
  if (joined === labels) return;
  labels = joined;
  $("find-class").hidden = names.length <= MANY;
  $("class-list").replaceChildren(...names.map((name, index) => {
    const patch = element("i");
    patch.style.background = classColor(index);
    return element("label", {}, element("input", { type: "checkbox", value: name }), patch, name);
  }));
}

function showClasses() {
  for (const box of boxes()) box.checked = state.classes === null || state.classes.has(box.value);
  write($("classes-value"), state.classes === null ? "all" : `${state.classes.size} of ${boxes().length}`);
}

function choose(id, current, names) {
  $(`${id}-field`).hidden = names.length < 2;
  const select = $(id);
  if ([...select.options].map((option) => option.value).join("\n") !== names.join("\n")) {
    select.replaceChildren(...names.map((name) => element("option", { value: name, text: name })));
  }
  select.value = current;
}

for (const id of ["model", "source"]) {
  $(id).onchange = async () => {
    $(id).disabled = true;
    await change({ [id]: $(id).value });
    $(id).disabled = false;
    $(id).focus();
  };
}

on("settings", () => {
  const settings = state.settings;
  buildClasses(settings.labels);
  if (!touched) {
    state.score = settings.score;
    state.classes = settings.classes === null ? null : new Set(settings.classes);
    $("score").value = settings.score;
    write($("score-value"), settings.score.toFixed(2));
    showClasses();
    emit("filters");
  }
  choose("model", settings.model, settings.models);
  choose("source", settings.source, settings.sources);
  write($("model-name"), settings.model);
  write($("source-name"), settings.source);
  document.title = `${settings.model} · Edgewren`;
  $("record").disabled = !settings.can_record;
  $("record").title = settings.can_record ? "" : "No folder to record into was given at the start";
  $("record").setAttribute("aria-pressed", String(settings.recording));
  $("recording").hidden = !settings.recording;
  $("blurred").hidden = !settings.blur?.length;
  write($("blurred"), settings.blur?.length ? `blurred: ${settings.blur.join(", ")}` : "");
});
