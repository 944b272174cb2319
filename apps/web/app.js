// The live page: buttons, keys and theme; each other module minds a part of the page.
import { change, snapshot } from "./api.js";
import "./counters.js";
import "./events.js";
import "./figures.js";
import { connect, pause } from "./live.js";
import "./settings.js";
import { drawing, start } from "./shapes.js";
import { $, emit, state } from "./state.js";
import "./view.js";

// The token has become a cookie; it need not stay where it can be read over a shoulder or sent on.
if (location.search) history.replaceState(null, "", location.pathname);

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

function togglePause() {
  pause(!state.paused);
  press($("pause"), state.paused);
  $("pause").querySelector("span").textContent = state.paused ? "Go on" : "Pause";
  $("pause").querySelector("use").setAttribute("href", state.paused ? "#i-play" : "#i-pause");
}

function toggle(name) {
  state[name] = !state[name];
  press($(name), state[name]);
  emit("filters");
}

function toggleFull() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("stage").requestFullscreen?.();
}

const THEMES = { auto: "as the system", dark: "dark", light: "light" };

function setTheme(name) {
  const theme = name in THEMES ? name : "auto";
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-label", `Theme: ${THEMES[theme]}`);
  $("theme").title = `Theme: ${THEMES[theme]}`;
  // Private windows may refuse to remember.
  try { localStorage.setItem("theme", theme); } catch { /* it lasts until the page is closed */ }
}

function nextTheme() {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
}

try { setTheme(localStorage.getItem("theme")); } catch { setTheme("auto"); }

const ACTIONS = {
  pause: togglePause,
  boxes: () => toggle("boxes"),
  trails: () => toggle("trails"),
  snapshot,
  record: () => change({ recording: !state.settings.recording }),
  "add-line": () => start("line"),
  "add-zone": () => start("zone"),
  full: toggleFull,
  theme: nextTheme,
  help: () => $("keys").showModal(),
};
for (const [id, action] of Object.entries(ACTIONS)) $(id).onclick = action;

const KEYS = {
  " ": "pause", b: "boxes", t: "trails", s: "snapshot", r: "record", l: "add-line", z: "add-zone", f: "full", "?": "help",
};

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || drawing() || $("keys").open) return;
  if (target.closest("input, select, textarea") && target.type !== "range" && target.type !== "checkbox") return;
  // Space presses what is focused.
  if (key === " " && target.closest("button, summary, input, a, [tabindex='0']")) return;
  const button = $(KEYS[key.toLowerCase?.()] ?? "");
  if (!button || button.disabled) return;
  event.preventDefault();
  button.click();
});

connect();
