// ---- several runs -----------------------------------------------------------------------------------

const MOST_LEVELS = 12, MOST_COLORS = 8;

function keyPlace(path) { return data.keys.findIndex((key) => key.path === path); }
function valueOf(run, path) { return run.config[keyPlace(path)]; }
function shownValue(value) { return value === null ? "–" : isNumber(value) ? tickText(value) : String(value); }
function ratio(values) { return Math.max(...values) / Math.min(...values); }

// Whether numbers are seen best on a logarithmic axis.
function wantsLog(values) { return values.length > 1 && values.every((value) => value > 0) && ratio(values) >= 30; }

// The values of a key as at most `most` levels [{ name, has(value), at }], ascending: the values themselves, or equal
// parts of their range where there are too many.
function levelsOf(path, most) {
  const values = [...new Set(data.runs.map((run) => valueOf(run, path)))];
  const numeric = values.every(isNumber);
  values.sort((a, b) => (numeric ? a - b : shownValue(a).localeCompare(shownValue(b), "en", { numeric: true })));
  if (!numeric || values.length <= most) {
    return values.slice(0, 60).map((value) => ({ name: shownValue(value), has: (x) => x === value }));
  }
  const log = wantsLog(values);
  const scale = makeScale(log, values[0], values.at(-1), 0, most);
  return Array.from({ length: most }, (_, k) => ({
    name: `${Number(scale.value(k).toPrecision(2))} to ${Number(scale.value(k + 1).toPrecision(2))}`,
    has: (x) => Math.max(0, Math.min(most - 1, Math.floor(scale.at(x)))) === k,
  }));
}

// Over runs, null where none has the score.
function meanScore(runs) {
  const values = runs.map(scoreValue).filter(isNumber);
  return values.length > 0 ? mean(values) : null;
}

function mean(list) { return list.reduce((sum, x) => sum + x, 0) / list.length; }

// Keys in which the runs differ: seeds last, since runs are rather compared by the others.
function sweptKeys() {
  return [...data.swept].sort((a, b) => (a === "seed") - (b === "seed"));
}

const comparison = { score: null, x: null, y: null, color: null, metric: null, runColumns: "main" };

function scoreKeys() { return data.scores.map((score) => score.key); }

function firstOf(list, wanted) { return wanted.find((one) => list.includes(one)) ?? list[0] ?? null; }

function startComparison() {
  const swept = sweptKeys();
  comparison.score = firstOf(scoreKeys(), ["mmcs", "contribution_correlation", "ce_masked", "loss/total"]);
  [comparison.x, comparison.y] = [swept[0] ?? null, swept[1] ?? null];
  comparison.color = swept[1] ?? swept[0] ?? null;
  const metrics = metricNames();
  comparison.metric = firstOf(metrics, ["loss/total", ...metrics]);
}

// ---- the table of runs --------------------------------------------------------------------------------

function openRun(i) { location.hash = "run=" + i; }

function bestValues() {
  return data.scores.map(({ better }, k) => {
    const values = data.runs.map((run) => run.scores[k]).filter(isNumber);
    if (!better || values.length < 2) return null;
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return least === most ? null : better === "high" ? most : least;
  });
}

function scoreColumn(score, k, best) {
  const format = score.key === "solved" ? (value) => (value === 1 ? "✓" : value === 0 ? "✗" : "–")
    : columnFormat(data.runs.map((run) => run.scores[k]));
  return {
    title: score.key, number: true, value: (run) => run.scores[k],
    tip: score.better ? `${score.better} is better; the best is marked` : "",
    cell: (run) => {
      const value = run.scores[k];
      const made = element("span", value !== null && value === best[k] ? "best" : "", format(value));
      if (score.key === "solved") made.classList.add(value === 1 ? "right" : "wrong");
      return made;
    },
  };
}

function shortStatus(run) { return run.finished ? "finished" : `at ${grouped(run.step)} of ${grouped(run.steps)}`; }

