// ---- what lights up for an input, and on which inputs a subcomponent fires --------------------------

const MOST_LISTED = 200;

// The name of an input: of a language model its token, else the feature's number.
function inputName(found, feature) {
  if (!found.texts) return [`feature ${feature}`];
  return [element("span", "token", ...visibleText(found.texts[feature] ?? "#" + feature))];
}

class Explorer {
  constructor(run) {
    this.run = run;
    this.found = run.importances;
    this.place = 0; // of the input in found.features
    this.firing = this.found.matrices.map(invert);
    this.chosen = this.strongest(); // [matrix, subcomponent], or null
    this.inputPanel = element("div", "explorer-input");
    this.lights = element("div", "lights");
    this.reverse = element("div", "reverse");
    this.strips = this.found.matrices.map((matrix, m) => this.strip(matrix, m));
    this.node = panel("explorer", this.title(), this.inputPanel,
      element("div", "explorer-body", this.lights, this.reverse));
    this.node.tabIndex = -1;
    this.node.addEventListener("keydown", (event) => this.key(event));
    if (this.found.features.length > 0) {
      this.controls();
      this.draw();
    } else {
      this.inputPanel.replaceChildren(element("p", "quiet", "No importance is above the threshold."));
    }
  }

  // Of the first matrix in which one lights up for the first input.
  strongest() {
    const m = this.found.matrices.findIndex(({ active }) => active.length > 0 && active[0].length > 0);
    return m < 0 ? null : [m, this.found.matrices[m].active[0][0]];
  }

  title() {
    const { found } = this;
    const means = found.texts && found.matrices.some(({ kind }) => kind !== "embedding")
      ? "; of matrices that are no embedding, means where they are active, on each one's top tokens" : "";
    const raised = found.raised ? ", raised to keep this page small" : "";
    return ["Causal importances by input ", element("span", "hint quiet",
      `of ${found.texts ? "tokens" : "one-hot inputs"} at step ${grouped(found.step)}; those above ` +
      `${found.threshold}${raised}, rounded to thousandths${means}`)];
  }

  // A slider over the inputs, a box for the number, and, of tokens, a search.
  controls() {
    const { features, texts } = this.found;
    this.slider = element("input", "slider");
    Object.assign(this.slider, { type: "range", min: 0, max: features.length - 1, step: 1, id: "feature-slider" });
    this.slider.setAttribute("aria-label", "input");
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.numberBox = element("input", "feature-box");
    Object.assign(this.numberBox, { type: "number", min: features[0], max: features.at(-1), id: "feature" });
    this.numberBox.addEventListener("change", () => this.go(nearestPlace(features, Number(this.numberBox.value))));
    const step = (by, sign) => {
      const made = button("step", "", false, () => this.go(this.place + by), sign);
      made.title = by < 0 ? "the input before" : "the next input";
      return made;
    };
    const label = element("label", "", texts ? "Token " : "Feature ", this.numberBox);
    this.nameNode = element("span", "input-name");
    this.inputPanel.replaceChildren(label, step(-1, "◀"), this.slider, step(1, "▶"), this.nameNode);
    if (texts) {
      this.matches = element("div", "matches");
      this.inputPanel.append(searchBox("find a token", (words) => this.search(words)), this.matches);
    }
  }

  search(words) {
    const { features, texts } = this.found, most = 24;
    const found = words === "" ? [] : features.map((feature, place) => [feature, place])
      .filter(([feature]) => texts[feature].toLowerCase().includes(words)).slice(0, most);
    this.matches.replaceChildren(...found.map(([feature, place]) =>
      button("match", "", false, () => this.go(place), ...inputName(this.found, feature))));
  }

  key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.matches("input") || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.go(this.place + by);
  }

  go(place) {
    this.place = Math.max(0, Math.min(this.found.features.length - 1, place));
    this.draw();
  }

  choose(m, c) {
    this.chosen = [m, c];
    this.draw();
  }

  // A cell for every subcomponent of a matrix.
  strip(matrix, m) {
    const cells = matrix.norms.map((_, c) => {
      const cell = element("i");
      cell.dataset.component = c;
      return cell;
    });
    const made = element("div", "strip", ...cells);
    made.addEventListener("click", (event) => {
      if (event.target.dataset.component) this.choose(m, Number(event.target.dataset.component));
    });
    return made;
  }

  draw() {
    const { features, matrices } = this.found, feature = features[this.place];
    this.slider.value = this.place;
    this.numberBox.value = feature;
    this.nameNode.replaceChildren(...inputName(this.found, feature));
    this.lights.replaceChildren(...matrices.map((matrix, m) => this.matrixCard(matrix, m)));
    this.drawReverse();
  }

  matrixCard(matrix, m) {
    const pairs = pairsOf(matrix.active[this.place]);
    const cells = this.strips[m].children;
    for (const cell of cells) {
      cell.style.setProperty("--strength", 0);
      cell.title = `subcomponent ${cell.dataset.component}: not important here`;
      cell.classList.toggle("chosen", this.isChosen(m, Number(cell.dataset.component)));
    }
    for (const [c, importance] of pairs) {
      cells[c].style.setProperty("--strength", importance / 1000);
      cells[c].title = `subcomponent ${c}: importance ${thousandths(importance)}`;
    }
    const rows = pairs.slice(0, MOST_LISTED).map(([c, importance]) => {
      const row = button("light row", "", this.isChosen(m, c), () => this.choose(m, c),
        element("span", "number", String(c)), bar(importance / 1000),
        element("span", "number", thousandths(importance)));
      row.dataset.component = c;
      return row;
    });
    if (rows.length === 0) rows.push(element("p", "quiet", "none is important for this input"));
    const head = element("h3", "", matrix.name, element("span", "quiet", ` ${pairs.length} of ${matrix.norms.length}`));
    const card = element("div", "card", head, this.strips[m], element("div", "rows", ...rows));
    card.dataset.matrix = matrix.name;
    return card;
  }

  isChosen(m, c) { return this.chosen !== null && this.chosen[0] === m && this.chosen[1] === c; }

  drawReverse() {
    if (this.chosen === null) {
      this.reverse.replaceChildren(element("h3", "", "Subcomponent"),
        element("p", "quiet", "Choose one, here or in the table below, to see the inputs on which it fires."));
      return;
    }
    const [m, c] = this.chosen, matrix = this.found.matrices[m], pairs = this.firing[m].get(c) || [];
    const rows = pairs.slice(0, MOST_LISTED).map(([place, importance]) => {
      const row = button("fires row", "", place === this.place, () => this.go(place),
        element("span", "name", ...inputName(this.found, this.found.features[place])), bar(importance / 1000),
        element("span", "number", thousandths(importance)));
      row.dataset.feature = this.found.features[place];
      return row;
    });
    const more = pairs.length > MOST_LISTED ? [element("p", "quiet", `and ${pairs.length - MOST_LISTED} more`)] : [];
    this.reverse.replaceChildren(
      element("h3", "", `Subcomponent ${c} `, element("span", "quiet", `of ${matrix.name}`)),
      element("p", "quiet", `|V||U| ${short(matrix.norms[c])}, mean importance ${short(matrix.means[c])}, ` +
        `above 0.1 on ${percent(matrix.rates[c])} of examples; fires on ${pairs.length} ` +
        (this.found.texts ? "token" : "feature") + (pairs.length === 1 ? "" : "s")),
      element("div", "rows", ...rows), ...more);
  }
}

