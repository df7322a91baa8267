// Draws the charts and keeps one selection of trials in step over charts and tables.
(() => {
  "use strict";
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const later = JSON.parse(document.getElementById("later").textContent); // chart -> trial -> data -> columns
  const rows = [...document.querySelectorAll("tr[data-trial]")];
  const bar = document.querySelector(".selected");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const charts = new Map(); // id -> {view, curves, result}
  let selected = [];

  const same = (a, b) => a.length === b.length && a.every((name) => b.includes(name));
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function curvesOf(id) {
    const spec = specs[id], names = new Set(Object.keys(later[id] || {}));
    const parts = [spec, ...(spec.layer || [])];
    const inline = parts.map((part) => (part.data && part.data.values) || []);
    for (const data of [...Object.values(spec.datasets || {}), ...inline]) {
      for (const row of data) if (row.curve) names.add(row.curve);
    }
    return names;
  }

  // Columns to rows; a column that never changes is its value alone.
  const expanded = (columns) => Array.from({ length: columns.rows }, (_, i) => Object.fromEntries(
    Object.entries(columns).filter(([key]) => key !== "rows")
      .map(([key, values]) => [key, Array.isArray(values) ? values[i] : values])));

  // Of very many trials a chart draws some; the others join it while they are selected.
  function join(chart, names) {
    const parts = later[chart.id] || {};
    const gone = [...chart.joined].filter((name) => !names.includes(name));
    const come = names.filter((name) => parts[name] && !chart.joined.has(name));
    for (const name of gone) {
      for (const data of Object.keys(parts[name])) chart.view.remove(data, (row) => row.curve === name);
      chart.joined.delete(name);
    }
    for (const name of come) {
      for (const [data, columns] of Object.entries(parts[name])) chart.view.insert(data, expanded(columns));
      chart.joined.add(name);
    }
  }

  // A chart's own greys suit both grounds; here the ground is known, so texts may have the page's contrast.
  function dressed(spec) {
    const text = variable("--soft"), line = variable("--line"), font = variable("--font");
    const own = spec.config;
    const parts = { labelColor: text, titleColor: text };
    return {
      ...spec,
      config: {
        ...own,
        font,
        axis: { ...own.axis, ...parts, gridColor: line, domainColor: line, tickColor: line },
        legend: { ...own.legend, ...parts },
        text: { ...own.text, color: text },
      },
    };
  }

  async function draw(box) {
    const id = box.dataset.chart;
    const previous = charts.get(id);
    if (previous) previous.result.finalize();
    const result = await window.vegaEmbed(box, dressed(specs[id]), {
      ast: true, // the page's policy forbids eval
      renderer: "canvas",
      actions: { export: true, source: false, compiled: false, editor: false },
      downloadFileName: `lrtune-${id}`,
      tooltip: { theme: dark.matches ? "dark" : "light" },
    });
    const chart = { id, view: result.view, curves: curvesOf(id), joined: new Set(), result, linked: false };
    charts.set(id, chart);
    box.style.minHeight = "";
    try {
      result.view.addSignalListener("trial", (_, value) => heard(chart, (value && value.curve) || []));
      chart.linked = true;
    } catch {
      return; // a chart without trials
    }
    await show(chart);
  }

  const shown = (chart) => selected.filter((name) => chart.curves.has(name));

  function heard(chart, names) {
    const known = names.filter((name) => name !== undefined && name !== null);
    if (!same(known, shown(chart))) select(known);
  }

  function show(chart) {
    if (!chart.linked) return null;
    join(chart, shown(chart));
    const fields = [{ type: "E", field: "curve" }];
    const tuples = shown(chart).map((name) => ({ unit: "", fields, values: [name] }));
    return chart.view.data("trial_store", tuples).runAsync();
  }

  function select(names) {
    selected = names;
    for (const chart of charts.values()) show(chart);
    for (const row of rows) {
      const on = names.includes(row.dataset.trial);
      row.classList.toggle("on", on);
      row.querySelector("button").setAttribute("aria-pressed", String(on));
    }
    bar.hidden = names.length === 0;
    bar.firstElementChild.textContent = names.map(described).join("   ·   ");
  }

  function described(name) {
    const row = rows.find((candidate) => candidate.dataset.trial === name);
    if (!row) return name;
    const heads = [...row.closest("table").querySelectorAll("thead th")].map((head) => head.textContent);
    const cells = [...row.querySelectorAll("td")].map((cell) => cell.textContent);
    return [name, ...cells.slice(0, 3).map((cell, i) => `${heads[i + 1]} ${cell}`)].join(", ");
  }

  function toggle(name, adding) {
    const on = selected.includes(name);
    if (adding) return select(on ? selected.filter((other) => other !== name) : [...selected, name]);
    return select(on ? [] : [name]);
  }

  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-trial]");
    if (row && !String(window.getSelection())) toggle(row.dataset.trial, event.shiftKey);
    if (event.target.closest(".selected button")) select([]);
    const copy = event.target.closest("[data-copy]");
    if (copy) copied(copy);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") select([]);
  });

  // Without a secure context, as on a page served over plain HTTP, there is only the old command.
  function copiedTheOldWay(element) {
    const choice = window.getSelection();
    choice.selectAllChildren(element);
    const done = document.execCommand("copy");
    if (done) choice.removeAllRanges(); // else the text stays selected, to be copied by hand
    return done;
  }

  async function copied(button) {
    const element = document.getElementById(button.dataset.copy);
    const modern = navigator.clipboard && navigator.clipboard.writeText(element.textContent);
    const done = await Promise.resolve(modern || Promise.reject(new Error("no clipboard")))
      .then(() => true, () => copiedTheOldWay(element));
    button.textContent = done ? "Copied" : "Selected";
    document.getElementById("spoken").textContent = done ? "Copied" : "Selected: copy it with the keyboard";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;

  async function drawAll() {
    for (const box of document.querySelectorAll("[data-chart]")) {
      await draw(box);
      await new Promise((done) => { setTimeout(done); }); // the reader may scroll before the last is drawn
    }
    document.documentElement.dataset.drawn = String(charts.size);
  }
  dark.addEventListener("change", drawAll);
  drawAll();
  window.lrtune = { charts, select, selected: () => [...selected] };
})();