function runsTable() {
  const best = bestValues();
  const all = data.scores.map((score, k) => [score, scoreColumn(score, k, best)]);
  const shown = comparison.runColumns === "all" ? all : all.filter(([score]) => score.main);
  const keyColumns = sweptKeys().map((path) => ({
    title: path, value: (run) => valueOf(run, path), number: data.runs.every((run) => isNumber(valueOf(run, path))),
    cell: (run) => shownValue(valueOf(run, path)),
  }));
  const columns = [
    { title: "run", value: (run) => run.name, cell: (run) => link(run.name, "#run=" + data.runs.indexOf(run)) },
    ...keyColumns, ...shown.map(([, column]) => column),
    { title: "status", value: shortStatus,
      cell: (run) => element("span", run.finished ? "quiet" : "", shortStatus(run)) },
  ];
  const sort = columns.findIndex(({ title }) => title === comparison.score);
  const better = data.scores.find(({ key }) => key === comparison.score)?.better;
  return new SortableTable({
    id: "runs-table", columns, rows: data.best.map((i) => data.runs[i]), sort: sort < 0 ? null : sort,
    descending: better !== "low", rowOf: (run, tr) => {
      tr.classList.add("opens");
      tr.dataset.run = data.runs.indexOf(run);
      tr.addEventListener("click", () => openRun(data.runs.indexOf(run)));
    },
  });
}

// ---- a score against config keys ------------------------------------------------------------------------

function scoreValue(run) { return run.scores[scoreKeys().indexOf(comparison.score)]; }

function describeRun(run) {
  return [element("div", "told-head", runTitle(run)),
    ...sweptKeys().map((path) => element("div", "told-row", element("span", "", path),
      element("span", "number", shownValue(valueOf(run, path)))))];
}

function toldValue(name, value) {
  return element("div", "told-row", element("span", "", name), element("b", "number", short(value)));
}

// Runs by the level of the key that colours them: [{ name, color, runs }].
function colorGroups() {
  if (comparison.color === null) return [{ name: "all runs", color: seriesColor(0), runs: data.runs }];
  const levels = levelsOf(comparison.color, MOST_COLORS);
  const numeric = data.runs.every((run) => isNumber(valueOf(run, comparison.color)));
  return levels.map((level, k) => ({
    name: `${comparison.color} ${level.name}`,
    color: numeric && levels.length > 2 ? sequenceColor(k / (levels.length - 1)) : seriesColor(k),
    dash: numeric ? "none" : seriesDash(k),
    runs: data.runs.filter((run) => level.has(valueOf(run, comparison.color))),
  })).filter(({ runs }) => runs.length > 0);
}

// For every group the points of its runs, and a line through the means where several have the same x.
function scatterSeries(group, xOf) {
  const runs = group.runs.filter((run) => isNumber(scoreValue(run)) && isNumber(xOf(run)));
  const byX = Map.groupBy ? Map.groupBy(runs, xOf) : groupBy(runs, xOf);
  const xs = [...byX.keys()].sort((a, b) => a - b);
  const common = { name: group.name, color: group.color, dash: group.dash };
  return [
    { ...common, x: xs, y: xs.map((x) => mean(byX.get(x).map(scoreValue))), line: byX.size < runs.length || undefined,
      points: false, isMean: true },
    { ...common, x: runs.map(xOf), y: runs.map(scoreValue), points: true, line: false, runs,
      open: (i) => openRun(data.runs.indexOf(runs[i])) },
  ];
}

function groupBy(list, keyOf) {
  const groups = new Map();
  for (const one of list) groups.set(keyOf(one), [...(groups.get(keyOf(one)) || []), one]);
  return groups;
}

// The values themselves as marks on an axis, where they are few.
function fewMarks(values) {
  const different = [...new Set(values)];
  return different.length <= 8 ? different : null;
}

