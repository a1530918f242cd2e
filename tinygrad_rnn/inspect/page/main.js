// Stepping: one position on the way forward and back, moved by buttons, keys, the slider, the search and the pictures.

const page = { position: 0, leaf: null, found: new Set(), playing: null };
const byId = (id) => document.getElementById(id);

function go(position, quietly) {
  page.position = Math.max(0, Math.min(last, position));
  page.leaf = null;
  show(quietly);
}

function visit(node) {
  if (node.leaf) { page.leaf = node; show(); } else go(positionOf(node, phaseOf(page.position)));
}

function selected() { return page.leaf || recordAt(page.position); }

function show(quietly) {
  const node = selected();
  const column = node ? node.column : null;
  if (!graph.svg || (column !== graph.shown && (column === null || !graph.open.has(column) || (graph.shown !== null && !graph.open.has(graph.shown))))) {
    graph.shown = column;
    drawGraph();
  } else graph.shown = column;
  paint(page.position, node, page.found);
  if (node) reveal(node);
  const panel = byId("panel");
  if (page.leaf) showLeaf(panel, page.leaf, page.position);
  else if (node) showRecord(panel, node, page.position);
  else showStart(panel);
  panel.scrollTop = 0;
  byId("slider").value = page.position;
  byId("slider").setAttribute("aria-valuetext", positionText());
  byId("position").textContent = positionText();
  markTime(node && !node.leaf ? node.step : null);
  if (!quietly) announce(node);
}

function positionText() {
  if (page.position === 0) return "start";
  return page.position <= count ? `forward ${page.position} of ${count}` : `backward ${page.position - count} of ${pulls.length}`;
}

function announce(node) {
  let text = positionText();
  if (node) {
    text += `: ${spoken(node)}`;
    const slot = node.outputs[0];
    const place = phaseOf(page.position) === "backward" ? data.cotangents[slot] : data.values[slot];
    if (place >= 0 && described(place).norm !== undefined)
      text += `, ${phaseOf(page.position) === "backward" ? "cotangent" : "value"} norm ${numberText(described(place).norm)}`;
  }
  byId("live").textContent = text;
}

// The next position whose record belongs to another time step; outside time a whole column counts as one.
function nextStep(direction) {
  const here = recordAt(page.position);
  let position = page.position;
  do position += direction;
  while (position > 0 && position < last && here && recordAt(position).column === here.column);
  return position;
}

function goToStep(step) {
  const backward = phaseOf(page.position) === "backward";
  const ways = backward ? pulls : records;
  const record = ways.find((each) => each.step === step);
  if (record) go(positionOf(record, phaseOf(page.position)));
}

function toggle(column) {
  if (isOpen(column)) {
    graph.open.delete(column.index);
    if (graph.shown === column.index) graph.shown = null;
  } else graph.open.add(column.index);
  redraw();
}

function toggleAll() {
  const all = columns.every((column) => graph.open.has(column.index));
  graph.open = new Set(all ? [] : columns.map((column) => column.index));
  byId("unfold").textContent = all ? "Unfold all" : "Fold all";
  redraw();
}

function redraw() {
  drawGraph();
  paint(page.position, selected(), page.found);
  if (selected()) reveal(selected());
}

function zoom(factor) {
  graph.scale = factor === 0 ? graph.fitted : Math.max(0.25, Math.min(2.5, graph.scale * factor));
  graph.svg.setAttribute("width", graph.size.width * graph.scale);
  graph.svg.setAttribute("height", graph.size.height * graph.scale);
  if (selected()) reveal(selected());
}

function play() {
  if (page.playing !== null) { clearInterval(page.playing); page.playing = null; } else {
    if (page.position === last) go(0);
    page.playing = setInterval(() => { if (page.position >= last) play(); else go(page.position + 1, true); }, Math.max(60, Math.min(700, 40000 / last)));
  }
  const on = page.playing !== null;
  byId("play").setAttribute("aria-pressed", String(on));
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
}

// Searching: words that all occur in a record's name, number, step, scope, line or variable.
const haystack = nodes.map((node) => [node.leaf ? "leaf" : `#${node.index}`, node.name, node.step === null ? "" : `t=${node.step}`,
  node.scope, node.place || "", node.source || "", label(node), leafNames(node).join(" "), node.leaf ? "" : shapes(node)].join(" ").toLowerCase());

