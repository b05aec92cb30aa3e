// ---- one run ----------------------------------------------------------------------------------------

function statusOf(run) {
  return run.finished ? `finished, ${grouped(run.steps)} steps`
    : `unfinished at step ${grouped(run.step)} of ${grouped(run.steps)}`;
}

function badge(run) { return element("span", "badge " + (run.finished ? "good" : "open"), statusOf(run)); }

// The verdict about a known solution; nothing where none is known.
function verdict(run) {
  if (!run.misses) return [];
  if (run.misses.length === 0) return [element("span", "badge good", "✓ the known solution")];
  const made = element("span", "badge bad", "✗ misses the known solution");
  made.title = run.misses.join("; ");
  return [made];
}

function scoreOf(run, key) {
  const place = data.scores.findIndex((score) => score.key === key);
  return place < 0 ? null : run.scores[place];
}

const FACT_NAMES = {
  seed: "seed", wall_s: "seconds", ms_per_step: "ms per step", peak_mb: "MB at most", threads: "threads",
};

function scoresSection(run) {
  const shown = data.scores.map((score, k) => [score, run.scores[k]])
    .filter(([score, value]) => score.main && value !== null && score.key !== "solved");
  const tiles = shown.map(([score, value]) => {
    const spread = scoreOf(run, score.key + "_std");
    const made = tile(short(value), score.key + (spread === null ? "" : ` ± ${short(spread)}`));
    made.dataset.score = score.key;
    return made;
  });
  const facts = Object.entries(FACT_NAMES).filter(([key]) => run.facts[key] !== undefined)
    .map(([key, name]) => `${name} ${short(run.facts[key])}`);
  if (run.facts.version) facts.push("spdlua " + run.facts.version);
  const others = data.scores.map((score, k) => ({ key: score.key, value: run.scores[k] }))
    .filter(({ value }) => value !== null);
  const table = new SortableTable({ rows: others, columns: [
    { title: "score", value: (row) => row.key }, { title: "value", value: (row) => row.value, number: true },
  ] });
  const problem = run.scores_problem ? [element("p", "warning", "Scores are missing: " + run.scores_problem)] : [];
  return panel("scores", null, element("div", "tiles", ...tiles), ...problem, element("p", "quiet", facts.join(" · ")),
    element("details", "", element("summary", "", `all ${others.length} numbers`), table.node));
}

function truthSection(run) {
  const rows = run.matrices.filter(({ wanted }) => wanted !== undefined);
  if (rows.length === 0) return [];
  const mark = (right) => element("span", right ? "right" : "wrong", right ? "✓" : "✗");
  const columns = [
    { title: "matrix", value: (row) => row.name },
    { title: "live", value: (row) => row.alive, number: true,
      cell: (row) => element("span", "", grouped(row.alive), " ", mark(row.alive === row.wanted)) },
    { title: "wanted", value: (row) => row.wanted, number: true,
      tip: "a subcomponent per feature, or, of a dense solution, as many as its rank" },
    { title: "solution", value: (row) => row.kind },
    { title: "CI error", value: (row) => row.error ?? null, number: true,
      tip: "importances that are wrong by more than 0.1", cell: (row) => element("span", "", short(row.error), " ",
        row.kind === "identity" ? mark(row.error === 0) : "") },
    { title: "within 0.2", value: (row) => row.error_0p2 ?? null, number: true, tip: "the same with tolerance 0.2" },
  ];
  const table = new SortableTable({ id: "truth-table", columns, rows });
  const misses = run.misses && run.misses.length > 0 ? [element("p", "quiet", run.misses.join("; "))] : [];
  return [panel("truth", ["Against the known solution ", ...verdict(run)], table.node, ...misses)];
}

// ---- figures ------------------------------------------------------------------------------------------

function pictureSource(png) { return "data:image/png;base64," + png; }

function stepName(image) { return image.step === undefined ? "at the end" : "at step " + grouped(image.step); }

