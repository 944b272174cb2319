// The socket. It asks for the next picture while it unpacks the last, never further ahead:
// a slow viewer sees fewer pictures, never older ones. A page that nobody sees asks for nothing.
import { get, refresh } from "./api.js";
import { $, emit, state } from "./state.js";

const SILENCE_MS = 15000; // a session says something every second, but a change of model takes its time
let socket = null;
let asked = false;
let watch = 0;
let refreshing = false;
let busy = false;
let held = null;
let delay = 500;
let connection = "waiting";
let said = "connecting";
let over = false; // the program said that it ends

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
  expectWord();
}

// A network that went away without a word (another Wi-Fi, a sleeping router) closes nothing.
function expectWord() {
  clearTimeout(watch);
  watch = setTimeout(() => {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    lost({ code: 1006 });
  }, SILENCE_MS);
}

async function catchUp() {
  if (refreshing) return;
  refreshing = true;
  await refresh().catch(() => {}); // the next picture tries again
  refreshing = false;
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
  if (facts.version !== state.settings?.version) catchUp();
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
  clearTimeout(watch);
  asked = false;
  over ||= event.code === 1001;
  setConnection("ended", over ? "ended" : "connection lost, trying again");
  setTimeout(connect, delay);
  delay = Math.min(8000, delay * 2);
  if (event.code === 1001) return;
  const status = await get("/api/state").then(() => 200, (error) => error.status);
  if (status === 401) setConnection("ended", "the token is no longer valid, open the new address");
  if (status === 429) setConnection("ended", "too many viewers, trying again");
}

export function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  expectWord();
  socket.onopen = () => {
    delay = 500;
    asked = over = false;
    setConnection("waiting", "waiting for a picture");
    emit("connected");
    clearTimeout(watch);
    catchUp();
    ask();
  };
  socket.onmessage = (event) => {
    clearTimeout(watch);
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
