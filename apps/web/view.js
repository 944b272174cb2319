// The picture, and boxes and trails above it, as sharp as the screen.
import { $, classColor, emit, on, passes, state } from "./state.js";

const TRAIL = 48;
const FORGET_MS = 1500;
const picture = $("view").getContext("2d");
const overlay = $("overlay").getContext("2d");
const trails = new Map();
let scheduled = false;

export function redraw() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; draw(); });
}

function draw() {
  if (!state.picture) return;
  fit();
  picture.drawImage(state.picture, 0, 0);
  const { canvas } = overlay;
  overlay.clearRect(0, 0, canvas.width, canvas.height);
  // Both are rounded to whole pixels of the screen, so they differ a little.
  const scale = [canvas.width / state.facts.width, canvas.height / state.facts.height];
  if (state.trails) drawTrails(scale);
  // The best is drawn last and lies on top.
  if (state.boxes) for (const found of [...state.facts.detections].reverse()) if (passes(found)) drawBox(found, scale);
}

function fit() {
  const { canvas } = picture;
  if (canvas.width !== state.picture.width || canvas.height !== state.picture.height) {
    canvas.width = state.picture.width;
    canvas.height = state.picture.height;
    $("stage").style.setProperty("--ratio", canvas.width / canvas.height);
    emit("shape-of-picture");
  }
  const width = Math.round(canvas.clientWidth * devicePixelRatio);
  const height = Math.round(canvas.clientHeight * devicePixelRatio);
  if (overlay.canvas.width !== width || overlay.canvas.height !== height) {
    overlay.canvas.width = width;
    overlay.canvas.height = height;
  }
}

function drawBox(found, scale) {
  const [x1, y1, x2, y2] = found.box.map((value, index) => value * scale[index % 2]);
  const unit = devicePixelRatio;
  const color = classColor(found.class_id);
  overlay.lineWidth = 2 * unit;
  overlay.strokeStyle = color;
  overlay.strokeRect(x1, y1, x2 - x1, y2 - y1);
  overlay.font = `600 ${12.5 * unit}px system-ui, sans-serif`;
  overlay.textBaseline = "middle";
  const id = found.track_id === undefined ? "" : `#${found.track_id} `;
  const text = `${id}${found.label} ${found.score.toFixed(2)}`;
  const width = overlay.measureText(text).width + 10 * unit;
  const height = 19 * unit;
  const left = Math.max(0, Math.min(x1 - unit, overlay.canvas.width - width));
  const top = y1 >= height ? y1 - height : Math.max(0, y1);
  overlay.fillStyle = color;
  overlay.fillRect(left, top, width, height);
  overlay.fillStyle = "#000";
  overlay.fillText(text, left + 5 * unit, top + height / 2);
}

function follow() {
  const now = performance.now();
  for (const found of state.facts.detections) {
    if (found.track_id === undefined) continue;
    const [x1, y1, x2, y2] = found.box;
    const trail = trails.get(found.track_id) ?? { points: [], color: classColor(found.class_id) };
    trail.points.push([(x1 + x2) / 2, (y1 + y2) / 2]);
    if (trail.points.length > TRAIL) trail.points.shift();
    trail.seen = now;
    trails.set(found.track_id, trail);
  }
  for (const [id, trail] of trails) if (now - trail.seen > FORGET_MS) trails.delete(id);
}

function drawTrails([across, down]) {
  overlay.lineWidth = 3 * devicePixelRatio;
  overlay.lineCap = "round";
  for (const { points, color } of trails.values()) {
    overlay.strokeStyle = color;
    for (let index = 1; index < points.length; index++) {
      overlay.globalAlpha = index / points.length;
      overlay.beginPath();
      overlay.moveTo(points[index - 1][0] * across, points[index - 1][1] * down);
      overlay.lineTo(points[index][0] * across, points[index][1] * down);
      overlay.stroke();
    }
  }
  overlay.globalAlpha = 1;
}

on("picture", () => { follow(); redraw(); });
on("filters", redraw);
new ResizeObserver(redraw).observe($("frame"));
