// One row per line or zone: its name, what it counted, and what can be done with it.
import { change } from "./api.js";
import { edit, save } from "./shapes.js";
import { $, element, icon, on, state, write } from "./state.js";

const sum = (counts) => Object.values(counts ?? {}).reduce((total, value) => total + value, 0);
let built = "";

function button(name, label, action) {
  const made = element("button", { class: "quiet", "aria-label": label, title: label }, icon(name));
  made.onclick = action;
  return made;
}

const others = (shape) => state.settings.shapes.filter((other) => other.name !== shape.name);
const replaced = (shape, changes) =>
  state.settings.shapes.map((other) => (other.name === shape.name ? { ...other, ...changes } : other));

// Of what the shape is now: it may have been dragged since this row was made.
const turned = (name) =>
  state.settings.shapes.map((shape) => (shape.name === name ? { ...shape, points: [...shape.points].reverse() } : shape));

function figure(label, key) {
  return element("span", { class: "count" }, element("b", { "data-count": key, text: "0" }), ` ${label}`);
}

function row(shape) {
  const name = element("input", { value: shape.name, maxlength: "40", "aria-label": `Name of ${shape.name}` });
  name.onchange = () => save(replaced(shape, { name: name.value.trim() }));
  const classes = element("select", { "aria-label": `Classes that ${shape.name} counts`, class: "small" },
    element("option", { value: "", text: "all classes" }),
    ...state.settings.labels.map((label) => element("option", { value: label, text: label })));
  if (shape.classes.length > 1) classes.append(element("option", { value: "*", text: shape.classes.join(", ") }));
  classes.value = shape.classes.length > 1 ? "*" : shape.classes[0] ?? "";
  classes.onchange = () => save(replaced(shape, { classes: classes.value ? [classes.value] : [] }));
  const line = shape.kind === "line";
  const counts = line ? [figure("in", "into"), figure("out", "out")]
    : [figure("inside", "inside"), figure("entered", "into"), figure("s each", "dwell")];
  const flip = button("flip", `Turn ${shape.name} round: in becomes out`, () => save(turned(shape.name)));
  return element("li", { "data-shape": shape.name },
    element("div", { class: "row" }, icon(line ? "line" : "zone"), name,
      ...(line ? [flip] : []),
      button("edit", `Edit ${shape.name} in the picture`, () => edit(shape.name)),
      button("delete", `Delete ${shape.name}`, () => save(others(shape)))),
    element("div", { class: "row counts" }, ...counts),
    element("div", { class: "row" }, element("p", { class: "by-class" }), classes));
}

function build() {
  const { shapes } = state.settings;
  const wanted = JSON.stringify([shapes.map(({ name, kind, classes, points }) => [name, kind, classes, points]), state.settings.labels]);
  if (wanted === built) return;
  built = wanted;
  const focused = document.activeElement?.closest("#counters li")?.dataset.shape;
  const label = document.activeElement?.getAttribute("aria-label");
  $("counters").replaceChildren(...shapes.map(row));
  // Rows are made anew; who works with the keyboard stays where they were.
  if (focused) document.querySelector(`#counters [aria-label="${CSS.escape(label)}"]`)?.focus();
  $("no-shapes").hidden = shapes.length > 0;
  $("reset").hidden = shapes.length === 0;
  show();
}

function show() {
  for (const count of state.counts) {
    const found = $("counters").querySelector(`[data-shape="${CSS.escape(count.name)}"]`);
    if (!found) continue;
    const visits = sum(count.into);
    const values = { into: visits, out: sum(count.out), inside: sum(count.inside), dwell: visits ? (sum(count.dwell_s) / visits).toFixed(1) : "–" };
    for (const part of found.querySelectorAll("[data-count]")) write(part, values[part.dataset.count]);
    const names = [...new Set([...Object.keys(count.into), ...Object.keys(count.out ?? {})])];
    const by = names.map((name) => (count.kind === "line"
      ? `${name} ${count.into[name] ?? 0} in, ${count.out[name] ?? 0} out` : `${name} ${count.into[name] ?? 0}`));
    write(found.querySelector(".by-class"), by.slice(0, 8).join(" · "));
  }
}

$("reset").onclick = () => change({ reset_counts: true });
on("settings", build);
on("figures", show);
