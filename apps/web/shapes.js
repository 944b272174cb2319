// Lines and zones in the picture: drawn and edited by mouse, finger or keys.
import { change } from "./api.js";
import { arrow, clamp, distance, labelPlace, middle, svg, text } from "./geometry.js";
import { $, emit, on, state, write } from "./state.js";

const NEAR = 14; // pixels within which a point is meant
const MOST_POINTS = 32;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const root = $("shapes");
let drawn = null; // the shape that is being drawn: { kind, points, cursor, keys, down }
let editing = null; // name of the shape whose points are shown
let drag = null; // { name, point (index, or null for the whole), from, points, moved }

const size = () => [root.clientWidth, root.clientHeight];
const shapes = () => state.settings?.shapes ?? [];
const named = (name) => shapes().find((shape) => shape.name === name);
const rounded = (points) => points.map((point) => point.map((value) => Math.round(clamp(value, 0, 1) * 1e4) / 1e4));
const pixels = (points) => points.map(([x, y]) => [x * size()[0], y * size()[1]]);

export const drawing = () => drawn !== null;

// Shows a change at once and asks the session to keep it.
export async function save(wanted) {
  const before = state.settings;
  const changed = wanted.map((shape) => ({ ...shape, points: rounded(shape.points) }));
  // Shown at once: a second change before the answer is there would else begin from what was, and take this one back.
  state.settings = { ...before, shapes: changed };
  emit("settings");
  const good = await change({ shapes: changed }, before);
  if (editing && !named(editing)) edit(null);
  return good;
}

function replace(name, points) {
  state.settings.shapes = shapes().map((shape) => (shape.name === name ? { ...shape, points } : shape));
}

function remove(name) {
  edit(null);
  save(shapes().filter((shape) => shape.name !== name));
}

/* drawing a new shape */

export function start(kind) {
  if (!state.settings) return;
  editing = null;
  drawn = { kind, points: [], cursor: [0.5, 0.5], keys: false, down: null };
  root.setAttribute("tabindex", "0");
  root.focus({ preventScroll: true });
  $("stage").scrollIntoView({ block: "nearest" });
  render();
}

function finish(keep) {
  const { kind, points } = drawn;
  drawn = null;
  root.removeAttribute("tabindex");
  if (keep && points.length >= (kind === "line" ? 2 : 3)) {
    const word = kind === "line" ? "Line" : "Zone";
    let number = 1;
    while (named(`${word} ${number}`)) number += 1;
    save([...shapes(), { name: `${word} ${number}`, kind, points, classes: [] }]);
  }
  render();
  $(`add-${kind}`).focus({ preventScroll: true });
}

function addPoint(point) {
  const places = pixels([...drawn.points, point]);
  const here = places.pop();
  if (drawn.kind === "zone" && places.length >= 3 && distance(places[0], here) < NEAR) return finish(true);
  const twice = places.length && distance(places.at(-1), here) < 4;
  if (twice && drawn.kind === "zone" && places.length >= 3) return finish(true);
  if (twice) return render();
  drawn.points.push(point);
  if (drawn.points.length === (drawn.kind === "line" ? 2 : MOST_POINTS)) return finish(true);
  return render();
}

function hint() {
  if (editing) return "Drag the points, or move them with the arrow keys.";
  const { kind, points, cursor, keys } = drawn;
  const way = keys ? "Press Enter" : "Click or tap";
  const cross = keys ? ` Cross at ${Math.round(cursor[0] * 100)} %, ${Math.round(cursor[1] * 100)} %.` : "";
  if (kind === "zone") return `${way} for each corner${points.length > 2 ? "; Done closes the zone" : ""}.${cross}`;
  return `${way} where the line ${points.length ? "ends; in is to its right" : "starts"}.${cross}`;
}

/* editing */

export function edit(name) {
  editing = name && editing !== name ? name : null;
  if (editing) $("stage").scrollIntoView({ block: "nearest" });
  render();
  if (editing) root.querySelector(".handle")?.focus({ preventScroll: true });
}

function moved(points, index, dx, dy) {
  if (index !== null) return points.map(([x, y], other) => (other === index ? [clamp(x + dx, 0, 1), clamp(y + dy, 0, 1)] : [x, y]));
  // A whole shape stops at the picture's edge as it is.
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [sx, sy] = [clamp(dx, -Math.min(...xs), 1 - Math.max(...xs)), clamp(dy, -Math.min(...ys), 1 - Math.max(...ys))];
  return points.map(([x, y]) => [x + sx, y + sy]);
}

