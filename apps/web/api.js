// Requests to the server, and the settings they return.
import { $, element, emit, state } from "./state.js";

const PATIENCE_MS = 15000;

async function request(path, options) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(document.error ?? answer.statusText), { status: answer.status });
  return document;
}

export const get = (path) => request(path);

const post = (path, body) => request(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
});

function take(settings) {
  state.settings = settings;
  if (settings.figures) state.figures = settings.figures;
  state.counts = settings.counts;
  emit("settings");
}

export async function refresh() {
  take(await get("/api/state"));
}

// Asks the session for a change; what it does not accept is said and taken back, to the settings before where the
// change was shown already.
export async function change(wanted, before) {
  try {
    take(await post("/api/change", wanted));
    return true;
  } catch (error) {
    toast(error.message, "bad");
    if (before) state.settings = before;
    if (state.settings) emit("settings");
    return false;
  }
}

export async function snapshot() {
  try {
    const { name } = await post("/api/snapshot", {});
    toast("Snapshot stored: ", "good", element("a", { href: `/media/${encodeURIComponent(name)}`, target: "_blank", text: name }));
    emit("media");
  } catch (error) {
    toast(error.message, "bad");
  }
}

export function toast(text, kind, ...more) {
  const made = element("p", { class: `toast ${kind}` }, text, ...more);
  $("toasts").append(made);
  while ($("toasts").childElementCount > 3) $("toasts").firstElementChild.remove();
  setTimeout(() => made.remove(), 6000);
}
