// ---- the data, and what of it is shown ----------------------------------------------------------------

// data: { title, version, written, notes: [text], unreadable: [{ name, reason }], keys, swept, scores, best, runs }
//   keys: [{ path, default, description }], all keys of the configs; default is left out where there is none
//   swept: [path], the keys in which the runs differ
//   scores: [{ key, better: "high" or "low" where one is, main: shown at once }]
//   best: places in runs, the best first
//   runs: [{ name, folder, kind, finished, step, steps, facts, ... }], and of each
//     config: by key of keys its value, a number, text or null; scores: by score a number or null
//     matrices: [{ name, alive, wanted, kind, error, error_0p2 }]; misses: texts, where a solution is known
//     curves: { thinned, series: [{ name, steps, values }] }, steps where they are not those of the series before
//     figures: [{ name, caption, images: [{ step, png }] }]
//     importances: { step, threshold, raised, features, texts, matrices: [{ name, norms, means, rates, top,
//       top_values, active }] }, or importances_problem; see lua/spd/report/importances.lua
const data = JSON.parse(document.getElementById("data").textContent);

// The run that the part of the address after # names, or the only one, or null: all of them.
function chosenRun() {
  if (data.runs.length === 1) return 0;
  const given = new URLSearchParams(location.hash.slice(1)).get("run") ?? "";
  return /^\d+$/.test(given) && Number(given) < data.runs.length ? Number(given) : null;
}

const NAMES = {
  summary: "Summary", breakdown: "Where it works", runs: "Runs", scores: "Scores", truth: "Known solution",
  curves: "Curves", explorer: "Importances", components: "Subcomponents", figures: "Figures", config: "Config",
};

function navigation(sections) {
  const all = sections.flatMap((one) => (one.id ? [one] : [...one.children]));
  return all.filter(({ id }) => NAMES[id]).map((section) => button("to", "", false, () => {
    const details = section.querySelector(":scope > details");
    if (section.id === "config" && details) details.open = true;
    section.scrollIntoView({ behavior: "smooth", block: "start" });
  }, NAMES[section.id]));
}

function link(text, hash) {
  const made = element("a", "", text);
  made.href = hash;
  return made;
}

// Trials of a study are only numbers.
function runTitle(run) { return /^\d+$/.test(run.name) ? "run " + run.name : run.name; }

// To the runs before and after this one, and back to all.
function amongRuns(i) {
  if (data.runs.length === 1) return [];
  const parts = [link("◂ all " + data.runs.length + " runs", "#")];
  if (i > 0) parts.push(link("◂ " + runTitle(data.runs[i - 1]), "#run=" + (i - 1)));
  if (i < data.runs.length - 1) parts.push(link(runTitle(data.runs[i + 1]) + " ▸", "#run=" + (i + 1)));
  return parts;
}

function sweptOf(run) {
  return data.swept.map((path) =>
    element("span", "swept", path + " ", element("b", "", shownValue(valueOf(run, path)))));
}

function drawPage() {
  const i = chosenRun(), run = i === null ? null : data.runs[i];
  const title = run ? runTitle(run) : data.title;
  document.title = title;
  const key = document.activeElement?.closest("select, button")?.dataset.key;
  const sections = run ? drawRun(run) : drawComparison();
  const about = run ? [badge(run), ...verdict(run), ...sweptOf(run), element("span", "quiet", run.folder)] : [];
  fill("title", title);
  fill("about", ...about);
  fill("among", ...(run ? amongRuns(i) : []));
  fill("nav", ...navigation(sections));
  fill("page", ...sections, ...unreadable(), ...notes());
  if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

function unreadable() {
  if (data.unreadable.length === 0) return [];
  return [panel("unreadable", `${data.unreadable.length} not shown, because they cannot be read`, element("ul", "",
    ...data.unreadable.map(({ name, reason }) => element("li", "", element("b", "", name), " ", reason))))];
}

function notes() {
  return [element("footer", "quiet", ...data.notes.map((note) => element("p", "", note)),
    element("p", "", `written ${data.written} by spdlua ${data.version}`))];
}

window.addEventListener("hashchange", () => { drawPage(); scrollTo(0, 0); });
darkness.addEventListener("change", drawPage);

if (data.runs.length > 1) startComparison();
drawPage();
