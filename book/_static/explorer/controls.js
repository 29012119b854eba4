/* The explorer around its views: controls, the sentence, the table, the buttons, and who may redraw.

   Whoever mounts it says how a position is answered, with `ask(state, number)`, and hands the answer to `show` or
   `refuse`. At most one question is open; while it is, only the newest position waits, and an answer that is older than
   what is shown is dropped. What follows an answer (`follow`) must bear its number. */
const explorer = (() => {
  "use strict";
  const { latencies, lines, series, blocks, percent, plain, text } = explorerViews;
  const QUIET_MS = 500, PATIENCE_MS = 15000;
  const ROWS = {
    sla_violation_share: ["late requests", percent],
    latency_mean_s: ["latency, mean (s)", plain],
    latency_p50_s: ["latency, median (s)", plain],
    latency_p95_s: ["latency, 95th percentile (s)", plain],
    latency_p99_s: ["latency, 99th percentile (s)", plain],
    ttft_mean_s: ["time to first token, mean (s)", plain],
    throughput_rps: ["throughput (requests/s)", plain],
    output_tokens_per_s: ["output (tokens/s)", plain],
    gpu_utilization: ["GPUs in use", percent],
    batch_size_mean: ["batch size, mean", plain],
    stability: ["stability", (label) => label.replace("_", " ")],
  };
  let mounted = 0;

  function made(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
    element.append(...children);
    return element;
  }

  /* One control as its elements; `put` shows a value, and `moved` is told of a reader's. */
  function inputOf(control, id, moved, remark) {
    const wrong = made("div", { class: "wrong", id: `${id}-wrong`, role: "alert" });
    const problem = (input, says) => {
      wrong.textContent = says;
      input.setAttribute("aria-invalid", says ? "true" : "false");
    };
    if (control.kind === "several") {
      const boxes = Object.entries(control.choices).map(([value, label]) => {
        const box = made("input", { type: "checkbox", name: control.name, value });
        return [box, made("label", {}, box, made("span", { class: `swatch policy-${value}`, "aria-hidden": "true" }), label)];
      });
      const chosen = () => boxes.filter(([box]) => box.checked).map(([box]) => box.value);
      for (const [box] of boxes)
        box.addEventListener("change", () => {
          if (!chosen().length) box.checked = true; // nothing to show is no view
          moved(chosen());
        });
      const field = made("fieldset", {}, made("legend", {}, control.label), ...boxes.map(([, label]) => label));
      return { element: field, put: (values) => boxes.forEach(([box]) => { box.checked = values.includes(box.value); }) };
    }
    const label = made("label", { for: id }, control.label + (control.unit ? ` (${control.unit})` : ""));
    if (control.kind === "choice") {
      const options = Object.entries(control.choices).map(([value, name]) => made("option", { value }, name));
      const select = made("select", { id, name: control.name }, ...options);
      select.addEventListener("change", () => moved(select.value));
      return { element: made("div", { class: "explorer-control wide" }, label, select), put: (value) => { select.value = value; } };
    }
    if (control.kind === "text") {
      const known = Object.keys(control.choices || {});
      const input = made("input", { id, name: control.name, type: "text", autocomplete: "off", spellcheck: "false", list: known.length ? `${id}-known` : undefined });
      let last = "";
      const tell = () => { if (input.value.trim() !== last) moved((last = input.value.trim())); };
      input.addEventListener("change", tell);
      input.addEventListener("keydown", (event) => event.key === "Enter" && tell()); // where suggestions are open, it is no change
      const list = known.length ? [made("datalist", { id: `${id}-known` }, ...known.map((value) => made("option", { value })))] : [];
      return { element: made("div", { class: "explorer-control wide" }, label, input, ...list, wrong), put: (value) => { input.value = last = value; }, problem: (says) => problem(input, says) };
    }
    const { values } = control, low = values ? values[0] : control.low, high = values ? values[values.length - 1] : control.high;
    const range = values ? { min: 0, max: values.length - 1, step: 1 } : { min: low, max: high, step: control.step };
    const slider = made("input", { id, name: control.name, type: "range", ...range });
    const typed = made("input", { type: "number", "aria-label": `${control.label}, typed`, "aria-describedby": `${id}-wrong`, min: low, max: high, step: values ? "any" : control.step });
    const put = (value) => {
      slider.value = values ? values.indexOf(value) : value;
      slider.setAttribute("aria-valuetext", `${value} ${control.unit}`.trim());
      typed.value = value;
      problem(typed, "");
    };
    slider.addEventListener("input", () => {
      const value = values ? values[Number(slider.value)] : Number(slider.value);
      put(value);
      moved(value);
    });
    typed.addEventListener("change", () => {
      const value = Number(typed.value), whole = control.step === 1;
      if (typed.value === "" || !(value >= low && value <= high) || (whole && !Number.isInteger(value))) {
        problem(typed, `${control.label}: ${typed.value || "nothing"} (expected ${whole ? "a whole number" : "a number"} from ${low} to ${high}); the last good view stays`);
        return;
      }
      const near = values ? nearest(values, value) : value;
      put(near);
      if (near !== value) remark(`${control.label} ${value} is not on the grid: ${near}, the nearest, is shown.`);
      moved(near, near !== value);
    });
    return { element: made("div", { class: "explorer-control" }, label, slider, typed, wrong), put };
  }

  const nearest = (values, value) => values.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best));

  /* What an interval is of, where what is shown is one run and not the mean of all. */
  const ofMean = (interval) => (interval.mean === undefined ? "" : `mean ${percent(interval.mean)}, `);

  function sentence(view, state) {
    const where = `D_SLA ${plain(view.d_sla)} s, K_BINS ${state.k_bins}, GPUs ${state.gpus}, load ${state.load}`;
    const late = view.runs.map((run) => {
      const interval = view.intervals && view.intervals[run.scheduler];
      let range = view.pending && !view.intervals ? " (interval follows)" : "";
      if (interval) range = interval.low === null ? " (too few late requests for an interval)" : ` (${ofMean(interval)}95 % interval ${(100 * interval.low).toFixed(2)} to ${percent(interval.high)})`;
      return `${run.name} ${percent(run.summary.sla_violation_share)} late${range}`;
    });
    const points = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(2)}`;
    const name = (scheduler) => view.runs.find((run) => run.scheduler === scheduler).name;
    const compared = (view.differences || []).map((pair) => {
      const isSure = pair.low > 0 || pair.high < 0;
      return `${name(pair.a)} minus ${name(pair.b)} ${points(pair.low)} to ${points(pair.high)}${isSure ? "" : ", not established"}`;
    });
    const differences = compared.length ? ` Differences in points, 95 % intervals: ${compared.join("; ")}.` : "";
    return `At ${where}: ${late.join("; ")}.${differences}`;
  }

  function tableOf(view) {
    const head = made("tr", {}, made("td"), ...view.runs.map((run) => made("th", { scope: "col" }, made("span", { class: `swatch policy-${run.scheduler}`, "aria-hidden": "true" }), ` ${run.name}`)));
    const rows = Object.entries(ROWS).filter(([key]) => view.runs.some((run) => run.summary[key] !== undefined)).map(([key, [label, write]]) => {
      const cells = view.runs.map((run) => {
        const value = run.summary[key], missing = value === null || value === undefined;
        const cell = made("td", { "data-key": key, "data-scheduler": run.scheduler, "data-value": missing ? "" : value }, missing ? "–" : write(value));
        const interval = key === "sla_violation_share" && view.intervals && view.intervals[run.scheduler];
        if (key === "sla_violation_share" && view.pending && !view.intervals) cell.append(made("small", {}, "interval follows"));
        if (interval) cell.append(made("small", { title: interval.reason || "" }, interval.low === null ? `${ofMean(interval)}no interval` : `${ofMean(interval)}${(100 * interval.low).toFixed(2)} to ${percent(interval.high)}`));
        return cell;
      });
      return made("tr", {}, made("th", { scope: "row" }, label), ...cells);
    });
    return made("table", { class: "explorer-table" }, made("caption", {}, view.caption || "The run in numbers"), made("thead", {}, head), made("tbody", {}, ...rows));
  }

  function csvOf(view, state) {
    const parts = Object.keys(ROWS).filter((key) => view.runs.some((run) => run.summary[key] !== undefined));
    const settings = Object.keys(state).filter((name) => name !== "schedulers");
    const quoted = (value) => (value === null || value === undefined ? "" : /[",\n]/.test(value) ? `"${String(value).replace(/"/g, '""')}"` : value);
    const rows = view.runs.map((run) => {
      const interval = (view.intervals && view.intervals[run.scheduler]) || {};
      return [run.scheduler, ...settings.map((name) => state[name]), ...parts.map((key) => run.summary[key]), interval.low, interval.high];
    });
    const head = ["scheduler", ...settings, ...parts, "violation_ci_low", "violation_ci_high"];
    return [head, ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  }

  /* All views in one SVG, with the colours that they have on the page written into them. */
  function svgOf(root) {
    const KEPT = ["fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray", "font", "text-anchor"];
    let y = 0, width = 0;
    const parts = [...root.querySelectorAll(".explorer-views figure")].filter((figure) => !figure.hidden).map((figure) => {
      const svg = figure.querySelector("svg"), copy = svg.cloneNode(true), originals = svg.querySelectorAll("path, text");
      copy.querySelectorAll("path, text").forEach((element, place) => {
        const style = getComputedStyle(originals[place]);
        element.setAttribute("style", KEPT.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
      });
      const [w, h] = [Number(svg.getAttribute("width")), Number(svg.getAttribute("height"))];
      const ink = getComputedStyle(root).color, title = text(figure.querySelector("figcaption").firstChild.textContent);
      const part = `<text x="8" y="${y + 18}" style="font:600 14px sans-serif;fill:${ink}">${title}</text><g transform="translate(8 ${y + 26})">${copy.innerHTML}</g>`;
      y += h + 44;
      width = Math.max(width, w + 16);
      return part;
    });
    const ground = getComputedStyle(root).getPropertyValue("--ground").trim() || "#fff";
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}"><rect width="100%" height="100%" fill="${ground}"/>${parts.join("")}</svg>`;
  }

  function save(name, kind, content) {
    const link = made("a", { href: URL.createObjectURL(new Blob([content], { type: kind })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function mount(root, { controls, state: given, ask, moved: told = () => {} }) {
    const id = `explorer-${++mounted}`, state = { ...given };
    let asked = 0, open = 0, shown = 0, waiting = null, movedAt = 0, view = null, quiet = 0, patience = 0;

    const remark = made("p", { class: "note", role: "status" }), wrong = made("p", { class: "wrong", role: "alert" });
    const said = made("p", { class: "explorer-summary" }), heard = made("div", { class: "explorer-heard", role: "status", "aria-live": "polite" });
    const inputs = Object.fromEntries(controls.map((control) => [control.name, inputOf(control, `${id}-${control.name}`, (value, kept) => move(control.name, value, kept), (says) => { remark.textContent = says; })]));
    const box = made("div", { class: "explorer-controls", role: "group", "aria-label": "Controls" }, ...controls.filter((one) => one.main).map((one) => inputs[one.name].element));
    const others = controls.filter((one) => !one.main);
    if (others.length) box.append(made("details", {}, made("summary", {}, "More: workload, latency, predictions, seed"), made("div", { class: "explorer-controls" }, ...others.map((one) => inputs[one.name].element))));
    const panels = Object.fromEntries(["latencies", "d_curve", "k_curve", "series", "blocks"].map((name) => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("role", "img");
      const caption = made("figcaption"), figure = made("figure", { "data-view": name, hidden: true }, caption, svg);
      return [name, { figure, caption, svg }];
    }));
    const views = made("div", { class: "explorer-views" }, ...Object.values(panels).map((panel) => panel.figure));
    const numbers = made("div", { class: "explorer-numbers", tabindex: "0", role: "region", "aria-label": "The run in numbers" });
    const notes = made("p", { class: "note" }), code = made("pre", { class: "explorer-code", tabindex: "0", hidden: true, "aria-label": "Python" });
    const button = (label, action) => { const one = made("button", { type: "button" }, label); one.addEventListener("click", () => view && action()); return one; };
    const buttons = made("div", { class: "explorer-buttons" },
      button("Copy as Python", copy),
      button("Save the table", () => save("explorer.csv", "text/csv", csvOf(view, state))),
      button("Save the figure", () => save("explorer.svg", "image/svg+xml", svgOf(root))));
    root.append(box, wrong, remark, heard, views, said, numbers, notes, buttons, code);
    // In JupyterLab keys belong to what has the focus: arrows move the slider and not the cell, digits restart no kernel.
    root.querySelectorAll("input, select, button, summary, [tabindex]").forEach((one) => one.setAttribute("data-lm-suppress-shortcuts", "true"));
    for (const [name, value] of Object.entries(state)) inputs[name].put(value);
    new ResizeObserver(() => view && draw()).observe(views);

    async function copy() {
      code.textContent = view.code;
      code.hidden = false;
      try {
        await navigator.clipboard.writeText(view.code);
        remark.textContent = "Copied: Python that repeats this view.";
      } catch {
        remark.textContent = "Python that repeats this view stands below, to be copied from there.";
        getSelection().selectAllChildren(code);
      }
    }

    function move(name, value, keepRemark = false) {
      state[name] = value;
      if (!keepRemark) remark.textContent = "";
      if (!movedAt) movedAt = performance.now();
      waiting = { ...state };
      if (!open) next();
    }

    /* Whether a view is still to come, or its rest. */
    function tellBusy() {
      const isFollowing = view && view.pending !== undefined && !view.curve;
      views.setAttribute("aria-busy", Boolean(open || waiting || isFollowing));
    }

    function next() {
      const question = waiting;
      [waiting, open] = [null, ++asked];
      clearTimeout(patience);
      patience = setTimeout(() => answered(open) && (wrong.textContent = "No answer: is the kernel running? The last good view stays."), PATIENCE_MS);
      root.dataset.startedAt = movedAt;
      movedAt = 0;
      tellBusy();
      ask(question, open);
    }

    /* Whether an answer counts; if it does, the next question may go. */
    function answered(number) {
      if (number !== open) return false;
      clearTimeout(patience);
      open = 0;
      return true;
    }

    function show(number, answer) {
      if (number <= shown) return; // stale
      const startedAt = Number(root.dataset.startedAt);
      [shown, view] = [number, answer];
      wrong.textContent = "";
      Object.values(inputs).forEach((input) => input.problem && input.problem(""));
      draw();
      told(view);
      root.dataset.shown = number;
      if (startedAt) requestAnimationFrame(() => performance.measure("explorer-move", { start: startedAt, end: performance.now(), detail: number }));
      answered(number);
      if (waiting && !open) next();
      tellBusy();
    }

    function follow(number, part) {
      if (number !== shown) return; // of a position that is left
      Object.assign(view, part);
      draw();
      tellBusy();
    }

    function refuse(number, problem) {
      if (!answered(number)) return;
      wrong.textContent = `${problem}. The last good view stays.`;
      const named = Object.keys(inputs).find((name) => problem.startsWith(name));
      if (named && inputs[named].problem) inputs[named].problem(problem);
      if (waiting) next();
      tellBusy();
    }

    function panel(name, title, drawing, pending = false) {
      const { figure, caption, svg } = panels[name];
      figure.hidden = !drawing;
      if (!drawing) return;
      const width = Math.max(280, Math.floor(figure.clientWidth || 480)), { height, inside, says } = drawing(width);
      caption.replaceChildren(title, ...(pending ? [made("span", { class: "pending" }, " (follows …)")] : []));
      for (const [attribute, value] of [["viewBox", `0 0 ${width} ${height}`], ["width", width], ["height", height], ["aria-label", says]]) svg.setAttribute(attribute, value);
      svg.innerHTML = inside;
    }

    function draw() {
      panel("latencies", "Latency, late requests in full colour", (width) => latencies(view, width));
      const curve = view.curve || (view.pending !== undefined && panels.d_curve.last);
      if (view.curve) panels.d_curve.last = view.curve;
      panels.d_curve.svg.style.opacity = view.curve ? 1 : 0.35;
      panel("d_curve", "Late requests by deadline", curve && ((width) => lines(view, width, { curve, label: "D_SLA (s)", here: view.d_sla })), !view.curve);
      panel("k_curve", "Late requests by number of bins", view.k_curve && ((width) => lines(view, width, { curve: view.k_curve, label: "K_BINS", here: state.k_bins })));
      const overTime = view.runs.some((run) => run.series && run.series.time_s);
      panel("series", "Batch size; the controller's window as band, its target dashed", overTime && ((width) => series(view, width)));
      panel("blocks", "What the GPUs serve; the fuller a batch, the darker", overTime && ((width) => blocks(view, width)));
      numbers.replaceChildren(tableOf(view));
      notes.textContent = [...(view.notes || []), view.replications && `Intervals: 95 %, ${view.replications} replications, common random numbers${view.conditional ? ", conditional on the trace" : ""}`].filter(Boolean).join(". ");
      if (!code.hidden) code.textContent = view.code;
      said.textContent = sentence(view, state);
      clearTimeout(quiet); // read out once the controls rest
      quiet = setTimeout(() => { heard.textContent = said.textContent; }, QUIET_MS);
    }

    /* Moves that are not a reader's hand: from a link, or from Python. */
    function adopt(values, remarks = "") {
      for (const [name, value] of Object.entries(values)) if (inputs[name]) { state[name] = value; inputs[name].put(value); }
      remark.textContent = remarks;
      waiting = { ...state };
      if (!open) next();
    }

    return { show, follow, refuse, adopt, state };
  }

  return { mount, nearest };
})();