function search(text) {
  const words = text.toLowerCase().replace(/t\s*=\s*/g, "t=").split(/\s+/).filter(Boolean);
  const hit = (hay, word) => (/^(#|t=)\d+$/.test(word) ? hay.split(" ").includes(word) : hay.includes(word));
  page.found = new Set(words.length ? nodes.filter((node) => words.every((word) => hit(haystack[node.index], word))).map((node) => node.index) : []);
  byId("hits").textContent = words.length ? `${page.found.size} found` : "";
  paint(page.position, selected(), page.found);
}

function nextMatch(direction) {
  const order = nodes.filter((node) => page.found.has(node.index));
  if (!order.length) return;
  const here = selected() ? selected().index : -1;
  const next = direction > 0 ? order.find((node) => node.index > here) || order[0]
    : [...order].reverse().find((node) => node.index < here) || order[order.length - 1];
  visit(next);
}

function neighbour(way) {
  const node = selected();
  if (!node) return;
  if (way < 0) { const slot = node.inputs.find((each) => each >= 0); if (slot !== undefined) visit(producer.get(slot)); return; }
  const reader = node.outputs.flatMap((slot) => readers.get(slot) || [])[0];
  if (reader) visit(reader);
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").setAttribute("aria-pressed", String(dark));
  byId("theme").textContent = dark ? "Light" : "Dark";
}

const MOVES = {
  start: () => go(0), end: () => go(last), back: () => go(page.position - 1), on: () => go(page.position + 1),
  "step-back": () => go(nextStep(-1)), "step-on": () => go(nextStep(1)), play,
};

const KEYS = {
  ArrowRight: (shift) => (shift ? MOVES["step-on"]() : MOVES.on()),
  ArrowLeft: (shift) => (shift ? MOVES["step-back"]() : MOVES.back()),
  ArrowUp: () => neighbour(-1), ArrowDown: () => neighbour(1),
  Home: MOVES.start, End: MOVES.end, " ": play,
  b: () => { const record = recordAt(page.position); if (record) go(positionOf(record, phaseOf(page.position) === "forward" ? "backward" : "forward")); },
  f: () => { if (selected()) toggle(columns[selected().column]); },
  a: toggleAll,
  "/": () => { byId("query").focus(); byId("query").select(); },
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => zoom(0),
  d: () => setTheme(document.documentElement.dataset.theme !== "dark"),
  "?": () => byId("help").click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const field = event.target.id;
  if (field === "query") {
    if (event.key === "Enter") { event.preventDefault(); nextMatch(event.shiftKey ? -1 : 1); }
    if (event.key === "Escape") { event.target.value = ""; search(""); event.target.blur(); }
    return;
  }
  const inPanel = byId("panel").contains(event.target) || event.target.closest(".entries, details");
  if (inPanel && ["ArrowUp", "ArrowDown", " "].includes(event.key)) return;   // they scroll there
  if ((event.key === " " || event.key === "Enter") && event.target.closest("button, summary")) return;
  const action = KEYS[event.key];
  if (action) { event.preventDefault(); action(event.shiftKey); }
});

for (const button of document.querySelectorAll("[data-go]")) button.addEventListener("click", () => MOVES[button.dataset.go]());
byId("slider").addEventListener("input", (event) => go(Number(event.target.value)));
byId("query").addEventListener("input", (event) => search(event.target.value));
byId("search").addEventListener("submit", (event) => event.preventDefault());
byId("unfold").addEventListener("click", toggleAll);
byId("smaller").addEventListener("click", () => zoom(0.8));
byId("larger").addEventListener("click", () => zoom(1.25));
byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
byId("help").addEventListener("click", () => {
  byId("keys").hidden = !byId("keys").hidden;
  byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
});

const slider = byId("slider");
slider.max = last;
slider.parentElement.style.setProperty("--seam", last ? count / last : 1);
byId("facts").textContent = `${count} record${count === 1 ? "" : "s"}`
  + [...seeds.keys()].slice(0, 1).map((slot) => {
    const value = data.values[slot] >= 0 ? described(data.values[slot]) : {};
    return value.size === 1 ? ` · ${nameOf(slot)} = ${numberText(value.shown[0])}` : ` · target ${nameOf(slot)}`;
  }).join("");
setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
openAtFirst();
if (columns.every((column) => graph.open.has(column.index))) byId("unfold").textContent = "Fold all";
drawTime();
show(true);