function scatterPanel() {
  const values = data.runs.map((run) => valueOf(run, comparison.x)), numeric = values.every(isNumber);
  const levels = numeric ? null : levelsOf(comparison.x, MOST_LEVELS);
  const xOf = (run) => {
    const value = valueOf(run, comparison.x);
    return numeric ? value : levels.findIndex((level) => level.has(value));
  };
  const groups = colorGroups().map((group) => ({ ...group, series: scatterSeries(group, xOf) }));
  const scores = data.runs.map(scoreValue).filter(isNumber);
  const plot = new Plot({
    series: groups.flatMap(({ series }) => series), xTitle: comparison.x, yTitle: comparison.score, height: 330,
    xLog: numeric && wantsLog(values), yLog: wantsLog(scores) && ratio(scores) > 100,
    names: levels && levels.map(({ name }) => name), marks: numeric ? fewMarks(values) : null,
    tell: ([{ one, i }]) => [...describeRun(one.runs[i]), toldValue(comparison.score, one.y[i])],
  });
  const head = element("div", "plot-head", element("h3", "", `${comparison.score} against ${comparison.x}`),
    ...(numeric ? [scaleSwitch(plot, "xLog", "x")] : []), scaleSwitch(plot, "yLog", "y"));
  return element("div", "half", head, legend(groups, () => plot.draw()), plot.node,
    element("p", "quiet", "A point per run, lines through the means; a click on a point opens the run."));
}

function heatColors(values) {
  const log = wantsLog(values) && ratio(values) > 100;
  const scale = makeScale(log, Math.min(...values), Math.max(...values), 0, 1);
  return { log, color: (value) => viridis(scale.at(value)) };
}

function heatCell(runs, colors, format, where) {
  const values = runs.map(scoreValue).filter(isNumber);
  const cell = element("td", "heat", values.length > 0 ? format(mean(values)) : "–");
  if (values.length > 0) {
    const [r, g, b] = colors.color(mean(values));
    cell.style.background = `rgb(${r} ${g} ${b})`;
    cell.style.color = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
    cell.title = `${where}: mean of ${values.length} run${values.length > 1 ? "s" : ""}, ` +
      `${short(Math.min(...values))} to ${short(Math.max(...values))}`;
  }
  return cell;
}

function heatPanel() {
  const columns = levelsOf(comparison.x, MOST_LEVELS), rows = levelsOf(comparison.y, MOST_LEVELS).reverse();
  const cells = rows.map((row) => columns.map((column) => data.runs.filter((run) =>
    column.has(valueOf(run, comparison.x)) && row.has(valueOf(run, comparison.y)))));
  const means = cells.flat().map(meanScore).filter(isNumber);
  if (means.length === 0) return element("div", "half", element("p", "quiet", `No run has ${comparison.score}.`));
  const colors = heatColors(means), format = columnFormat(means);
  const lines = rows.map((row, r) => element("tr", "", element("th", "number", row.name), ...columns.map((column, c) =>
    heatCell(cells[r][c], colors, format, `${comparison.y} ${row.name}, ${comparison.x} ${column.name}`))));
  const table = element("table", "heat-map", element("tbody", "", ...lines,
    element("tr", "", element("th", ""), ...columns.map(({ name }) => element("th", "", name)))));
  table.id = "heat-map";
  table.style.setProperty("--rows", rows.length);
  const ramp = element("span", "ramp", ...Array.from({ length: 24 }, (_, i) => {
    const part = element("i");
    part.style.background = `rgb(${viridis(i / 23).join(" ")})`;
    return part;
  }));
  return element("div", "half", element("div", "plot-head", element("h3", "", `mean ${comparison.score}`),
    element("span", "scale", short(Math.min(...means)), ramp, short(Math.max(...means)), colors.log ? " (log)" : "")),
  element("div", "heat-frame", element("div", "heat-y", comparison.y), element("div", "heat-body", table,
    element("div", "heat-x", comparison.x))),
  element("p", "quiet", bestAndWorst(rows, columns, cells, format)));
}

// "best 0.99 at lr 0.01, seed 1; worst ..." of the means in a heat map; of a score with no better side, largest and
// smallest.
function bestAndWorst(rows, columns, cells, format) {
  const places = rows.flatMap((row, r) => columns.map((column, c) => {
    const text = `${comparison.x} ${column.name}, ${comparison.y} ${row.name}`;
    return { value: meanScore(cells[r][c]), text };
  })).filter(({ value }) => value !== null).sort((a, b) => b.value - a.value);
  const better = data.scores.find(({ key }) => key === comparison.score).better;
  if (better === "low") places.reverse();
  const [first, last] = better ? ["best", "worst"] : ["largest", "smallest"];
  const [most, least] = [places[0], places.at(-1)];
  const text = `${first} ${format(most.value)} at ${most.text}; ${last} ${format(least.value)} at ${least.text}.`;
  return text[0].toUpperCase() + text.slice(1);
}