// A flat list a, b, a, b, ... as pairs.
function pairsOf(list) {
  const pairs = [];
  for (let i = 0; i < list.length; i += 2) pairs.push([list[i], list[i + 1]]);
  return pairs;
}

// Of a matrix, subcomponent -> [[place of the input, importance]], the strongest first.
function invert(matrix) {
  const firing = new Map();
  matrix.active.forEach((list, place) => {
    for (const [c, importance] of pairsOf(list)) {
      if (!firing.has(c)) firing.set(c, []);
      firing.get(c).push([place, importance]);
    }
  });
  for (const pairs of firing.values()) pairs.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  return firing;
}

// ---- the table of all subcomponents -----------------------------------------------------------------

function componentRows(found) {
  return found.matrices.flatMap((matrix, m) => matrix.norms.map((norm, c) => ({
    m, c, matrix: matrix.name, norm, mean: matrix.means[c], rate: matrix.rates[c], top: matrix.top[c],
    importance: matrix.top_values[c] === null ? null : matrix.top_values[c] / 1000,
  })));
}

function fixed(x) { return !isNumber(x) ? "–" : x > 0 && x < 0.0005 ? "< 0.001" : x.toFixed(3); }

const ALIVE_RATE = 0.001; // as n_alive counts

function componentsSection(run, explorer) {
  const found = run.importances, rows = componentRows(found), words = found.texts ? "token" : "feature";
  const withBar = (value, most, text) => element("span", "barred", bar(most > 0 ? value / most : 0), text);
  const most = (key) => Math.max(...rows.map((row) => row[key]).filter(isNumber), 0);
  const mostNorm = most("norm"), mostMean = most("mean");
  const columns = [
    { title: "matrix", value: (row) => row.matrix },
    { title: "number", value: (row) => row.c, number: true, tip: "counted from 0, as in a checkpoint" },
    { title: "|V||U|", value: (row) => row.norm, number: true, tip: "norm of the rank-one matrix that it is",
      cell: (row) => withBar(row.norm, mostNorm, fixed(row.norm)) },
    { title: "mean importance", value: (row) => row.mean, number: true, tip: "over the evaluation data",
      cell: (row) => withBar(row.mean, mostMean, fixed(row.mean)) },
    { title: "fires on", value: (row) => row.rate, number: true, tip: "examples with importance above 0.1",
      cell: (row) => `${(100 * row.rate).toFixed(1)} %` },
    { title: words, value: (row) => row.top, number: true,
      tip: found.texts ? "the token with most of its importance" : "the one-hot input for which it is most important",
      cell: (row) => (row.top === null ? "–" : found.texts ? inputName(found, row.top)[0] : String(row.top)) },
    { title: "its importance", value: (row) => row.importance, number: true, tip: `for that ${words}`,
      cell: (row) => (row.importance === null ? "–" : row.importance.toFixed(3)) },
  ];
  const table = new SortableTable({ id: "components-table", columns, rows: [], sort: 3, most: 100, rowOf: (row, tr) => {
    tr.classList.add("opens");
    tr.addEventListener("click", () => {
      explorer.choose(row.m, row.c);
      explorer.node.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
  } });
  const live = rows.filter(({ rate }) => rate > ALIVE_RATE);
  let matrix = "", onlyLive = live.length > 0;
  const count = element("span", "quiet", "");
  const show = () => {
    const shown = (onlyLive ? live : rows).filter((row) => matrix === "" || row.matrix === matrix);
    count.textContent = `${shown.length} of ${rows.length}`;
    table.show(shown);
  };
  const check = element("input", "");
  check.type = "checkbox";
  check.checked = onlyLive;
  check.addEventListener("change", () => { onlyLive = check.checked; show(); });
  const names = [["", "all"], ...found.matrices.map(({ name }) => [name, name])];
  show();
  return panel("components", "Subcomponents", element("div", "controls",
    choice("Matrix", names, "", (value) => { matrix = value; show(); }),
    element("label", "", check, " only live ones"), count), table.node);
}