function editKey(event, name, index) {
  const { points, kind } = named(name);
  const step = STEPS[event.key];
  if (step) {
    const far = event.shiftKey ? 0.05 : 0.01;
    replace(name, moved(points, index, step[0] * far, step[1] * far));
    save(shapes());
  } else if (event.key === "Delete" || event.key === "Backspace") {
    if (index === null || kind === "line" || points.length <= 3) remove(name);
    else save(shapes().map((shape) => (shape.name === name ? { ...shape, points: points.filter((_, at) => at !== index) } : shape)));
  } else if (event.key === "+" && index !== null && kind === "zone" && points.length < MOST_POINTS) {
    replace(name, points.toSpliced(index + 1, 0, middle(points[index], points[(index + 1) % points.length])));
    save(shapes());
  } else if ((event.key === "Enter" || event.key === " ") && index === null) edit(name);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/* pointer and keys */

function at(event) {
  const box = root.getBoundingClientRect();
  return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
}

root.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  const point = at(event);
  if (drawn) {
    event.preventDefault();
    Object.assign(drawn, { cursor: point, keys: false, down: point });
    root.setPointerCapture(event.pointerId);
    addPoint(point);
    return;
  }
  const name = event.target.closest("[data-shape]")?.dataset.shape;
  if (!name) return;
  event.preventDefault();
  const part = event.target.closest("[data-point], [data-gap]")?.dataset ?? {};
  let index = part.point === undefined ? null : Number(part.point);
  if (part.gap !== undefined) {
    index = Number(part.gap) + 1;
    replace(name, named(name).points.toSpliced(index, 0, point));
  }
  drag = { name, point: index, from: point, points: named(name).points, moved: part.gap !== undefined };
  root.setPointerCapture(event.pointerId);
});

root.addEventListener("pointermove", (event) => {
  const point = at(event);
  if (drawn) {
    Object.assign(drawn, { cursor: point, keys: false });
    render();
  } else if (drag) {
    drag.moved ||= distance(...pixels([point, drag.from])) > 3;
    if (!drag.moved) return;
    replace(drag.name, moved(drag.points, drag.point, point[0] - drag.from[0], point[1] - drag.from[1]));
    render();
  }
});

root.addEventListener("pointerup", (event) => {
  const point = at(event);
  if (drawn?.down) {
    // A line may also be drawn in one stroke.
    const stroke = drawn.kind === "line" && drawn.points.length === 1 && distance(...pixels([drawn.down, point])) > NEAR;
    drawn.down = null;
    if (stroke) addPoint(point);
  } else if (drag) {
    const { name, moved: was } = drag;
    drag = null;
    if (was) save(shapes());
    else if (event.target.closest?.(".handle") === null || editing !== name) edit(name);
  }
});

root.addEventListener("pointercancel", () => { drag = null; if (drawn) drawn.down = null; });

root.addEventListener("keydown", (event) => {
  if (!drawn) {
    const part = event.target.closest("[data-shape]");
    if (part) editKey(event, part.dataset.shape, part.dataset.point === undefined ? null : Number(part.dataset.point));
    return;
  }
  const step = STEPS[event.key];
  if (step) {
    const far = event.shiftKey ? 0.05 : 0.01;
    drawn.cursor = drawn.cursor.map((value, axis) => clamp(value + step[axis] * far, 0, 1));
    drawn.keys = true;
    render();
  } else if (event.key === "Enter" || event.key === " ") {
    drawn.keys = true;
    addPoint([...drawn.cursor]);
  } else if (event.key === "Backspace") {
    drawn.points.pop();
    render();
  } else return;
  event.preventDefault();
  event.stopPropagation();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (drawn) finish(false);
  else if (editing) edit(null);
});
document.addEventListener("pointerdown", (event) => {
  if (editing && !drag && event.target.closest("#frame") && !event.target.closest("[data-shape]")) edit(null);
});
$("done").onclick = () => (drawn ? finish(true) : edit(null));
$("cancel").onclick = () => finish(false);

/* the picture of it all */

