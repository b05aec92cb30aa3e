// ---- plots: lines and points over two axes, with zoom and hover ----------------------------------

const MARGIN = { left: 58, right: 24, top: 10, bottom: 38 };
const DRAG = 5; // pixels: less is a click
const TALL = 0.3; // of the plot's height: a lower rectangle zooms along x only
const MOST_TOLD = 12; // series in the box beside the pointer

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Values from `from` to `to` as pixels from `start` to `end`, and back.
function makeScale(log, from, to, start, end) {
  const inner = log ? Math.log10 : (x) => x, outer = log ? (x) => 10 ** x : (x) => x;
  const first = inner(from), span = inner(to) - first || 1;
  return {
    log, from, to, start, end,
    at: (value) => start + (inner(value) - first) / span * (end - start),
    value: (at) => outer(first + (at - start) / (end - start) * span),
  };
}

// 1, 2 or 5 times a power of ten, not below x.
function roundStep(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= x * 0.999);
}

function linearTicks(from, to, count) {
  const step = roundStep((to - from) / count), ticks = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to + step * 1e-9; k++) ticks.push(k * step);
  return ticks.map((tick) => Number(tick.toPrecision(12)));
}

function logTicks(from, to, count) {
  const first = Math.ceil(Math.log10(from) - 1e-9), last = Math.floor(Math.log10(to) + 1e-9), ticks = [];
  if (last - first < 1) return linearTicks(from, to, count).filter((tick) => tick > 0);
  const every = Math.max(1, Math.ceil((last - first + 1) / count));
  const factors = (last - first + 1) * 3 <= count ? [1, 2, 5] : [1];
  for (let k = first - 1; k <= last; k++) {
    for (const factor of factors) {
      const tick = Number((factor * 10 ** k).toPrecision(6));
      if ((k - first) % every === 0 && tick >= from * 0.999 && tick <= to * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

function tickText(x) {
  const size = Math.abs(x);
  if (x === 0) return "0";
  if (size < 1e-3 || size >= 1e6) return x.toExponential().replace("e+", "e");
  return size >= 1000 ? grouped(x) : String(x);
}

// The place in a sorted list of the number nearest to x.
function nearestPlace(list, x) {
  let low = 0, high = list.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle] <= x) low = middle; else high = middle;
  }
  return x - list[low] <= list[high] - x ? low : high;
}

// series: [{ name, color, dash, x, y, points, line, hidden, label(i), open(i) }]; x sorted where there is a line. A
// plot of points tells about the nearest one, others about all series at the nearest x: tell([{ one, i }], more) makes
// the elements, more: how many are not in the list. names: text in place of numbers
// on the x axis; marks: the only numbers on it. zoomed(range): called when the reader changes the range of x.
class Plot {
  constructor(settings) {
    Object.assign(this, { xLog: false, yLog: false, height: 230, names: null, marks: null, zoomed: null }, settings);
    this.x = this.y = null; // the ranges to which the reader zoomed
    this.width = 0;
    const label = this.yTitle + " over " + this.xTitle;
    this.picture = svg("svg", { class: "plot", role: "img", tabindex: 0, "aria-label": label });
    this.box = element("div", "told");
    this.box.hidden = true;
    this.node = element("div", "plot-frame", this.picture, this.box);
    this.listen();
    new ResizeObserver(() => requestAnimationFrame(() => {
      if (this.node.clientWidth !== this.width) this.draw();
    })).observe(this.node);
  }

  shown() { return this.series.filter((one) => !one.hidden); }

  // The range of the values of an axis; within: of the others between which the points must be.
  extent(axis, log, within) {
    let least = Infinity, most = -Infinity;
    for (const one of this.shown()) {
      one[axis].forEach((value, i) => {
        if ((log && !(value > 0)) || (within && (one.x[i] < within[0] || one.x[i] > within[1]))) return;
        least = Math.min(least, value);
        most = Math.max(most, value);
      });
    }
    if (least > most) return [log ? 0.1 : 0, 1];
    if (least < most) return [least, most];
    const room = Math.abs(least) / 10 || 1;
    return log ? [least / 2, most * 2] : [least - room, most + room];
  }

  padded([least, most], log, part) {
    if (log) {
      const factor = (most / least) ** part;
      return [least / factor, most * factor];
    }
    return [least - part * (most - least), most + part * (most - least)];
  }

  scales() {
    const { left, right, top, bottom } = MARGIN;
    const points = this.series.some((one) => one.points);
    const all = this.names ? [-0.5, this.names.length - 0.5]
      : this.padded(this.extent("x", this.xLog), this.xLog, points ? 0.06 : 0);
    const [x0, x1] = this.x || all;
    const [y0, y1] = this.y || this.padded(this.extent("y", this.yLog, this.x), this.yLog, 0.06);
    this.xScale = makeScale(this.xLog, x0, x1, left, this.width - right);
    this.yScale = makeScale(this.yLog, y0, y1, this.height - bottom, top);
  }

  draw() {
    this.width = this.node.clientWidth;
    if (this.width < 120) return;
    this.scales();
    const { left, right, top, bottom } = MARGIN, id = "clip" + (Plot.count = (Plot.count || 0) + 1);
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.picture.setAttribute("height", this.height);
    this.cursor = svg("g", { class: "cursor" });
    this.selection = svg("rect", { class: "selection", visibility: "hidden" });
    this.picture.replaceChildren(
      svg("clipPath", { id }, svg("rect", { x: left, y: top - 4, width: this.width - left - right,
        height: this.height - top - bottom + 8 })),
      ...this.axes(), svg("g", { "clip-path": `url(#${id})` }, ...this.shown().map((one) => this.drawn(one))),
      this.cursor, this.selection);
    this.box.hidden = true;
  }

  axes() {
    const { left, right, top, bottom } = MARGIN, base = this.height - bottom, parts = [];
    const text = (content, attributes) => svg("text", attributes, content);
    const yTicks = this.yLog ? logTicks : linearTicks, xTicks = this.xLog ? logTicks : linearTicks;
    for (const tick of yTicks(this.yScale.from, this.yScale.to, Math.max(3, this.height / 45))) {
      const y = this.yScale.at(tick);
      parts.push(svg("line", { class: "grid", x1: left, x2: this.width - right, y1: y, y2: y }),
        text(tickText(tick), { x: left - 7, y: y + 4, "text-anchor": "end" }));
    }
    const marks = this.names ? this.names.map((name, i) => [i, name])
      : (this.marks || xTicks(this.xScale.from, this.xScale.to, Math.max(3, this.width / 110)))
        .map((tick) => [tick, tickText(tick)]);
    for (const [tick, name] of marks) {
      const x = this.xScale.at(tick);
      if (x < left - 1 || x > this.width - right + 1) continue;
      parts.push(svg("line", { class: "grid", x1: x, x2: x, y1: top, y2: base }),
        text(name, { x, y: base + 16, "text-anchor": "middle" }));
    }
    parts.push(svg("line", { class: "axis", x1: left, x2: this.width - right, y1: base, y2: base }),
      text(this.xTitle, { class: "title", x: (left + this.width - right) / 2, y: this.height - 4,
        "text-anchor": "middle" }));
    return parts;
  }

  drawn(one) {
    const group = svg("g", { class: "series", "data-name": one.name, style: `--color: ${one.color}` });
    let path = "", pen = "M";
    const dots = one.points || one.x.length <= 24;
    one.x.forEach((value, i) => {
      if ((this.yLog && !(one.y[i] > 0)) || (this.xLog && !(value > 0))) { pen = "M"; return; }
      const x = this.xScale.at(value).toFixed(1), y = this.yScale.at(one.y[i]).toFixed(1);
      path += `${pen}${x},${y}`;
      pen = "L";
      if (dots) group.append(svg("circle", { cx: x, cy: y, r: one.points ? 4.5 : 2.2 }));
    });
    if (one.line !== false) group.prepend(svg("path", { d: path, "stroke-dasharray": one.dash || "none" }));
    return group;
  }

  // ---- what the reader does ----

  place(event) {
    const frame = this.picture.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  listen() {
    const { picture } = this;
    picture.addEventListener("pointermove", (event) => {
      const at = this.place(event);
      if (this.held) this.select(at); else this.point(at);
    });
    picture.addEventListener("pointerleave", () => { if (!this.held) this.leave(); });
    picture.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.held = this.place(event);
      if (event.isTrusted) picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointerup", (event) => this.release(this.place(event)));
    picture.addEventListener("pointercancel", () => { this.held = null; this.draw(); });
    picture.addEventListener("dblclick", () => this.reset());
    picture.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== picture) return; // the page scrolls
      event.preventDefault();
      this.wheel(this.place(event)[0], event.deltaY);
    }, { passive: false });
  }

  leave() {
    this.box.hidden = true;
    if (this.cursor) this.cursor.replaceChildren();
  }

  corners([x, y]) {
    const [x0, x1] = [this.held[0], x].sort((a, b) => a - b), [y0, y1] = [this.held[1], y].sort((a, b) => a - b);
    const tall = y1 - y0 > TALL * this.height;
    return { x0, x1, y0: tall ? y0 : MARGIN.top, y1: tall ? y1 : this.height - MARGIN.bottom, tall };
  }

  select(at) {
    const { x0, x1, y0, y1 } = this.corners(at);
    const shape = { x: x0, y: y0, width: x1 - x0, height: y1 - y0, visibility: "visible" };
    for (const [name, value] of Object.entries(shape)) this.selection.setAttribute(name, value);
    this.leave();
  }

  release(at) {
    if (!this.held) return;
    const { x0, x1, y0, y1, tall } = this.corners(at);
    this.held = null;
    this.selection.setAttribute("visibility", "hidden");
    if (x1 - x0 < DRAG) {
      this.clicked(at);
    } else {
      if (tall) this.y = [this.yScale.value(y1), this.yScale.value(y0)];
      const [least, most] = [Math.max(x0, this.xScale.start), Math.min(x1, this.xScale.end)];
      this.zoom([this.xScale.value(least), this.xScale.value(most)]);
    }
  }

  wheel(at, turned) {
    const { start, end, value } = this.xScale, factor = Math.exp(Math.max(-1, Math.min(1, turned / 300)));
    const all = [this.xScale.from, this.xScale.to];
    if (this.x === null) this.widest = all;
    const range = [value(at - (at - start) * factor), value(at + (end - at) * factor)];
    const [least, most] = this.widest || range;
    if (range[0] <= least && range[1] >= most) this.reset();
    else this.zoom([Math.max(range[0], least), Math.min(range[1], most)]);
  }

  zoom(range) {
    if (this.x === null) this.widest = [this.xScale.from, this.xScale.to];
    if (this.zoomed) this.zoomed(range); else this.setRange(range);
  }

  reset() {
    this.y = null;
    if (this.zoomed) this.zoomed(null); else this.setRange(null);
  }

  setRange(range) {
    this.x = range;
    if (range === null) this.y = null;
    this.draw();
  }

  // The points nearest to a place, as {one, i, x, y} in pixels.
  nearest([x, y]) {
    const found = [];
    for (const one of this.shown()) {
      if (one.x.length === 0) continue;
      const places = one.points ? one.x.map((_, i) => i) : [nearestPlace(one.x, this.xScale.value(x))];
      for (const i of places) {
        const point = { one, i, x: this.xScale.at(one.x[i]), y: this.yScale.at(one.y[i]) };
        if (point.x >= MARGIN.left - 1 && point.x <= this.width - MARGIN.right + 1) found.push(point);
      }
    }
    if (found.some(({ one }) => one.points)) {
      const marked = found.filter(({ one }) => one.points);
      const distance = (point) => Math.hypot(point.x - x, point.y - y);
      return marked.sort((a, b) => distance(a) - distance(b)).slice(0, 1);
    }
    return found.filter((point) => Number.isFinite(point.y)).sort((a, b) => Math.abs(a.y - y) - Math.abs(b.y - y));
  }

  point(at) {
    if (!this.xScale || at[0] < MARGIN.left - 8 || at[0] > this.width - MARGIN.right + 8) return this.leave();
    const found = this.nearest(at);
    if (found.length === 0) return this.leave();
    const [first] = found, told = found.slice(0, MOST_TOLD);
    this.cursor.replaceChildren(
      svg("line", { x1: first.x, x2: first.x, y1: MARGIN.top, y2: this.height - MARGIN.bottom }),
      ...told.map(({ one, x, y }) => svg("circle", { cx: x, cy: y, r: 4, style: `--color: ${one.color}` })));
    this.box.replaceChildren(...this.tell(told, found.length - told.length));
    this.box.hidden = false;
    const room = this.width - first.x - 20 > this.box.offsetWidth;
    this.box.style.left = (room ? first.x + 14 : Math.max(0, first.x - 14 - this.box.offsetWidth)) + "px";
    this.box.style.top = Math.max(0, Math.min(at[1] - 20, this.height - this.box.offsetHeight)) + "px";
  }

  clicked(at) {
    this.picture.focus({ preventScroll: true });
    const [first] = this.xScale ? this.nearest(at) : [];
    if (first && first.one.open && Math.hypot(first.x - at[0], first.y - at[1]) < 12) first.one.open(first.i);
  }
}

