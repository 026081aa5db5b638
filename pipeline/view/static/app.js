"use strict";
// Everything from the server goes into the page as text or as a colour property, never as HTML.

const POLL_MS = 1000;
const MAX_STREAMS = 4; // browsers open six connections to one host; streams hold theirs, and the polling needs two
const SNAPSHOT_MS = 400;
const SHOWN_EVENTS = 100;
const GOOD = ["LIVE", "RUNNING", "OK"];
const WARN = ["STARTING", "CONNECTING", "RECONNECTING", "FROZEN", "UNKNOWN", "END", "ENDED"];

const byId = (id) => document.getElementById(id);
const tiles = new Map(); // camera id → its elements
let run = null;
let newest = 0;
let erasures = null;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function severity(state) {
  const upper = String(state).toUpperCase();
  if (GOOD.includes(upper)) return "good";
  return WARN.includes(upper) ? "warn" : "bad";
}

function chip(item) {
  const made = element("span", "chip", item.label);
  made.title = "identity " + item.identity_id;
  made.style.background = item.colour;
  made.style.color = item.text_colour;
  return made;
}

// ---- cameras

function addTile(id) {
  const tile = element("article", "camera");
  const picture = element("div", "picture");
  const image = element("img");
  image.alt = "";
  image.hidden = true;
  picture.append(element("span", "nothing", "no picture yet"), image);
  const footer = element("footer");
  const parts = { tile, image, state: element("span", "pill"), detail: element("span", "detail"), timer: 0 };
  footer.append(element("span", "id", id), parts.state, parts.detail);
  tile.append(picture, footer);
  byId("cameras").append(tile);
  tiles.set(id, parts);
}

function previewAddress(id, streams) {
  return "/api/preview/" + encodeURIComponent(id) + (streams ? ".mjpg" : ".jpg") + "?t=" + Date.now();
}

function watch(id) {
  const parts = tiles.get(id);
  const streams = tiles.size <= MAX_STREAMS;
  clearTimeout(parts.timer);
  const again = (wait) => { clearTimeout(parts.timer); parts.timer = setTimeout(() => watch(id), wait); };
  parts.image.onload = () => { parts.image.hidden = false; if (!streams) again(SNAPSHOT_MS); };
  parts.image.onerror = () => { again(2000); };
  parts.image.src = previewAddress(id, streams);
}

function rest(id) {
  const parts = tiles.get(id);
  clearTimeout(parts.timer);
  parts.image.onload = parts.image.onerror = null;
  parts.image.removeAttribute("src");
  parts.image.hidden = true;
}

function showCameras(cameras) {
  const ids = cameras.map((camera) => camera.id);
  if (ids.join("\n") !== [...tiles.keys()].join("\n")) {
    for (const id of tiles.keys()) rest(id);
    tiles.clear();
    byId("cameras").replaceChildren();
    ids.forEach(addTile);
    if (!document.hidden) ids.forEach(watch);
  }
  for (const camera of cameras) {
    const parts = tiles.get(camera.id);
    const level = severity(camera.state);
    setText(parts.state, String(camera.state));
    parts.state.className = "pill " + level;
    parts.tile.classList.toggle("bad", level === "bad");
    const details = [];
    if (Number.isFinite(camera.people)) details.push(camera.people + (camera.people === 1 ? " person" : " people"));
    if (Number.isFinite(camera.fps)) details.push(camera.fps.toFixed(1) + " fps");
    if (camera.detail) details.push(camera.detail);
    setText(parts.detail, details.join(" · "));
  }
}

// ---- people and events

function showIdentities(identities) {
  const present = identities.filter((one) => one.present).length;
  setText(byId("people-count"), identities.length ? present + " here, " + identities.length + " known" : "");
  byId("no-identities").hidden = identities.length > 0;
  byId("identities").replaceChildren(...identities.map((one) => {
    const row = element("li", one.present ? "" : "gone");
    const returns = one.returns ? " · returned " + (one.returns === 1 ? "once" : one.returns + " times") : "";
    row.append(chip(one), element("span", "what", (one.present ? "in " : "left ") + one.camera_id + returns));
    const when = element("span", "when", one.last_seen.split(" ").slice(-2)[0]);
    when.title = "last event " + one.last_seen;
    row.append(when);
    return row;
  }));
}

function clearEvents() {
  newest = 0;
  byId("events").replaceChildren();
}

function showEvents(events) {
  const list = byId("events");
  for (const event of events) {
    const row = element("li", event.kind);
    const time = element("time", "", event.time.split(" ").slice(-2)[0]);
    time.title = event.time;
    row.append(time, chip(event), element("span", "what", event.text));
    list.prepend(row);
  }
  while (list.childElementCount > SHOWN_EVENTS) list.lastElementChild.remove();
  byId("no-events").hidden = list.childElementCount > 0;
}

// ---- polling

async function ask(address) {
  const answer = await fetch(address, { credentials: "same-origin", cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status === 401 ? "token needed" : "error " + answer.status);
  return answer.json();
}

async function askEvents() {
  let answer = await ask("/api/events?after=" + newest);
  if (answer.run !== run || answer.erasures !== erasures) { // a new server, or somebody was erased: start over
    const first = run === null;
    run = answer.run;
    erasures = answer.erasures;
    if (!first) {
      clearEvents();
      answer = await ask("/api/events?after=0");
    }
  }
  newest = answer.newest;
  showEvents(answer.events);
}

function showStatus(status) {
  const title = status.site || "Cameras";
  setText(byId("site"), title);
  document.title = title;
  setText(byId("figures"), Object.entries(status.figures).map(([name, value]) => name + " " + value).join(" · "));
  const warnings = byId("warnings");
  setText(warnings, status.warnings.join("\n"));
  warnings.hidden = status.warnings.length === 0;
  showCameras(status.cameras);
  showIdentities(status.identities);
}

async function poll() {
  const connection = byId("connection");
  try {
    if (!document.hidden) {
      showStatus(await ask("/api/status"));
      await askEvents();
    }
    setText(connection, "connected");
    connection.className = "pill good";
  } catch (error) {
    setText(connection, error instanceof TypeError ? "not reachable" : error.message);
    connection.className = "pill bad";
  }
  setTimeout(poll, POLL_MS);
}

document.addEventListener("visibilitychange", () => {
  for (const id of tiles.keys()) (document.hidden ? rest : watch)(id);
});
poll();