function figureCard(figure, enlarge) {
  const picture = element("img", ""), when = element("span", "quiet", "");
  let place = 0;
  const show = (k) => {
    place = k;
    picture.src = pictureSource(figure.images[k].png);
    picture.alt = `${figure.name} ${stepName(figure.images[k])}`;
    when.textContent = " " + stepName(figure.images[k]);
  };
  show(0);
  const frame = button("picture", "", false, () => enlarge(figure, place), picture);
  frame.title = "click to enlarge";
  const card = element("figure", "card", frame,
    element("figcaption", "", element("b", "", figure.name.replaceAll("_", " ")), when,
      element("div", "quiet", figure.caption || "")));
  if (figure.images.length > 1) {
    const slider = element("input", "slider"), last = figure.images.length - 1;
    Object.assign(slider, { type: "range", min: 0, max: last, step: 1, value: last });
    slider.setAttribute("aria-label", "step of the figure");
    slider.addEventListener("input", () => show(last - Number(slider.value))); // the latest is the first
    card.append(slider);
  }
  return card;
}

function figuresSection(run) {
  const list = run.figures;
  const dialog = element("dialog", "large"), picture = element("img", ""), caption = element("p", "");
  const enlarge = (figure, place) => {
    picture.src = pictureSource(figure.images[place].png);
    picture.alt = figure.name;
    const name = figure.name.replaceAll("_", " ");
    caption.textContent = `${name}, ${stepName(figure.images[place])}. ${figure.caption || ""}`;
    dialog.showModal();
  };
  dialog.append(picture, caption, button("close", "", false, () => dialog.close(), "close"));
  dialog.addEventListener("click", (event) => { if (event.target !== caption) dialog.close(); });
  const left = run.figures_left_out, notes = [];
  if (left > 0) notes.push(`${grouped(left)} files had no room here; they are in ${run.folder}/figures.`);
  if (left === 0 && list.length === 0) notes.push("The run has no figures.");
  return panel("figures", "Figures", element("div", "figures", ...list.map((one) => figureCard(one, enlarge))),
    ...notes.map((note) => element("p", "quiet", note)), dialog);
}

// ---- config -------------------------------------------------------------------------------------------

function configSection(run) {
  const rows = data.keys.map((key, k) => ({ ...key, value: run.config[k] })).filter(({ value }) => value !== null);
  for (const row of rows) row.changed = row.default !== undefined && row.default !== row.value;
  const text = (value) => (value === "" ? "''" : String(value));
  const table = new SortableTable({ id: "config-table", rows, columns: [
    { title: "key", value: (row) => row.path, cell: (row) => element("code", "", row.path) },
    { title: "value", value: (row) => row.value, cell: (row) => element("code", "", text(row.value)) },
    { title: "default", value: (row) => row.default ?? null,
      cell: (row) => (row.default === undefined ? element("span", "quiet", "none, required")
        : element("code", "quiet", text(row.default))) },
    { title: "meaning", value: (row) => row.description, cell: (row) => element("span", "quiet", row.description) },
  ], rowOf: (row, tr) => { tr.classList.toggle("changed", row.changed); } });
  let words = "", only = false;
  const show = () => table.show(rows.filter((row) => (!only || row.changed || row.default === undefined)
    && `${row.path} ${row.value} ${row.description}`.toLowerCase().includes(words)));
  const check = element("input", "");
  check.type = "checkbox";
  check.addEventListener("change", () => { only = check.checked; show(); });
  const changed = rows.filter((row) => row.changed).length;
  const details = element("details", "", element("summary", "", element("h2", "", "Config ",
    element("span", "quiet", `${rows.length} keys, ${changed} of them not at their default (marked)`))),
  element("div", "controls", searchBox("search keys and values", (value) => { words = value; show(); }),
    element("label", "", check, " without those at their default")), table.node);
  return panel("config", null, details);
}

// ---- all of it ----------------------------------------------------------------------------------------

function componentSections(run) {
  if (!run.importances) {
    return [panel("explorer", "Subcomponents", element("p", "quiet", `Not on this page: ${run.importances_problem}.`))];
  }
  const explorer = new Explorer(run);
  return [explorer.node, componentsSection(run, explorer)];
}

function drawRun(run) {
  const truth = truthSection(run);
  return [
    element("div", "pair", scoresSection(run), ...truth), curvesSection(run), ...componentSections(run),
    figuresSection(run), configSection(run),
  ];
}
