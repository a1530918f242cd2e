"use strict";
// The tape as the page knows it: the data of page_data.py, with the links that the views follow.

const data = JSON.parse(document.getElementById("tape").textContent);
const records = data.records.map((fields, index) => {
  const [operation, column, lane, rank, site, scope, inputs, outputs, params] = fields;
  return {
    index, column, lane, rank, inputs, outputs, params,
    name: data.operations[operation].name, rule: data.operations[operation].rule,
    place: data.sites[site][0], source: data.sites[site][1], scope: data.scopes[scope],
    pulled: -1, gives: [],
  };
});
const count = records.length;
const columns = data.columns.map(([kind, step, scope, lanes, ranks], index) => (
  { index, kind, step, scope, lanes, ranks, nodes: [] }));
const leaves = data.leaves.map(([slot, lane, rank], place) => (
  { index: count + place, column: 0, lane, rank, inputs: [], outputs: [slot], leaf: true, name: nameOf(slot), scope: "" }));
const nodes = records.concat(leaves);
for (const node of nodes) {
  node.step = columns[node.column].step;
  columns[node.column].nodes.push(node);
}

const producer = new Map();   // slot -> node
const readers = new Map();    // slot -> records that read it
for (const node of nodes) for (const slot of node.outputs) producer.set(slot, node);
for (const record of records)
  for (const slot of new Set(record.inputs)) if (slot >= 0) push(readers, slot, record);

// The backward sweep: the records in its order, and what each of them sends to its inputs.
const pulls = data.reached.map((index) => records[index]);
pulls.forEach((record, order) => { record.pulled = order; });
const seeds = new Map(data.seeds);   // slot -> where the sweep began, a cotangent in the pool
const arrivals = new Map();   // slot -> its contributions in the order of the sweep
for (const [index, position, raw, part, total] of data.contributions) {
  const slot = records[index].inputs[position];
  const before = arrivals.get(slot);
  const given = { record: records[index], position, slot, raw, part, total,
    before: before ? before[before.length - 1].total : seeds.has(slot) ? seeds.get(slot) : -1,
    place: before ? before.length : 0 };
  records[index].gives.push(given);
  push(arrivals, slot, given);
}
const last = count + pulls.length;   // positions: 0 is the start, count the end of the forward, last the end

function push(map, key, value) { if (map.has(key)) map.get(key).push(value); else map.set(key, [value]); }

function nameOf(slot) { return data.names[slot] || `slot ${slot}`; }

// A described array: its kind, norm, first entries, and for longer ones the least, largest and mean entry.
function described(place) {
  const entry = data.pool[place];
  if (typeof entry === "string") return { text: entry };
  const [kind, norm, shown, least, largest, mean, bad] = entry;
  const [dtype, shape] = data.kinds[kind];
  return { dtype, shape, norm, shown, least, largest, mean, bad: bad || 0, size: shape.reduce((a, b) => a * b, 1) };
}

function shapeText(shape) { return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`; }

// The number that the data give, with all of its digits; small ones with an exponent.
function numberText(value) {
  if (typeof value === "string") return value.replace("Infinity", "inf");
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential() : String(value);
}

function magnitude(value) { return typeof value === "string" ? (value === "NaN" ? NaN : Infinity) : Math.abs(value); }

// What a position means: which record is at hand, and in which sweep.
function phaseOf(position) { return position > count ? "backward" : "forward"; }

function recordAt(position) {
  if (position === 0) return null;
  return position <= count ? records[position - 1] : pulls[position - count - 1];
}

function positionOf(record, phase) {
  return phase === "backward" && record.pulled >= 0 ? count + 1 + record.pulled : record.index + 1;
}

function label(node) {
  if (node.leaf) return node.name;
  return node.outputs.map((slot) => data.names[slot]).filter(Boolean).join(", ");
}

function leafNames(node) {   // of the named leaves that a record reads
  return node.inputs.filter((slot) => slot >= 0 && producer.get(slot).leaf && data.names[slot]).map(nameOf);
}

// Elements

function element(tag, attributes, ...children) { return fill(document.createElement(tag), attributes, children); }

function drawn(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}
