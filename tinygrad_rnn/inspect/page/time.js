// Gradient through time: ‖∂L/∂h_t‖ as lines, and ‖∂L_s/∂h_t‖ as a heat map.

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const PLOT = { left: 58, right: 22, top: 8, bottom: 22, height: 152 };
const timeline = { marks: [], heat: null };

function superscript(power) { return String(power).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]); }

function drawTime() {
  const section = document.getElementById("time");
  const states = data.time.states.filter((state) => state.norms.some((norm) => magnitude(norm) > 0));
  if (!states.length) return;
  section.hidden = false;
  section.replaceChildren(strip(states));
  if (data.time.heat) section.append(heatMap(data.time.heat));
}

function strip(states) {
  const steps = [...new Set(states.flatMap((state) => state.steps))].sort((a, b) => a - b);
  const logs = states.flatMap((state) => state.norms).map(magnitude).filter((norm) => norm > 0 && Number.isFinite(norm)).map(Math.log10);
  let low = Math.floor(Math.min(...logs)), high = Math.ceil(Math.max(...logs));
  if (high - low < 1) high = low + 1;
  const width = 640, inner = width - PLOT.left - PLOT.right, tall = PLOT.height - PLOT.top - PLOT.bottom;
  const x = (step) => PLOT.left + (steps.length > 1 ? (step - steps[0]) / (steps[steps.length - 1] - steps[0]) : 0.5) * inner;
  const y = (norm) => PLOT.top + (high - Math.log10(norm)) / (high - low) * tall;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${PLOT.height}`, role: "img", "aria-label": inWords(states) });
  const every = Math.max(1, Math.ceil((high - low) / 5));
  for (let power = low; power <= high; power += every) {
    const at = PLOT.top + (high - power) / (high - low) * tall;
    svg.append(drawn("path", { class: "grid", d: `M${PLOT.left} ${at}h${inner}` }),
      drawn("text", { class: "tick", x: PLOT.left - 8, y: at + 4, "text-anchor": "end" }, `10${superscript(power)}`));
  }
  for (const step of ticks(steps))
    svg.append(drawn("text", { class: "tick", x: x(step), y: PLOT.height - 5, "text-anchor": "middle" }, String(step)));
  svg.append(drawn("text", { class: "tick", x: width - 8, y: PLOT.height - 5, "text-anchor": "middle" }, "t"));
  states.slice(0, 4).forEach((state, i) => {
    const points = state.steps.map((step, k) => [step, magnitude(state.norms[k])]).filter(([, norm]) => norm > 0 && Number.isFinite(norm));
    svg.append(drawn("path", { class: `line line-${i}`, d: points.map(([step, norm], k) => `${k ? "L" : "M"}${x(step).toFixed(1)} ${y(norm).toFixed(1)}`).join("") }));
    if (points.length <= 80)
      svg.append(drawn("g", { class: `dots line-${i}` }, points.map(([step, norm]) => drawn("circle", { cx: x(step), cy: y(norm), r: 2.4 }))));
  });
  const now = drawn("path", { class: "now" });
  svg.append(now);
  timeline.marks.push((step) => now.setAttribute("d", step === null || step < steps[0] || step > steps[steps.length - 1] ? "" : `M${x(step)} ${PLOT.top}v${tall}`));
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * width;
    goToStep(steps.reduce((best, step) => (Math.abs(x(step) - at) < Math.abs(x(best) - at) ? step : best)));
  });
  const names = states.slice(0, 4).map((state, i) => element("li", { class: `line-${i}` }, stateName(state, i),
    state.decay === null ? "" : element("span", { class: "quiet" }, ` × ${numberText(Number(state.decay.toPrecision ? state.decay.toPrecision(3) : state.decay))} per step back`)));
  return element("figure", { class: "strip" },
    element("figcaption", null, element("strong", null, "‖∂L/∂h", element("sub", null, "t"), "‖"), " how much of the gradient is left at each time step", element("ul", { class: "names" }, names)),
    svg, numbersTable(["t", ...states.slice(0, 4).map(stateName)],
      steps.map((step) => [step, ...states.slice(0, 4).map((state) => (state.steps.includes(step) ? state.norms[state.steps.indexOf(step)] : ""))])));
}

function stateName(state, i) {
  const name = data.names[state.slots[state.slots.length - 1]];
  return name ? `${name} (${state.operation})` : `state ${i + 1} (${state.operation})`;
}

function inWords(states) {
  return states.slice(0, 4).map((state, i) => `${stateName(state, i)}: gradient norm ${numberText(state.norms[0])} at step ${state.steps[0]}, `
    + `${numberText(state.norms[state.norms.length - 1])} at step ${state.steps[state.steps.length - 1]}`).join(". ");
}

function ticks(steps) {
  const every = Math.max(1, Math.ceil(steps.length / 10));
  return steps.filter((_, i) => i % every === 0);
}

function heatMap(heat) {
  const rows = heat.s.length, across = heat.t.length;
  const all = heat.norms.flat().map(magnitude).filter((norm) => norm > 0 && Number.isFinite(norm));
  const high = Math.log10(Math.max(...all)), low = Math.max(Math.log10(Math.min(...all)), high - 8);
  const shade = (norm) => {
    if (!(norm > 0)) return null;
    const share = high > low ? Math.min(1, Math.max(0, (Math.log10(norm) - low) / (high - low))) : 1;
    const at = Math.min(3, Math.floor(share * 4)), part = share * 4 - at;
    return VIRIDIS[at].map((value, i) => Math.round(value + part * (VIRIDIS[at + 1][i] - value)));
  };
  const side = 190, size = { width: across, height: rows };
  const canvas = element("canvas", { width: size.width, height: size.height, role: "img", tabindex: 0,
    "aria-label": `Heat map of ${rows} losses by ${across} states: gradient norm from ${numberText(Number((10 ** low).toPrecision(3)))} to ${numberText(Number((10 ** high).toPrecision(3)))}` });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(size.width, size.height);
  heat.norms.forEach((row, i) => row.forEach((norm, j) => {
    const color = shade(magnitude(norm));
    if (color) picture.data.set([...color, 255], 4 * ((rows - 1 - i) * across + j));   // s upwards
  }));
  context.putImageData(picture, 0, 0);
  const readout = element("output", null, "Point at a cell, or move with the arrow keys.");
  const pointed = (event) => {
    const box = canvas.getBoundingClientRect();
    return [rows - 1 - Math.min(rows - 1, Math.floor((event.clientY - box.top) / box.height * rows)),
      Math.min(across - 1, Math.floor((event.clientX - box.left) / box.width * across))].map((each) => Math.max(0, each));
  };
  let cell = [rows - 1, across - 1];
  const read = (i, j) => {
    cell = [Math.max(0, Math.min(rows - 1, i)), Math.max(0, Math.min(across - 1, j))];
    readout.textContent = `s = ${heat.s[cell[0]]}, t = ${heat.t[cell[1]]}: ${numberText(heat.norms[cell[0]][cell[1]])}`;
  };
  canvas.addEventListener("pointermove", (event) => read(...pointed(event)));
  canvas.addEventListener("focus", () => read(...cell));
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Enter") goToStep(heat.t[cell[1]]);
    if (move) { event.preventDefault(); read(cell[0] + move[0], cell[1] + move[1]); }
  });
  canvas.addEventListener("click", (event) => goToStep(heat.t[pointed(event)[1]]));
  const scale = element("canvas", { width: 64, height: 1, "aria-hidden": "true" });
  const strip_ = scale.getContext("2d").createImageData(64, 1);
  for (let i = 0; i < 64; i += 1) strip_.data.set([...shade(10 ** (low + (high - low) * i / 63)), 255], 4 * i);
  scale.getContext("2d").putImageData(strip_, 0, 0);
  const power = (log) => Number((10 ** log).toPrecision(2)).toString();
  return element("figure", { class: "heat" },
    element("figcaption", null, element("strong", null, "‖∂L", element("sub", null, "s"), "/∂h", element("sub", null, "t"), "‖"), " loss at s, state at t"),
    element("div", { class: "frame" }, element("span", { class: "axis up", "aria-hidden": "true" }, `s ${heat.s[0]} … ${heat.s[rows - 1]}`),
      canvas, element("span", { class: "axis along", "aria-hidden": "true" }, `t ${heat.t[0]} … ${heat.t[across - 1]}`)),
    element("div", { class: "scale" }, scale, element("span", { class: "ends" }, element("span", null, power(low)), element("span", null, power(high))), readout));
}

function numbersTable(header, rows) {
  const details = element("details", null, element("summary", null, "as a table"));
  details.addEventListener("toggle", () => {
    if (details.childNodes.length > 1) return;
    details.append(element("table", null,
      element("thead", null, element("tr", null, header.map((text) => element("th", { scope: "col" }, String(text))))),
      element("tbody", null, rows.map((row) => element("tr", null, row.map((value) => element("td", { class: "number" }, numberText(value))))))));
  });
  return details;
}

function markTime(step) { for (const mark of timeline.marks) mark(step); }
