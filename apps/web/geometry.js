// Lines and zones as drawings: points are in 0..1 of the picture, drawings in pixels of the screen.
const SPACE = "http://www.w3.org/2000/svg";
const ARROW = 26;

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const distance = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);
export const middle = ([ax, ay], [bx, by]) => [(ax + bx) / 2, (ay + by) / 2];
export const text = (points) => points.map((point) => point.join(",")).join(" ");

// Towards the right-hand side, seen from the first to the second point: there is "in".
function normal([ax, ay], [bx, by]) {
  const length = Math.hypot(bx - ax, by - ay) || 1;
  return [-(by - ay) / length, (bx - ax) / length];
}

export function arrow(points) {
  const [mx, my] = middle(...points);
  const [nx, ny] = normal(...points);
  const [tx, ty] = [mx + nx * ARROW, my + ny * ARROW];
  const wing = (side) => [tx - nx * 8 + side * ny * 5.5, ty - ny * 8 - side * nx * 5.5].join(" ");
  return svg("path", { class: "arrow", d: `M${mx} ${my}L${tx} ${ty}M${wing(1)}L${tx} ${ty}L${wing(-1)}` });
}

// Where a shape's name goes, and how it is aligned: beside a line, away from the arrow; inside a zone's upper edge.
export function labelPlace(kind, points, width, height) {
  const [x, y] = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  const top = Math.min(...points.map((point) => point[1]));
  if (kind === "zone") return { x: clamp(x, 50, Math.max(50, width - 50)), y: clamp(top + 16, 14, height - 14), anchor: "middle" };
  const [nx, ny] = normal(...points);
  const anchor = nx > 0.3 ? "end" : nx < -0.3 ? "start" : "middle";
  return { x: x - nx * 12, y: clamp(y - ny * 18, 14, height - 14), anchor };
}