function handles(shape, points) {
  const gaps = shape.kind === "zone" && points.length < MOST_POINTS ? points.map((point, index) => {
    const [x, y] = middle(point, points[(index + 1) % points.length]);
    return svg("circle", { class: "gap", cx: x, cy: y, r: 5, "data-gap": index });
  }) : [];
  return [...gaps, ...points.map(([x, y], index) => svg("g", {
    class: "handle", tabindex: 0, role: "button", "data-point": index, "data-shape": shape.name,
    "aria-label": `${shape.name}, point ${index + 1} of ${points.length}; arrow keys move it`,
  }, svg("circle", { class: "reach", cx: x, cy: y, r: 18 }), svg("circle", { class: "dot", cx: x, cy: y, r: 6 })))];
}

function group(shape) {
  const points = pixels(shape.points);
  const tag = shape.kind === "line" ? "polyline" : "polygon";
  const place = labelPlace(shape.kind, points, ...size());
  const active = editing === shape.name;
  const body = svg("g", {
    class: "body", tabindex: 0, role: "button", "data-shape": shape.name, "aria-pressed": String(active),
    "aria-label": `${shape.name}, ${shape.kind}; Enter edits it, arrow keys move it`,
  }, svg(tag, { class: "reach", points: text(points) }), svg(tag, { class: "halo", points: text(points) }),
    svg(tag, { class: "stroke", points: text(points) }));
  if (shape.kind === "line") body.append(arrow(points));
  const label = svg("text", { x: place.x, y: place.y, "text-anchor": place.anchor, "data-x": place.x, "data-label": shape.name });
  return svg("g", { class: `shape ${shape.kind}${active ? " active" : ""}`, "data-shape": shape.name }, body, label,
    ...(active ? handles(shape, points) : []));
}

function sketch() {
  const cursor = pixels([drawn.cursor])[0];
  const points = [...pixels(drawn.points), cursor];
  const [x, y] = cursor;
  const made = [svg(drawn.kind === "line" ? "polyline" : "polygon", { class: "stroke", points: text(points) })];
  if (drawn.kind === "line" && points.length === 2 && distance(...points) > NEAR) made.push(arrow(points));
  made.push(...pixels(drawn.points).map(([px, py]) => svg("circle", { class: "dot", cx: px, cy: py, r: 5 })));
  made.push(svg("path", { class: "cross", d: `M${x - 11} ${y}H${x + 11}M${x} ${y - 11}V${y + 11}` }));
  return svg("g", { class: `shape ${drawn.kind} sketch` }, ...made);
}

const sum = (counts) => Object.values(counts ?? {}).reduce((total, value) => total + value, 0);

function labels() {
  for (const label of root.querySelectorAll("[data-label]")) {
    const count = state.counts.find((one) => one.name === label.dataset.label);
    const figures = !count ? "" : count.kind === "line" ? `  ${sum(count.into)} in · ${sum(count.out)} out` : `  ${sum(count.inside)}`;
    const words = `${label.dataset.label}${figures}`;
    if (label.textContent === words) continue;
    label.textContent = words;
    keepInside(label);
  }
}

// A long name must not be cut off by the picture's edge.
function keepInside(label) {
  const length = label.getComputedTextLength();
  const before = { start: 0, middle: 0.5, end: 1 }[label.getAttribute("text-anchor")] * length;
  const left = clamp(Number(label.dataset.x) - before, 4, Math.max(4, size()[0] - 4 - length));
  label.setAttribute("x", left + before);
}

function key(target) {
  return target && root.contains(target) && target !== root ? `${target.dataset.shape}/${target.dataset.point ?? ""}` : null;
}

function render() {
  const focused = key(document.activeElement);
  root.setAttribute("viewBox", `0 0 ${size()[0]} ${size()[1]}`);
  root.classList.toggle("sketching", drawn !== null);
  root.replaceChildren(...shapes().map(group), ...(drawn ? [sketch()] : []));
  labels();
  if (focused) [...root.querySelectorAll("[tabindex]")].find((part) => key(part) === focused)?.focus({ preventScroll: true });
  $("drawing").hidden = !drawn && !editing;
  $("tools").classList.toggle("away", !$("drawing").hidden);
  $("cancel").hidden = !drawn;
  $("done").hidden = drawn ? drawn.kind === "line" || drawn.points.length < 3 : !editing;
  if (drawn || editing) write($("hint"), hint());
  for (const kind of ["line", "zone"]) $(`add-${kind}`).classList.toggle("on", drawn?.kind === kind);
  emit("shapes");
}

on("settings", () => { if (!drag && !drawn) render(); });
on("figures", labels);
on("shape-of-picture", render);
new ResizeObserver(render).observe($("frame"));
