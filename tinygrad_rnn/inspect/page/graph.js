// The graph: a column for each time step. An open column shows its records; a folded one shows them in miniature.

const WIDTH = 116, HEIGHT = 38, LANE = 130, RANK = 55, TOP = 44, PAD = 14, GAP = 26;
const SMALL = { width: 8, height: 20, lane: 12, pad: 9, gap: 12 };
const SHORT = 60;    // on a tape of so few records every edge is drawn

const graph = {
  open: new Set(),     // columns that the reader opened
  shown: null,         // the open column that the position needs
  scale: null, fitted: 1,   // drawn pixels for one unit; at first so that the height fits
  svg: null, marks: new Map(), minis: new Map(), edges: null,
};

function openAtFirst() {
  for (const column of columns)
    if (count <= SHORT || column.kind !== "step") graph.open.add(column.index);
  if (columns.length > 40)
    for (const column of columns) if (column.kind === "records") graph.open.delete(column.index);
}

function isOpen(column) { return graph.open.has(column.index) || graph.shown === column.index; }

function arrange() {
  let x = PAD;
  for (const column of columns) {
    const open = isOpen(column);
    column.x = x;
    column.width = open ? column.lanes * LANE - (LANE - WIDTH) + 2 * PAD
      : Math.max(30, column.lanes * SMALL.lane - (SMALL.lane - SMALL.width) + 2 * SMALL.pad);
    const inner = open ? column.x + PAD
      : column.x + (column.width - column.lanes * SMALL.lane + SMALL.lane - SMALL.width) / 2;
    for (const node of column.nodes) {
      node.open = open;
      node.w = open ? WIDTH : SMALL.width;
      node.h = open ? HEIGHT : SMALL.height;
      node.x = inner + node.lane * (open ? LANE : SMALL.lane);
      node.y = TOP + node.rank * RANK + (HEIGHT - node.h) / 2;
    }
    const next = columns[column.index + 1];
    x += column.width + (open || (next && isOpen(next)) ? GAP : SMALL.gap);
  }
  const ranks = Math.max(1, ...columns.map((column) => column.ranks));
  return { width: x + PAD - SMALL.gap, height: TOP + ranks * RANK + PAD - (RANK - HEIGHT) };
}

function drawGraph() {
  const size = arrange();
  graph.marks.clear();
  graph.minis.clear();
  if (graph.scale === null) {
    const { clientWidth, clientHeight } = document.getElementById("canvas");
    const most = (clientWidth - 20) / size.width > 1.25 ? 1.25 : 1;   // what is small anyway may be larger
    graph.scale = graph.fitted = Math.max(0.8, Math.min(most, (clientHeight - 16) / size.height));
  }
  const svg = drawn("svg", {
    viewBox: `0 0 ${size.width} ${size.height}`, width: size.width * graph.scale, height: size.height * graph.scale,
    role: "tree", tabindex: 0, "aria-label": "Records of the tape by time step. Arrow keys step through them.",
  });
  const back = drawn("g", { "aria-hidden": "true" });
  const paths = { near: [], far: [] };
  for (const record of records) collectEdges(record, paths);
  back.append(drawn("path", { class: "edges", d: paths.near.join("") }));
  back.append(drawn("path", { class: "edges faint", d: paths.far.join("") }));
  graph.hot = drawn("path", { class: "edges hot" });
  const front = drawn("g", { role: "presentation" });
  for (const column of columns) front.append(drawColumn(column, size.height));
  const band = drawn("g", { "aria-hidden": "true" }, columns.map((column) => drawn("rect", {
    class: `band ${column.kind}`, x: column.x, y: 6, width: column.width, height: size.height - 12, rx: 10 })));
  svg.append(band, back, graph.hot, front);
  const canvas = document.getElementById("canvas");
  canvas.replaceChildren(svg);
  graph.svg = svg;
  graph.size = size;
}

function collectEdges(record, paths) {
  for (const slot of new Set(record.inputs)) {
    const from = slot >= 0 && producer.get(slot);
    if (!from) continue;
    const apart = record.column - from.column;
    if (count <= SHORT) (apart > 1 ? paths.far : paths.near).push(edge(from, record));
    else if (apart <= 1 && !(from.leaf && readers.get(slot).length > 2)) paths.near.push(edge(from, record));
  }
}

