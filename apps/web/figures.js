// Numbers, stage times, notices and the list of objects.
import { $, classColor, element, on, passes, state, write } from "./state.js";

const EVERY_MS = 200; // faster than that nobody reads
let last = 0;

function show() {
  const figures = state.figures;
  write($("fps"), figures.fps.toFixed(1));
  write($("latency"), figures.latency_ms.toFixed(0));
  showDrops(figures);
  showHeat(figures);
  showNotices(figures.notices);
  if (!state.facts) return;
  const shown = state.facts.detections.filter(passes);
  write($("objects"), shown.length);
  write($("size"), `· ${state.facts.width}×${state.facts.height}`);
  showStages(state.facts.ms);
  showList(shown);
}

// In the words of runtime/ledger.py.
const REASONS = {
  newer: "network busy", camera: "not read in time", rate: "above the limit", governor: "governor", change: "at a change",
};

function showDrops({ captured, dropped, frames, left_out: left, in_flight: flying }) {
  write($("dropped"), dropped);
  write($("captured"), captured);
  const why = Object.entries(left).map(([reason, count]) => `${REASONS[reason] ?? reason} ${count}`).join(", ");
  write($("left-out"), why);
  $("drops").title = `${captured} captured = ${frames} results + ${dropped} left out + ${flying} in flight`;
}

function showHeat({ temperature, throttled }) {
  $("heat").hidden = temperature === null;
  $("throttle").hidden = throttled === null;
  write($("temperature"), temperature?.toFixed(0) ?? "–");
  write($("throttled"), throttled?.length ? throttled.join(", ") : "none");
  $("throttle").classList.toggle("bad", Boolean(throttled?.length));
}

function showNotices(notices) {
  const list = $("notices");
  list.hidden = notices.length === 0;
  const shown = [...list.children].map((row) => row.textContent);
  const wanted = notices.slice(-3);
  if (shown.join("\n") !== wanted.join("\n")) list.replaceChildren(...wanted.map((text) => element("li", { text })));
}

function showStages(ms) {
  const total = Object.values(ms).reduce((sum, value) => sum + value, 0) || 1;
  for (const [stage, value] of Object.entries(ms)) {
    document.querySelector(`.stages [data-stage="${stage}"]`).style.flexBasis = `${(100 * value) / total}%`;
    write(document.querySelector(`.legend [data-stage="${stage}"] b`), value.toFixed(1));
  }
}

function showList(shown) {
  $("list").replaceChildren(...shown.slice(0, 30).map((found) => {
    const patch = element("i");
    patch.style.background = classColor(found.class_id);
    const id = found.track_id === undefined ? [] : [element("small", { text: `#${found.track_id}` })];
    return element("li", {}, patch, element("span", { text: found.label }), ...id, element("b", { text: found.score.toFixed(2) }));
  }));
  const names = [...new Set(shown.map((found) => found.label))].join(", ");
  $("view").setAttribute("aria-label", `live picture: ${shown.length ? names : "nothing found"}`);
}

on("figures", () => {
  const now = performance.now();
  if (now - last < EVERY_MS) return;
  last = now;
  show();
});
on("filters", () => { if (state.figures) show(); });
