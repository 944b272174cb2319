// What happened, newest first, and the files that were stored.
import { get } from "./api.js";
import { $, element, icon, on, state } from "./state.js";

const MOST = 60;
const PAUSE_MS = 1000;
const CLIP_MS = 8000; // a clip is stored some seconds after its event
let newest = 0;
let afresh = false;
let loading = false;
let clips = new Map();

const WORDS = {
  line: (event) => `crossed ${event.shape}${event.direction ? `, ${event.direction}` : ""}`,
  enter: (event) => `entered ${event.shape}`,
  leave: (event) => `left ${event.shape} after ${event.seconds.toFixed(1)} s`,
  dwell: (event) => `has been in ${event.shape} for ${event.seconds.toFixed(0)} s`,
};

const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const link = (name) => `/media/${encodeURIComponent(name)}`;

function showClip(row) {
  const name = clips.get(Number(row.dataset.event));
  if (!name || row.querySelector("a")) return;
  row.append(element("a", { href: link(name), target: "_blank", class: "clip", "aria-label": `Clip of event ${row.dataset.event}` }, icon("film"), "clip"));
}

function row(event) {
  const picture = event.picture
    // The number alone may be another event's, of before a restart, and the browser keeps its picture.
    ? element("img", { src: `/api/events/${event.number}.jpg?${event.when}`, alt: "", width: "52", height: "52" })
    : element("span", { class: "no-picture" });
  const text = element("p", {}, element("strong", { text: event.label }), ` ${WORDS[event.kind](event)}`,
    element("small", { text: `${time(event.when)} · #${event.track_id} · ${event.score.toFixed(2)}` }));
  const made = element("li", { "data-event": String(event.number) }, picture, text);
  if (event.clip) clips.set(event.number, event.clip);
  showClip(made);
  return made;
}

async function load(last) {
  if (loading || (last <= newest && !afresh)) return;
  loading = true;
  const all = afresh;
  afresh = false;
  try {
    const { events } = await get(`/api/events?after=${all ? 0 : newest}`);
    if (all) {
      newest = 0;
      clips = new Map();
      $("events").replaceChildren();
      $("no-events").hidden = false;
    }
    if (events.length) {
      newest = Math.max(newest, events[0].number);
      $("events").prepend(...events.slice(0, MOST).map(row));
      while ($("events").childElementCount > MOST) $("events").lastElementChild.remove();
      $("no-events").hidden = true;
      setTimeout(loadMedia, CLIP_MS);
    }
  } catch {
    afresh ||= all; // the next picture asks again
  }
  setTimeout(() => { loading = false; }, PAUSE_MS);
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function loadMedia() {
  const { media } = await get("/api/media").catch(() => ({ media: [] }));
  clips = new Map();
  for (const { kind, name, event, last_event: last } of media) {
    if (kind === "clip") for (let number = event; number <= last; number++) clips.set(number, name);
  }
  for (const made of $("events").children) showClip(made);
  const files = media.filter((entry) => entry.kind !== "snapshot" || entry.event === null); // no thumbnails of clips
  $("media-panel").hidden = files.length === 0;
  $("media").replaceChildren(...files.slice(0, 40).map((entry) => element("li", {},
    icon(entry.kind === "snapshot" ? "image" : "film"),
    element("a", { href: link(entry.name), target: "_blank", text: entry.name }),
    element("small", { text: `${size(entry.bytes)} · ${time(entry.when)}` }),
    element("a", { href: `${link(entry.name)}?download`, class: "save", "aria-label": `Save ${entry.name}` }, icon("save")))));
}

let recording = null;
on("settings", () => {
  if (recording !== state.settings.recording) {
    loadMedia();
    setTimeout(loadMedia, 2500); // the last part is completed after the switch
  }
  recording = state.settings.recording;
});
// A program that was started again may count its events from one again.
on("connected", () => { afresh = true; });
on("media", loadMedia);
on("figures", (facts) => load(facts.event));
