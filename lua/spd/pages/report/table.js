// ---- numbers, colours, tables ---------------------------------------------------------------------

function isNumber(x) { return typeof x === "number" && Number.isFinite(x); }

function short(x) {
  if (!isNumber(x)) return x === null || x === undefined ? "–" : String(x);
  const size = Math.abs(x);
  if (Number.isInteger(x) && size < 1e9) return grouped(x);
  if (size >= 1e-3 && size < 1e5) return String(Number(x.toPrecision(4)));
  return x.toExponential(2).replace("e+", "e");
}

// How to write the numbers of a column so that they can be compared.
function columnFormat(values) {
  const numbers = values.filter(isNumber), sizes = numbers.map(Math.abs).filter((x) => x > 0);
  if (numbers.every(Number.isInteger)) return short;
  const most = Math.max(...sizes), least = Math.min(...sizes);
  if (most >= 1e5 || least < 1e-3) {
    return (x) => (isNumber(x) && x !== 0 ? x.toExponential(2).replace("e+", "e") : short(x));
  }
  const digits = most >= 1000 ? 0 : most >= 100 ? 1 : most >= 10 ? 2 : 4;
  return (x) => (isNumber(x) ? x.toFixed(digits) : short(x));
}

// Colours that the colour-blind can tell apart (after Okabe and Ito); the variables are in report.css.
const COLORS = 7;
function seriesColor(i) { return `var(--series-${i % COLORS})`; }
const DASHES = ["none", "6 3", "2 3"];
function seriesDash(i) { return DASHES[Math.floor(i / COLORS) % DASHES.length]; }

const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const darkness = matchMedia("(prefers-color-scheme: dark)");

function viridis(t) {
  const at = Math.max(0, Math.min(1, t)) * (VIRIDIS.length - 1), i = Math.min(VIRIDIS.length - 2, Math.floor(at));
  const channel = (k) => {
    const [a, b] = [VIRIDIS[i], VIRIDIS[i + 1]].map((color) => parseInt(color.slice(k, k + 2), 16));
    return Math.round(a + (b - a) * (at - i));
  };
  return [channel(1), channel(3), channel(5)];
}

// A colour of a sequence, for a line on the page's background.
function sequenceColor(t) {
  const [from, to] = darkness.matches ? [0.3, 1] : [0, 0.82];
  return `rgb(${viridis(from + (to - from) * t).join(" ")})`;
}

// columns: [{ title, tip, value(row), cell(row), number }]; cells are texts or elements. A click on a column's head
// sorts by it, numbers first in descending order; what has no value comes last. rowOf(row, tr) may change a row's
// element.
class SortableTable {
  constructor({ id, columns, rows, sort = null, descending = true, most = 400, rowOf = null }) {
    Object.assign(this, { columns, rows, sort, descending, most, limit: most, rowOf });
    this.head = element("tr", "", ...columns.map((column, k) => this.headCell(column, k)));
    this.body = element("tbody", "");
    this.table = element("table", "sortable", element("thead", "", this.head), this.body);
    if (id) this.table.id = id;
    this.more = button("more", "", false, () => { this.limit += this.most; this.draw(); });
    this.node = element("div", "table-frame", this.table, this.more);
    this.draw();
  }

  headCell(column, k) {
    const cell = element("th", column.number ? "number" : "",
      button("sorter", "", false, () => this.sortBy(k), column.title, element("span", "arrow", "")));
    cell.title = (column.tip ? column.tip + "; " : "") + "click to sort";
    return cell;
  }

  sortBy(k) {
    if (this.sort === k) this.descending = !this.descending; else this.descending = Boolean(this.columns[k].number);
    this.sort = k;
    this.draw();
  }

  show(rows) {
    this.rows = rows;
    this.limit = this.most;
    this.draw();
  }

  sorted() {
    if (this.sort === null) return this.rows;
    const { value } = this.columns[this.sort], sign = this.descending ? -1 : 1;
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      const missing = (x === null || x === undefined) - (y === null || y === undefined);
      if (missing !== 0 || x === null || x === undefined) return missing;
      if (isNumber(x) && isNumber(y)) return sign * (x - y);
      if (isNumber(x) !== isNumber(y)) return isNumber(x) ? -1 : 1;
      return sign * String(x).localeCompare(String(y), "en", { numeric: true });
    };
    return [...this.rows].sort(order);
  }

  draw() {
    [...this.head.children].forEach((cell, k) => {
      const sorted = k === this.sort;
      cell.setAttribute("aria-sort", sorted ? (this.descending ? "descending" : "ascending") : "none");
      cell.querySelector(".arrow").textContent = sorted ? (this.descending ? "▼" : "▲") : "";
    });
    this.body.replaceChildren(...this.sorted().slice(0, this.limit).map((row) => {
      const made = element("tr", "", ...this.columns.map((column) =>
        element("td", column.number ? "number" : "", column.cell ? column.cell(row) : short(column.value(row)))));
      if (this.rowOf) this.rowOf(row, made);
      return made;
    }));
    const left = this.rows.length - this.limit;
    this.more.hidden = left <= 0;
    this.more.textContent = left > 0 ? `show ${Math.min(left, this.most)} more of ${left}` : "";
  }
}

// ---- small pieces ---------------------------------------------------------------------------------

function panel(id, title, ...children) {
  const made = element("section", "panel", ...(title ? [element("h2", "", ...[title].flat())] : []), ...children);
  if (id) made.id = id;
  return made;
}

function tile(number, name, mood) {
  return element("div", "tile " + (mood || ""), element("span", "figure", number), element("span", "name", name));
}

// options: [[value, text]]
function choice(label, options, chosen, changed) {
  const select = element("select", "", ...options.map(([value, text]) => {
    const option = element("option", "", text);
    option.value = value;
    return option;
  }));
  select.value = chosen;
  select.addEventListener("change", () => changed(select.value));
  return element("label", "choose", label + " ", select);
}

function searchBox(label, changed) {
  const input = element("input", "search");
  input.type = "search";
  input.placeholder = label;
  input.setAttribute("aria-label", label);
  input.addEventListener("input", () => changed(input.value.trim().toLowerCase()));
  return input;
}