// ---- curves of all runs -----------------------------------------------------------------------------------

function metricNames() {
  const names = new Set(data.runs.flatMap((run) => run.curves.series.map(({ name }) => name)));
  return [...names].sort((a, b) => (b === "loss/total") - (a === "loss/total") || a.localeCompare(b, "en"));
}

function overlayPlot() {
  const groups = colorGroups();
  for (const group of groups) {
    group.series = group.runs.flatMap((run) => {
      const found = curvesOf(run).find(({ name }) => name === comparison.metric);
      if (!found) return [];
      return [{ name: run.name, run, x: found.steps, y: found.values, color: group.color, dash: group.dash }];
    });
  }
  const series = groups.flatMap((group) => group.series), values = series.flatMap(({ y }) => y);
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const plot = new Plot({
    series, xTitle: "step", yTitle: comparison.metric, height: 380,
    yLog: values.length > 0 && wantsLog([least, most]),
    tell: ([{ one, i }]) => [...describeRun(one.run),
      toldValue(`${comparison.metric} at step ${grouped(one.x[i])}`, one.y[i])],
  });
  const head = element("div", "plot-head", legend(groups, () => plot.draw()), scaleSwitch(plot, "yLog"));
  return element("div", "", head, plot.node);
}

// ---- all of it ----------------------------------------------------------------------------------------------

function summaryTiles() {
  const solved = data.runs.map((run) => scoreOf(run, "solved")).filter(isNumber);
  const values = data.runs.map(scoreValue).filter(isNumber);
  const finished = data.runs.filter((run) => run.finished).length;
    const all = data.runs.length;
  const tiles = [tile(grouped(all), finished === all ? "runs, all finished" : `runs, ${finished} finished`)];
  if (solved.length > 0) {
    tiles.push(tile(`${solved.filter((x) => x === 1).length} of ${solved.length}`, "reach the known solution"));
  }
  if (values.length > 0) {
    const range = `${short(Math.min(...values))} – ${short(Math.max(...values))}`;
    tiles.push(tile(range, comparison.score + ", smallest to largest"));
  }
  tiles.push(tile(link(runTitle(data.runs[data.best[0]]), "#run=" + data.best[0]), "the best run"));
  return element("div", "tiles", ...tiles);
}

function redrawWith(key) {
  return (value) => {
    comparison[key] = value;
    drawPage();
  };
}

function breakdownPanel(keys) {
  const scores = scoreKeys().map((key) => [key, key]), several = keys.length > 1;
  const controls = element("div", "controls", choice("Score", scores, comparison.score, redrawWith("score")),
    choice("against", keys, comparison.x, redrawWith("x")),
    ...(several ? [choice("and", keys, comparison.y, redrawWith("y"))] : []),
    choice("coloured by", keys, comparison.color, redrawWith("color")));
  const halves = several && comparison.y !== comparison.x ? [heatPanel(), scatterPanel()] : [scatterPanel()];
  return panel("breakdown", "Where it works", controls, element("div", "halves", ...halves));
}

function runsPanel() {
  const table = runsTable();
  const columns = choice("Columns", [["main", "main scores"], ["all", "all numbers"]], comparison.runColumns,
    redrawWith("runColumns"));
  return panel("runs", ["Runs ", element("span", "hint quiet", "a click on a head sorts, on a row opens the run")],
    element("div", "controls", columns), table.node);
}

function overlayPanel(keys) {
  const metrics = metricNames().map((name) => [name, name]);
  const controls = element("div", "controls", choice("Metric", metrics, comparison.metric, redrawWith("metric")),
    ...(keys.length > 0 ? [choice("coloured by", keys, comparison.color, redrawWith("color"))] : []));
  return panel("curves", ["Curves ", element("span", "hint quiet",
    "drag, or Ctrl and the wheel: zoom · double click: all")], controls, overlayPlot());
}

function drawComparison() {
  const keys = sweptKeys().map((path) => [path, path]);
  const parts = [panel("summary", null, summaryTiles())];
  if (keys.length > 0 && comparison.score !== null) parts.push(breakdownPanel(keys));
  parts.push(runsPanel());
  if (comparison.metric !== null) parts.push(overlayPanel(keys));
  return parts;
}
