// The socket. It asks for the next picture while it unpacks the last, never further ahead:
// a slow viewer sees fewer pictures, never older ones. A page that nobody sees asks for nothing.
import { refresh } from "./api.js";
import { $, emit, state } from "./state.js";

let socket = null;
let asked = false;
let busy = false;
let held = null;
let delay = 500;
let connection = "waiting";
let said = "connecting";

const SOURCES = {
  reopening: ["waiting", "source stopped, trying again"],
  ended: ["ended", "source ended"],
};

function showStatus() {
  let [kind, text] = [connection, said];
  if (connection === "live") {
    [kind, text] = SOURCES[state.figures?.source] ?? (state.paused ? ["waiting", "paused"] : ["live", "live"]);
  }
  const status = $("status");
  if (status.textContent !== text) status.textContent = text;
  status.dataset.state = kind;
  const veil = connection !== "live" ? said : SOURCES[state.figures?.source]?.[1];
  $("veil").hidden = !veil || (connection === "waiting" && !state.facts && said === "connecting");
  $("veil").textContent = veil ?? "";
}

function setConnection(kind, text) {
  [connection, said] = [kind, text];
  showStatus();
}

// A picture no wider than the screen can show.
function wanted() {
  const pixels = $("frame").clientWidth * Math.min(2, devicePixelRatio);
  return pixels <= 720 || navigator.connection?.saveData ? "next small" : "next";
}

export function ask() {
  if (asked || state.paused || document.hidden || socket?.readyState !== WebSocket.OPEN) return;
  asked = true;
  socket.send(wanted());
}

async function receive(data) {
  const length = new DataView(data).getUint32(0);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const pixels = new Uint8Array(data, 4 + length);
  const picture = pixels.length ? await createImageBitmap(new Blob([pixels], { type: "image/jpeg" })) : null;
  state.figures = facts.figures;
  if (facts.counts) state.counts = facts.counts;
  if (picture && !state.paused) {
    state.picture?.close();
    state.picture = picture;
    state.facts = facts;
    emit("picture");
  } else {
    picture?.close();
  }
  // The connection may have been lost while this picture was unpacked.
  if (socket.readyState === WebSocket.OPEN) setConnection("live", "");
  emit("figures", facts);
  if (facts.version !== state.settings?.version) await refresh().catch(() => {});
}

async function work(data) {
  busy = true;
  ask();
  try {
    await receive(data);
  } finally {
    busy = false;
  }
  if (held) {
    const next = held;
    held = null;
    await work(next);
  }
}

async function lost(event) {
  asked = false;
  const over = event.code === 1001;
  setConnection("ended", over ? "ended" : "connection lost, trying again");
  setTimeout(connect, delay);
  delay = Math.min(8000, delay * 2);
  if (over) return;
  const answer = await fetch("/api/state").catch(() => null);
  if (answer?.status === 401) setConnection("ended", "the token is no longer valid, open the new address");
  if (answer?.status === 429) setConnection("ended", "too many viewers, trying again");
}

export function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    delay = 500;
    asked = false;
    setConnection("waiting", "waiting for a picture");
    refresh().catch(() => {});
    ask();
  };
  socket.onmessage = (event) => {
    asked = false;
    if (busy) held = event.data;
    else work(event.data);
  };
  socket.onclose = lost;
}

export function pause(paused) {
  state.paused = paused;
  showStatus();
  ask();
}

document.addEventListener("visibilitychange", ask);
