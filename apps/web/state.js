// What the modules share, and how they tell each other.
export const $ = (id) => document.getElementById(id);

export const state = {
  settings: null, // what /api/state says
  facts: null, // of the picture that is shown
  picture: null,
  figures: null,
  counts: [],
  paused: false,
  boxes: true,
  trails: false,
  score: 0, // the slider: filters at once, before the session has heard of it
  classes: null, // shown classes, likewise; null for all
};

const listeners = new Map();

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, []);
  listeners.get(name).push(listener);
}

export function emit(name, detail) {
  for (const listener of listeners.get(name) ?? []) listener(detail);
}

// Whether a detection passes the viewer's own filters.
export function passes(found) {
  return found.score >= state.score && (state.classes === null || state.classes.has(found.label));
}

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list" && typeof value !== "string") made[name] = value;
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const made = document.createElementNS(space, "svg");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  made.append(use);
  made.setAttribute("aria-hidden", "true");
  return made;
}

// Text changes only where it differs: what is read aloud or selected stays in peace.
export function write(target, text) {
  if (target.textContent !== String(text)) target.textContent = text;
}

// The same colours runtime/draw.py uses: golden-ratio steps around the colour circle.
export function classColor(id) {
  return `hsl(${((0.33 + id * 0.61803398875) % 1) * 360} 100% 62.5%)`;
}
