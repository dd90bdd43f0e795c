// SPDX-License-Identifier: Apache-2.0
"use strict";

// What is shown. Everything from outside is set as text, never as markup.
const shown = { table: "services", column: -1, descending: false, filter: "", paused: false, last: null };
const past = { opened: [], failed: [], requests: [] };
const kept = 600; // seconds

const find = (id) => document.getElementById(id);

function element(name, text, attributes) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  for (const [key, value] of Object.entries(attributes || {})) e.setAttribute(key, value);
  return e;
}

const textOf = (cell) => (Array.isArray(cell) ? cell[0] : cell);
const valueOf = (cell) => (Array.isArray(cell) ? cell[1] : null);

function compare(a, b) {
  const x = valueOf(a), y = valueOf(b);
  if ((x === null) !== (y === null)) return x === null ? Infinity : -Infinity;
  if (x !== null && x !== y) return x - y;
  return textOf(a).localeCompare(textOf(b));
}

function sorted(rows) {
  if (shown.column < 0) return rows;
  return [...rows].sort((a, b) => {
    const order = compare(a[shown.column], b[shown.column]);
    return Number.isFinite(order) && shown.descending ? -order : Math.max(-1, Math.min(1, order));
  });
}

function heading(table) {
  const row = element("tr");
  table.columns.forEach((column, i) => {
    const now = i === shown.column ? (shown.descending ? "descending" : "ascending") : "none";
    const cell = element("th", undefined, { scope: "col", "aria-sort": now });
    if (column.Right) cell.className = "right";
    const button = element("button", column.Title + { none: "", ascending: " ↑", descending: " ↓" }[now], { type: "button" });
    button.addEventListener("click", () => {
      shown.descending = shown.column === i ? !shown.descending : column.Right;
      shown.column = i;
      draw();
      find("table").querySelectorAll("th button")[i].focus();
    });
    cell.append(button);
    row.append(cell);
  });
  return row;
}

function draw() {
  const message = shown.last;
  if (!message) return;
  find("views").querySelectorAll("button").forEach((b) => b.setAttribute("aria-current", String(b.name === shown.table)));
  const table = message.tables.find((t) => t.name === shown.table);
  // A title that has the focus keeps it.
  const focused = [...find("table").querySelectorAll("th button")].indexOf(document.activeElement);
  const out = element("table");
  const head = element("thead"), body = element("tbody");
  head.append(heading(table));
  const wanted = shown.filter.toLowerCase();
  const rows = (table.rows || []).filter((row) => row.some((cell) => textOf(cell).toLowerCase().includes(wanted)));
  for (const row of sorted(rows)) {
    const line = element("tr");
    row.forEach((cell, i) => line.append(element("td", textOf(cell), table.columns[i].Right ? { class: "right" } : {})));
    body.append(line);
  }
  out.append(head, body);
  const parts = [out];
  if (rows.length === 0) parts.push(element("p", "nothing yet", { class: "none" }));
  if (table.more) parts.push(element("p", table.more + " more rows", { class: "none" }));
  find("table").replaceChildren(...parts);
  if (focused >= 0) find("table").querySelectorAll("th button")[focused]?.focus();
}

function numbers(message) {
  find("open").textContent = message.open;
  for (const name of Object.keys(past)) {
    find(name).textContent = message[name].toFixed(1);
    past[name].push(message[name]);
    if (past[name].length > kept) past[name].shift();
    const most = Math.max(1, ...past[name]);
    find(name + "-line").firstElementChild.setAttribute("points",
      past[name].map((v, i) => (kept - past[name].length + i) + "," + (38 - (36 * v) / most).toFixed(1)).join(" "));
  }
}

function say(text) {
  if (find("state").textContent !== text) find("state").textContent = text;
}

function take(message) {
  numbers(message);
  say(message.left_out ? message.left_out + " records and points found no room here" : "live");
  if (find("views").childElementCount === 0) {
    message.tables.forEach((t, i) => {
      const button = element("button", i + 1 + " " + t.name, { type: "button", name: t.name });
      button.addEventListener("click", () => show(t.name));
      find("views").append(button);
    });
  }
  if (!shown.paused) {
    shown.last = message;
    draw();
  }
}

function show(name) {
  Object.assign(shown, { table: name, column: -1, descending: false });
  draw();
}

function pause() {
  shown.paused = !shown.paused;
  find("pause").setAttribute("aria-pressed", String(shown.paused));
}

find("pause").addEventListener("click", pause);
find("filter").addEventListener("input", (event) => {
  shown.filter = event.target.value;
  draw();
});
document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.altKey || event.metaKey) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const table = shown.last?.tables[Number(event.key) - 1];
  if (table) show(table.name);
  else if (event.key === "p") pause();
  else if (event.key === "/") {
    find("filter").focus();
    event.preventDefault();
  }
});

const source = new EventSource("snapshots");
source.addEventListener("message", (event) => take(JSON.parse(event.data)));
source.addEventListener("error", () => say("no connection: what is shown is old"));
