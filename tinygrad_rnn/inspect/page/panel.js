// The panel: one record, what it read and made on the way forward, and what it sends back.

const ARRIVALS = 80;   // rows of the table of contributions; the rest is counted

function showStart(panel) {
  const target = [...seeds.keys()].map((slot) => nameOf(slot)).join(", ");
  panel.replaceChildren(
    element("p", { class: "eyebrow" }, "At the start"),
    element("h2", null, `${count} records, ${leaves.length} leaves`),
    element("p", null, "A tape is a list. Going forward, each record computes its result from slots that earlier records filled. ",
      "Going backward, the same list is read from its end: each record takes the cotangent of its result and adds a contribution to the cotangent of each input."),
    pulls.length
      ? element("p", null, `The backward sweep starts from ${target} and reaches ${pulls.length} of the ${count} records.`)
      : element("p", null, "No target was given and nothing was swept, so there is no backward half."),
    element("p", null, "Press ", element("kbd", null, "→"), " to take the first step."));
}

function showRecord(panel, record, position) {
  const backward = phaseOf(position) === "backward";
  const order = record.pulled + 1;
  panel.replaceChildren(...[
    element("p", { class: `eyebrow ${backward ? "backward" : "forward"}` },
      backward ? `Backward ${order} of ${pulls.length}` : `Forward ${record.index + 1} of ${count}`),
    element("h2", null, record.name, element("small", null, ` #${record.index}`)),
    element("p", { class: "where" }, [record.step === null ? "" : `t = ${record.step}`, record.scope, record.params].filter(Boolean).join(" · ")),
    source(record),
    backward ? backwardPart(record) : forwardPart(record),
    backward ? forwardPart(record) : backwardPart(record)].filter(Boolean));
}

function source(record) {
  if (!record.place) return null;
  return element("figure", { class: "source" }, element("figcaption", null, record.place),
    record.source ? element("pre", null, element("code", null, record.source)) : null);
}

function forwardPart(record) {
  return element("section", { class: "forward" }, element("h3", null, "Forward"),
    capped(record.inputs, (slot, position) => slot < 0
      ? card("constant", described(-1 - slot), { input: position })
      : card(origin(slot, record.inputs.length > 1 ? `input ${position + 1}` : "input"), described(data.values[slot]), { input: position })),
    capped(record.outputs, (slot, place) => card(result(record, slot, place), described(data.values[slot]), { result: place })));
}

function backwardPart(record) {
  const section = element("section", { class: "backward" }, element("h3", null, "Backward"));
  if (record.pulled < 0) {
    section.append(element("p", { class: "quiet" }, "The sweep does not reach this record: the target does not depend on it, or only through operations without a derivative."),
      element("pre", { class: "rule" }, element("code", null, record.rule)));
    return section;
  }
  section.append(...capped(record.outputs, (slot, place) => {
    const described_ = data.cotangents[slot] >= 0 ? described(data.cotangents[slot]) : { text: "nothing arrived: zeros" };
    return card(["g, the cotangent of ", record.outputs.length > 1 ? `result ${place + 1}` : "the result"], described_, { cotangent: place });
  }));
  section.append(element("pre", { class: "rule", "aria-label": "Derivative rule" }, element("code", null, record.rule)));
  section.append(...capped(record.gives, (given) => contribution(given, record)));
  if (!record.gives.length) section.append(element("p", { class: "quiet" }, "It sends nothing further: none of its inputs needs a gradient."));
  for (const slot of record.outputs) if ((arrivals.get(slot) || []).length > 1) section.append(arrivalTable(slot, null));
  return section;
}

function contribution(given, record) {
  const arrived = arrivals.get(given.slot).length + (seeds.has(given.slot) ? 1 : 0);
  const box = element("div", { class: "contribution", "data-position": given.position },
    element("p", { class: "to" }, "adds to ", origin(given.slot, record.inputs.length > 1 ? `input ${given.position + 1}` : "the input"),
      arrived > 1 ? element("span", { class: "count" }, `${given.place + 1 + (seeds.has(given.slot) ? 1 : 0)} of ${arrived}`) : null));
  const raw = described(given.raw), part = described(given.part);
  if (given.raw !== given.part) {
    box.append(card("the rule gives", raw, { raw: given.position }));
    const change = shapeText(raw.shape) !== shapeText(part.shape)
      ? `↓ un-broadcast: summed to the input's shape ${shapeText(part.shape)}` : `↓ cast to ${part.dtype}`;
    box.append(element("p", { class: "arrow" }, change));
  }
  box.append(card("contribution", part, { part: given.position }));
  if (given.before >= 0) box.append(element("p", { class: "arrow" }, `+ running sum before, ‖·‖ = ${numberText(described(given.before).norm)}`));
  if (given.before >= 0) box.append(card("= running sum", described(given.total), { total: given.position }));
  else if (arrived > 1) box.append(element("p", { class: "arrow" }, "the running sum begins with it"));
  return box;
}

