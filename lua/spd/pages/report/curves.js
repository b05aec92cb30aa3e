// ---- the curves of a training ---------------------------------------------------------------------

// Which metrics share a plot, in this order; the first pattern that matches a name counts, and what it captures names
// the series.
const CURVE_PANELS = [
  { title: "Losses", pattern: /^loss\/(.*)$/, y: "loss", log: true },
  { title: "Active subcomponents (importance > 0.01), mean over a batch", pattern: /^(.*)\/ci_l0$/, y: "l0" },
  { title: "Live subcomponents (importance > 0.1 on over 1 in 1000 examples)", pattern: /^(.*)\/n_alive$/,
    y: "n_alive" },
  { title: "Cross-entropy of the next token", pattern: /^misc\/(.*)_ce_loss_vs_labels$/, y: "nats" },
  { title: "Distance of the output to the target's", pattern: /^misc\/(.*)_vs_target$/, y: "distance", log: true },
  { title: "Learning rate", pattern: /^(lr)$/, y: "lr" },
  { title: "Norm of the gradient", pattern: /^(grad_norm)$/, y: "norm", log: true },
  { title: "Others", pattern: /^(.*)$/, y: "value" },
];

// The series of a run as [{ name, steps, values }]; steps are left out in the data where they are those before.
function curvesOf(run) {
  let steps = [];
  return run.curves.series.map((one) => {
    steps = one.steps || steps;
    return { name: one.name, steps, values: one.values };
  });
}

function tellSteps(points, more) {
  const step = points[0].one.x[points[0].i];
  const rows = points.map(({ one, i }) => element("div", "told-row", swatch(one), element("span", "", one.name),
    element("span", "number", short(one.y[i]))));
  const rest = more > 0 ? [element("div", "quiet", `and ${more} more`)] : [];
  return [element("div", "told-head", "step " + grouped(step)), ...rows, ...rest];
}

function curvePanel(panelKind, found, plots) {
  const series = found.map(({ name, steps, values }, i) => ({
    name, x: steps, y: values, color: seriesColor(i), dash: seriesDash(i),
  }));
  const positive = series.some(({ y }) => y.some((value) => value > 0));
  const plot = new Plot({
    series, xTitle: "step", yTitle: panelKind.y, yLog: Boolean(panelKind.log) && positive, tell: tellSteps,
    zoomed: (range) => plots.forEach((one) => one.setRange(range)), // all plots of a run show the same steps
  });
  plots.push(plot);
  const head = element("div", "plot-head", element("h3", "", panelKind.title), scaleSwitch(plot, "yLog"));
  const parts = series.length > 1 || panelKind.title === "Others"
    ? [legend(series.map((one) => ({ ...one, series: [one] })), () => plot.draw())] : [];
  return element("div", "curve", head, ...parts, plot.node);
}

function curvesSection(run) {
  const curves = curvesOf(run), plots = [];
  const total = ({ name }) => (name === "total" ? 0 : 1); // the total loss has the first colour
  const left = new Set(curves);
  const panels = [];
  for (const kind of CURVE_PANELS) {
    const found = [...left].filter(({ name }) => kind.pattern.test(name));
    found.forEach((one) => left.delete(one));
    const named = found.map((one) => ({ ...one, name: kind.pattern.exec(one.name)[1] || one.name }));
    if (named.length > 0) panels.push(curvePanel(kind, named.sort((a, b) => total(a) - total(b)), plots));
  }
  const hint = element("span", "hint quiet",
    "drag, or Ctrl and the wheel: zoom · double click: all · point: values at the step");
  return panel("curves", ["Training ", hint], panels.length > 0 ? element("div", "curves", ...panels)
    : element("p", "quiet", "Nothing was logged yet."));
}
