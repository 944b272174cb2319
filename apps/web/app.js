// The live page. It asks for one frame, draws picture and boxes together, then asks for the next:
// a slow viewer sees fewer frames, never older ones.
"use strict";

const $ = (id) => document.getElementById(id);
const canvas = $("view");
const context = canvas.getContext("2d");
const state = { paused: false, boxes: true, picture: null, facts: null, socket: null, delay: 500 };

// The same colours runtime/draw.py uses: golden-ratio steps around the colour circle.
function classColor(id) {
  const hue = ((0.33 + id * 0.61803398875) % 1) * 360;
  return `hsl(${hue} 100% 62.5%)`;
}

function draw() {
  const { picture, facts } = state;
  if (!picture) return;
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  context.drawImage(picture, 0, 0);
  if (!state.boxes) return;
  const scale = picture.width / facts.width;
  const unit = Math.max(1, picture.width / canvas.clientWidth);
  context.lineWidth = 2 * unit;
  context.font = `600 ${13 * unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const found of [...facts.detections].reverse()) {
    const [x1, y1, x2, y2] = found.box.map((value) => value * scale);
    const color = classColor(found.class_id);
    context.strokeStyle = color;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const text = `${found.label} ${found.score.toFixed(2)}`;
    const width = context.measureText(text).width + 10 * unit;
    const height = 19 * unit;
    const left = Math.max(0, Math.min(x1, canvas.width - width));
    const top = y1 >= height ? y1 - height : y1;
    context.fillStyle = color;
    context.fillRect(left, top, width, height);
    context.fillStyle = "#000";
    context.fillText(text, left + 5 * unit, top + height / 2);
  }
}

function showFigures(facts) {
  $("fps").textContent = (facts.fps ?? 0).toFixed(1);
  $("latency").textContent = (facts.latency_ms ?? 0).toFixed(0);
  $("objects").textContent = facts.detections.length;
  $("dropped").textContent = facts.dropped ?? 0;
  const total = Object.values(facts.ms).reduce((sum, ms) => sum + ms, 0);
  for (const [stage, ms] of Object.entries(facts.ms)) {
    document.querySelector(`.stages [data-stage="${stage}"]`).style.flexBasis = `${(100 * ms) / total}%`;
    document.querySelector(`.legend [data-stage="${stage}"] b`).textContent = ms.toFixed(1);
  }
  $("list").replaceChildren(...facts.detections.map((found) => {
    const row = document.createElement("li");
    const patch = document.createElement("i");
    patch.style.background = classColor(found.class_id);
    const score = document.createElement("span");
    score.textContent = found.score.toFixed(2);
    row.append(patch, found.label, score);
    return row;
  }));
}

function setStatus(kind, text) {
  $("status").dataset.state = kind;
  $("status").textContent = text;
}

async function receive(data) {
  const length = new DataView(data).getUint32(0);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const picture = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
  state.picture?.close();
  state.picture = picture;
  state.facts = facts;
  draw();
  showFigures(facts);
  if (!state.paused) setStatus("live", `live, ${facts.width}×${facts.height}`);
}

function ask() {
  if (!state.paused && state.socket?.readyState === WebSocket.OPEN) state.socket.send("next");
}

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  state.socket = socket;
  socket.onopen = () => {
    state.delay = 500;
    setStatus("waiting", "waiting for the first frame");
    ask();
  };
  socket.onmessage = async (event) => {
    await receive(event.data);
    requestAnimationFrame(ask);
  };
  socket.onclose = (event) => {
    setStatus("ended", event.code === 1001 ? "ended" : "connection lost, trying again");
    setTimeout(connect, state.delay);
    state.delay = Math.min(8000, state.delay * 2);
  };
}

function toggle(name, button, pressed) {
  state[name] = pressed;
  button.setAttribute("aria-pressed", String(pressed));
  draw();
}

function togglePause() {
  toggle("paused", $("pause"), !state.paused);
  setStatus(state.paused ? "waiting" : "live", state.paused ? "paused" : "live");
  ask();
}

function toggleBoxes() {
  toggle("boxes", $("boxes"), !state.boxes);
}

$("pause").onclick = togglePause;
$("boxes").onclick = toggleBoxes;
document.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLButtonElement && event.key === " ") return;
  if (event.key === " ") { event.preventDefault(); togglePause(); }
  if (event.key === "b") toggleBoxes();
});
addEventListener("resize", draw);
connect();