// A leaf: what it holds, its gradient, and how the sweep added that up.
function showLeaf(panel, leaf, position) {
  const slot = leaf.outputs[0];
  const cotangent = data.cotangents[slot];
  const section = element("section", { class: "backward" }, element("h3", null, "Gradient"));
  if (cotangent >= 0) section.append(card("the sum of all contributions", described(cotangent), { gradient: 0 }), arrivalTable(slot, position));
  else section.append(element("p", { class: "quiet" }, "No gradient reaches this leaf."));
  panel.replaceChildren(
    element("p", { class: "eyebrow" }, "Leaf"),
    element("h2", null, leaf.name),
    element("p", { class: "where" }, `slot ${slot}, read by ${(readers.get(slot) || []).length} records`),
    element("section", { class: "forward" }, element("h3", null, "Value"), card("", described(data.values[slot]), { result: 0 })),
    section);
}

function arrivalTable(slot, position) {
  const given = arrivals.get(slot) || [];
  if (!given.length) return "";
  const parts = given.map((each) => magnitude(described(each.part).norm));
  const sums = given.map((each) => magnitude(described(each.total).norm));
  const most = Math.max(...parts.concat(sums).filter(Number.isFinite), 1e-300);
  const rows = given.slice(0, ARRIVALS).map((each, i) => element("tr", {
    class: position !== null && position > count && each.record.pulled > position - count - 1 ? "later" : "" },
    element("td", null, link(each.record)),
    element("td", null, each.record.step === null ? "" : String(each.record.step)),
    measure(described(each.part).norm, parts[i] / most, "part"),
    measure(described(each.total).norm, sums[i] / most, "sum")));
  return element("div", { class: "arrivals" },
    element("table", null,
      element("caption", null, given.length > 1 ? `How ${given.length} contributions add up` : "One contribution"),
      element("thead", null, element("tr", null, ["from", "t", "‖part‖", "‖running sum‖"].map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", null, rows)),
    given.length > ARRIVALS ? element("p", { class: "quiet" }, `and ${given.length - ARRIVALS} more`) : "");
}

function measure(norm, share, kind) {
  const bar = element("span", { class: `bar ${kind}` });
  bar.style.width = `${Number.isFinite(share) ? Math.max(1, 100 * share) : 100}%`;
  return element("td", { class: "measure" }, element("span", { class: "number" }, numberText(norm)), element("span", { class: "rail" }, bar));
}

function origin(slot, role) {
  const from = producer.get(slot);
  if (!from) return [role];
  const name = data.names[slot];
  return [role, name && !from.leaf ? ` ${name}` : "", " ", link(from)];
}

function result(record, slot, place) {
  const name = data.names[slot];
  return [record.outputs.length > 1 ? `result ${place + 1}` : "result", name ? ` ${name}` : ""];
}

function link(node) {
  return element("button", { type: "button", class: "link", onclick: () => visit(node) },
    node.leaf ? node.name : `#${node.index} ${node.name}`);
}

function capped(list, make) {
  const made = list.slice(0, 8).map(make);
  if (list.length > 8) made.push(element("p", { class: "quiet" }, `and ${list.length - 8} more`));
  return made;
}

// An array: what it is, its size in figures, and its entries.
function card(title, array, marks) {
  const box = element("div", { class: "card" });
  for (const [name, value] of Object.entries(marks)) box.dataset[name] = value;
  const head = element("p", { class: "title" }, element("span", null, title));
  box.append(head);
  if (array.text !== undefined) {
    head.append(element("span", { class: "kind" }, array.text));
    return box;
  }
  const first = array.shown.length < array.size ? `, first ${array.shown.length}` : "";
  head.append(element("span", { class: "kind" }, `${shapeText(array.shape)} ${array.dtype}${first}`));
  if (array.size === 0) { box.append(element("p", { class: "quiet" }, "empty")); return box; }
  const figures = element("p", { class: "figures" });
  const add = (name, value) => figures.append(element("span", null, `${name} `, element("span", { class: "number" }, numberText(value))));
  if (array.size > 1) add("‖·‖", array.norm);
  if (array.least !== undefined) { add("min", array.least); add("mean", array.mean); add("max", array.largest); }
  if (array.bad) figures.append(element("strong", { class: "bad" }, `${array.bad} not finite`));
  box.append(entriesOf(array));
  if (figures.childNodes.length) box.append(figures);
  return box;
}

function entriesOf(array) {
  const most = Math.max(...array.shown.map(magnitude).filter(Number.isFinite), 0);
  const cell = (value) => {
    const made = element("td", { class: magnitude(value) <= Number.MAX_VALUE ? "number" : "number bad" }, numberText(value));
    if (most > 0 && Number.isFinite(magnitude(value))) made.style.setProperty("--share", (magnitude(value) / most).toFixed(3));
    return made;
  };
  const whole = array.shown.length === array.size;
  const width = whole && array.shape.length === 2 ? array.shape[1] : array.shown.length;
  const rows = [];
  for (let i = 0; i < array.shown.length; i += Math.max(1, width)) rows.push(element("tr", null, array.shown.slice(i, i + width).map(cell)));
  return element("div", { class: "entries" }, element("table", { role: "presentation" }, element("tbody", null, rows)));
}