// ---- around a plot --------------------------------------------------------------------------------

function swatch(one) {
  const made = svg("svg", { class: "swatch", width: 22, height: 10, style: `--color: ${one.color}` },
    svg("path", { d: "M1,5L21,5", "stroke-dasharray": one.dash || "none" }));
  return made;
}

// Buttons that show and hide series; groups: [{ name, color, dash, series }].
function legend(groups, redraw) {
  return element("div", "legend", ...groups.map((group) => {
    const made = button("entry", "legend " + group.name, true, () => {
      const hide = made.getAttribute("aria-pressed") === "true";
      made.setAttribute("aria-pressed", !hide);
      for (const one of group.series) one.hidden = hide;
      redraw();
    }, swatch(group), group.name);
    made.title = "show or hide " + group.name;
    return made;
  }));
}

// Two buttons of which one is pressed.
function scaleSwitch(plot, axis, name) {
  const made = ["linear", "log"].map((kind) => button("choice", "", (kind === "log") === plot[axis], () => {
    plot[axis] = kind === "log";
    plot.y = null;
    made.forEach((one) => one.setAttribute("aria-pressed", one.textContent === kind));
    plot.draw();
  }, kind));
  const group = element("span", "switch", ...(name ? [element("span", "quiet", name + " ")] : []), ...made);
  group.setAttribute("role", "group");
  return group;
}