function edge(from, to) {
  if (from.column === to.column) {
    const x1 = from.x + from.w / 2, y1 = from.y + from.h, x2 = to.x + to.w / 2, y2 = to.y;
    if (to.rank - from.rank > 1) {   // past what stands between: out to the side and back
      const side = Math.abs(x2 - x1) < 2 ? x1 + (from.open ? LANE / 2 : SMALL.lane / 2) : (x1 + x2) / 2;
      const reach = from.open ? 22 : 8;
      return `M${x1} ${y1}C${x1} ${y1 + reach} ${side} ${y1 + 4} ${side} ${y1 + reach}L${side} ${y2 - reach}`
        + `C${side} ${y2 - 4} ${x2} ${y2 - reach} ${x2} ${y2}`;
    }
    const half = (y2 - y1) / 2;
    return `M${x1} ${y1}C${x1} ${y1 + half} ${x2} ${y2 - half} ${x2} ${y2}`;
  }
  const x1 = from.x + from.w, y1 = from.y + from.h / 2, x2 = to.x, y2 = to.y + to.h / 2;
  if (to.column - from.column === 1) {   // along its row, up or down between the columns, and in
    const room = columns[to.column].x - columns[from.column].x - columns[from.column].width;
    const x = columns[to.column].x - room / 2 + (room > 20 ? (from.lane + from.rank) % 3 * 5 - 5 : 0);
    const way = Math.sign(y2 - y1), r = Math.min(room > 20 ? 8 : 4, Math.abs(y2 - y1) / 2);
    return way === 0 ? `M${x1} ${y1}H${x2}`
      : `M${x1} ${y1}H${x - r}Q${x} ${y1} ${x} ${y1 + way * r}V${y2 - way * r}Q${x} ${y2} ${x + r} ${y2}H${x2}`;
  }
  const bend = Math.max(10, Math.min(60, (x2 - x1) / 2));
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

function columnTitle(column) {
  if (column.kind === "leaves") return "leaves";
  return column.kind === "step" ? `t = ${column.step}` : column.scope || "";
}

function drawColumn(column, height) {
  const open = isOpen(column);
  const title = columnTitle(column);
  const shown = open ? title : column.kind === "step" ? String(column.step) : column.nodes.length;
  const group = drawn("g", {
    role: "treeitem", id: `column-${column.index}`, "aria-expanded": String(open), class: "column",
    "aria-label": `${title || "outside time"}, ${column.nodes.length} ${column.kind === "leaves" ? "leaves" : "records"}`,
  });
  const head = drawn("g", { class: `head ${open ? "" : "closed"}`, onclick: () => toggle(column) },
    drawn("title", null, open ? "Fold this column (f)" : `Unfold ${title} (f)`),
    drawn("rect", { x: column.x, y: 6, width: column.width, height: open ? 30 : height - 12, rx: 10 }),
    drawn("text", { x: open ? column.x + PAD : column.x + column.width / 2, y: 26,
      "text-anchor": open ? "start" : "middle" }, shown),
    open && column.scope && column.kind === "step" && column.width > 200
      ? drawn("text", { class: "scope", x: column.x + column.width - PAD, y: 26, "text-anchor": "end" }, column.scope) : null);
  group.append(head);
  if (open) {
    const inner = drawn("g", { role: "group" });
    for (const node of column.nodes) inner.append(drawNode(node));
    group.append(inner);
  } else {
    const layers = {};
    for (const name of ["todo", "done", "wait", "back"]) layers[name] = drawn("path", { class: `mini ${name}` });
    graph.minis.set(column.index, layers);
    group.append(drawn("g", { class: "minis", "aria-hidden": "true" }, Object.values(layers)));
  }
  return group;
}

function drawNode(node) {
  const group = drawn("g", {
    role: "treeitem", id: `node-${node.index}`, class: node.leaf ? "node leaf" : "node", transform: `translate(${node.x} ${node.y})`,
    "aria-label": spoken(node), "aria-selected": "false", onclick: () => visit(node),
  },
    drawn("title", null, spoken(node)),
    drawn("rect", { width: WIDTH, height: HEIGHT, rx: node.leaf ? 20 : 8 }),
    drawn("text", { class: "name", x: WIDTH / 2, y: 16, "text-anchor": "middle" }, clipped(node.name, 17)),
    drawn("text", { class: "note", x: WIDTH / 2, y: 30, "text-anchor": "middle" }, clipped(note(node), 20)));
  graph.marks.set(node.index, group);
  return group;
}

function note(node) {
  const given = label(node);
  if (!node.leaf && given) return given;
  const shape = shapes(node);
  if (node.leaf) return shape;
  const read = leafNames(node);
  return read.length && count > SHORT ? read.map((name) => name.split(".").pop()).join(", ") : shape;
}

function shapes(node) {
  const all = node.outputs.map((slot) => described(data.values[slot])).map((each) => (each.shape ? shapeText(each.shape) : ""));
  return all.length > 1 ? `${all.length} × ${all[0]}` : all[0] || "";
}

function spoken(node) {
  const time = node.step === null || node.step === undefined ? "" : `, time step ${node.step}`;
  return node.leaf ? `leaf ${node.name}, shape ${shapes(node)}` : `record ${node.index}, ${node.name}${time}, shape ${shapes(node)}`;
}

function clipped(text, length) { return text.length > length ? `${text.slice(0, length - 1)}…` : text; }

// What each node looks like at a position: to come, computed, with cotangents arriving, swept.
function statesAt(position) {
  const states = new Array(nodes.length).fill("todo");
  for (let i = 0; i < Math.min(position, count); i += 1) states[i] = "done";
  for (const leaf of leaves) states[leaf.index] = "done";
  if (position > count) {
    const at = position - count;
    for (const slot of seeds.keys()) if (producer.has(slot)) states[producer.get(slot).index] = "wait";
    for (let order = 0; order < at; order += 1) {
      for (const given of pulls[order].gives) {
        const node = producer.get(given.slot);
        states[node.index] = node.leaf && given.place === arrivals.get(given.slot).length - 1 ? "back" : "wait";
      }
    }
    for (let order = 0; order < at; order += 1) states[pulls[order].index] = "back";
  }
  return states;
}

function paint(position, selected, found) {
  const states = statesAt(position);
  for (const [index, mark] of graph.marks) {
    const node = nodes[index];
    const chosen = selected === node;
    const look = `node ${node.leaf ? "leaf " : ""}${states[index]}${chosen ? " now" : ""}${found.has(index) ? " found" : ""}`;
    if (mark.getAttribute("class") === look) continue;   // most stay as they are, and styling them again takes long
    mark.setAttribute("class", look);
    mark.setAttribute("aria-selected", String(chosen));
  }
  for (const [index, layers] of graph.minis) {
    const parts = { todo: [], done: [], wait: [], back: [] };
    for (const node of columns[index].nodes)
      parts[states[node.index]].push(`M${node.x} ${node.y}h${node.w}v${node.h}h${-node.w}z`);
    for (const name of Object.keys(parts)) layers[name].setAttribute("d", parts[name].join(""));
  }
  for (const column of columns) {
    const head = graph.svg.getElementById(`column-${column.index}`);
    head.classList.toggle("found", column.nodes.some((node) => found.has(node.index)));
    head.classList.toggle("here", Boolean(selected) && selected.column === column.index);
  }
  const hot = selected ? hotEdges(selected) : [];
  graph.hot.setAttribute("d", hot.join(""));
  graph.hot.setAttribute("class", `edges hot ${phaseOf(position)}${hot.length > 12 ? " many" : ""}`);
  if (selected) graph.svg.setAttribute("aria-activedescendant", `node-${selected.index}`);
  else graph.svg.removeAttribute("aria-activedescendant");
}

function hotEdges(node) {
  const paths = [];
  for (const slot of new Set(node.inputs)) if (slot >= 0) paths.push(edge(producer.get(slot), node));
  for (const slot of node.outputs) for (const reader of readers.get(slot) || []) paths.push(edge(node, reader));
  return paths;
}

// Bring the chosen node into view, at once: stepping fast must not lag behind its own animation.
function reveal(node) {
  const canvas = document.getElementById("canvas");
  const column = columns[node.column];
  const k = graph.scale;
  const fits = column.width * k < canvas.clientWidth - 120;
  const left = (fits ? column.x : node.x) * k, right = (fits ? column.x + column.width : node.x + node.w) * k;
  if (left < canvas.scrollLeft + 40 || right > canvas.scrollLeft + canvas.clientWidth - 40)
    canvas.scrollLeft = (left + right - canvas.clientWidth) / 2;
  const top = node.y * k, bottom = (node.y + node.h) * k;
  if (top < canvas.scrollTop + 20 || bottom > canvas.scrollTop + canvas.clientHeight - 20)
    canvas.scrollTop = (top + bottom - canvas.clientHeight) / 2;
}
