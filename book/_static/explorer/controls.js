/* The explorer around its views: controls, the sentence, the table, the buttons, and who may redraw.

   Whoever mounts it says how a position is answered, with `ask(state, number)`, and hands the answer to `show` or
   `refuse`. At most one question is open; while it is, only the newest position waits, and an answer that is older than
   what is shown is dropped. What follows an answer (`follow`) must bear its number. A position that a reader keeps, A, is
   drawn faint behind the others, B; `ask` is given its state as well, and an answer may say in `against` what B has late
   beyond A. */
const explorer = (() => {
  "use strict";
  const { latencies, lines, series, blocks, percent, plain, text } = explorerViews, words = explorerWords;
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
  const COMPARED = ["sla_violation_share", "latency_mean_s", "latency_p99_s"], OTHER = "other"; // no preset is called so
  const FIELDS = "select, textarea, input:not([type=range], [type=checkbox])"; // letters are theirs
  let mounted = 0;

  function made(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value === true ? "" : value);
    element.append(...children);
    return element;
  }

  const optionsOf = ({ choices, groups }) => {
    const options = (of) => Object.entries(of || {}).map(([value, name]) => made("option", { value }, name));
    return [...options(choices), ...Object.entries(groups || {}).map(([label, of]) => made("optgroup", { label }, ...options(of)))];
  };

  /* A text that is one of a list, or another that is typed. */
  function listed(control, id, input, tell) {
    const other = made("option", { value: OTHER }, "other …"), select = made("select", { id, name: control.name }, ...optionsOf(control), other);
    const shows = (value) => { select.value = value; input.hidden = value !== OTHER; };
    select.addEventListener("change", () => {
      shows(select.value);
      if (select.value !== OTHER) return tell(select.value);
      input.value = ""; // its hint is to be read
      input.focus();
    });
    const isListed = (value) => [...select.options].some((option) => option !== other && option.value === value);
    return { select, put: (value) => shows(isListed(value) ? value : OTHER) };
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
      const select = made("select", { id, name: control.name }, ...optionsOf(control));
      select.addEventListener("change", () => moved(select.value));
      return { element: made("div", { class: "explorer-control wide" }, label, select), put: (value) => { select.value = value; } };
    }
    if (control.kind === "text") {
      const known = control.groups ? [] : Object.keys(control.choices || {});
      const input = made("input", { id: control.groups ? `${id}-typed` : id, name: control.name, type: "text", autocomplete: "off", spellcheck: "false", placeholder: control.hint, "aria-describedby": `${id}-wrong`, "aria-label": control.groups && `${control.label}, typed`, list: known.length ? `${id}-known` : undefined });
      let last = "";
      const told = (value) => { if (value !== last && (value || !control.groups)) moved((last = input.value = value)); };
      input.addEventListener("change", () => told(input.value.trim()));
      input.addEventListener("keydown", (event) => event.key === "Enter" && told(input.value.trim())); // where suggestions are open, it is no change
      const list = known.length ? [made("datalist", { id: `${id}-known` }, ...known.map((value) => made("option", { value })))] : [];
      const of = control.groups ? listed(control, id, input, told) : { put: () => {} };
      const put = (value) => { input.value = last = value; of.put(value); };
      if (control.groups) input.addEventListener("blur", () => input.value.trim() || put(last)); // nothing was typed
      return { element: made("div", { class: "explorer-control wide" }, label, ...(of.select ? [of.select] : []), input, ...list, wrong), put, problem: (says) => problem(input, says) };
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
      const value = Number(typed.value), whole = Number.isInteger(control.step) && !values;
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

  function tableOf(view) {
    const head = made("tr", {}, made("td"), ...view.runs.map((run) => made("th", { scope: "col" }, made("span", { class: `swatch policy-${run.scheduler}`, "aria-hidden": "true" }), ` ${run.name}`)));
    const rows = Object.entries(ROWS).filter(([key]) => view.runs.some((run) => run.summary[key] !== undefined)).map(([key, [label, write]]) => {
      const cells = view.runs.map((run) => {
        const value = run.summary[key], missing = value === null || value === undefined;
        const cell = made("td", { "data-key": key, "data-scheduler": run.scheduler, "data-value": missing ? "" : value }, missing ? "–" : write(value));
        const interval = key === "sla_violation_share" && view.intervals && view.intervals[run.scheduler];
        if (key === "sla_violation_share" && view.pending && !view.intervals) cell.append(made("small", {}, "interval follows"));
        if (interval) cell.append(made("small", { title: interval.reason || "" }, interval.low === null ? `${words.ofMean(interval)}no interval` : `${words.ofMean(interval)}${(100 * interval.low).toFixed(2)} to ${percent(interval.high)}`));
        return cell;
      });
      return made("tr", {}, made("th", { scope: "row" }, label), ...cells);
    });
    return made("table", { class: "explorer-table" }, made("caption", {}, view.caption || "The run in numbers"), made("thead", {}, head), made("tbody", {}, ...rows));
  }

  /* A beside B, a group of rows a scheduler that both have. */
  function besides(a, b) {
    const groups = b.runs.filter((run) => words.runOf(a, run.scheduler)).map((run) => {
      const was = words.runOf(a, run.scheduler), pair = b.against && b.against.differences.find(({ scheduler }) => scheduler === run.scheduler);
      const rows = COMPARED.filter((key) => run.summary[key] !== undefined).map((key) => {
        const [label, write] = ROWS[key], isShare = key === COMPARED[0], [from, to] = [was, run].map((one) => one.summary[key]);
        const says = (value) => (value === null || value === undefined ? "–" : write(value)), known = says(from) !== "–" && says(to) !== "–";
        const less = isShare ? `${words.points(to - from)} points` : words.signed(to - from, plain(Math.abs(to - from)));
        const cell = made("td", { "data-difference": key, "data-scheduler": run.scheduler }, known ? less : "–");
        if (isShare && pair) cell.append(made("small", {}, `mean ${words.difference(pair)}`));
        return made("tr", {}, made("th", { scope: "row" }, label), made("td", {}, says(from)), made("td", {}, says(to)), cell);
      });
      const name = made("th", { scope: "rowgroup", colspan: 4 }, made("span", { class: `swatch policy-${run.scheduler}`, "aria-hidden": "true" }), ` ${run.name}`);
      return made("tbody", {}, made("tr", {}, name), ...rows);
    });
    const head = ["A", "B", "B − A"].map((label) => made("th", { scope: "col" }, label));
    return made("table", { class: "explorer-table" }, made("caption", {}, "A and B"), made("thead", {}, made("tr", {}, made("td"), ...head)), ...groups);
  }

  /* The numbers of a position or, of two, A's and B's. */
  function csvOf(positions) {
    const { view, state } = positions.at(-1), isPair = positions.length > 1;
    const parts = Object.keys(ROWS).filter((key) => view.runs.some((run) => run.summary[key] !== undefined));
    const settings = Object.keys(state).filter((name) => name !== "schedulers");
    const quoted = (value) => (value === null || value === undefined ? "" : /[",\n]/.test(value) ? `"${String(value).replace(/"/g, '""')}"` : value);
    const rows = positions.flatMap((one, place) => one.view.runs.map((run) => {
      const interval = (one.view.intervals && one.view.intervals[run.scheduler]) || {}, which = isPair ? ["AB"[place]] : [];
      return [...which, run.scheduler, ...settings.map((name) => one.state[name]), ...parts.map((key) => run.summary[key]), interval.low, interval.high];
    }));
    const head = [...(isPair ? ["position"] : []), "scheduler", ...settings, ...parts, "violation_ci_low", "violation_ci_high"];
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
    setTimeout(() => URL.revokeObjectURL(link.href), 60000); // a busy browser begins to save late, and would find nothing
  }

  function mount(root, { controls, state: given, start = given, ask, moved: told = () => {} }) {
    const id = `explorer-${++mounted}`, state = { ...given }, began = { ...start }, questions = new Map();
    let asked = 0, open = 0, shown = 0, waiting = null, movedAt = 0, view = null, quiet = 0, patience = 0;
    let at = null, kept = null, before = null, spoken = null, afterwards = null; // the shown view's state; A; what was last read out, and what is; what is to be done once all is there

    const remark = made("p", { class: "note", role: "status" }), wrong = made("p", { class: "wrong", role: "alert" });
    const said = made("p", { class: "explorer-summary" }), heard = made("div", { class: "explorer-heard", "aria-live": "polite" }, ...Array.from({ length: 4 }, () => made("p")));
    const over = made("p", { class: "explorer-overload" }), breaks = made("p", { class: "explorer-breaks" }), beside = made("p", { class: "explorer-beside" });
    const pair = made("div", { class: "explorer-numbers", tabindex: "0", role: "region", "aria-label": "A and B" });
    const both = made("div", { class: "explorer-against", hidden: true }, beside, pair);
    const inputs = Object.fromEntries(controls.map((control) => [control.name, inputOf(control, `${id}-${control.name}`, (value, kept) => move(control.name, value, kept), (says) => { remark.textContent = says; })]));
    const box = made("div", { class: "explorer-controls", role: "group", "aria-label": "Controls" }, ...controls.filter((one) => one.main).map((one) => inputs[one.name].element));
    const others = controls.filter((one) => !one.main);
    if (others.length) box.append(made("details", {}, made("summary", {}, "More: bins, engine, latency, requests"), made("div", { class: "explorer-controls" }, ...others.map((one) => inputs[one.name].element))));
    const panels = Object.fromEntries(["latencies", "d_curve", "k_curve", "load_curve", "series", "blocks"].map((name) => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("role", "img");
      const caption = made("figcaption"), figure = made("figure", { "data-view": name, hidden: true }, caption, svg);
      return [name, { figure, caption, svg }];
    }));
    const views = made("div", { class: "explorer-views" }, ...Object.values(panels).map((panel) => panel.figure));
    const numbers = made("div", { class: "explorer-numbers", tabindex: "0", role: "region", "aria-label": "The run in numbers" });
    const notes = made("p", { class: "note" }), code = made("pre", { class: "explorer-code", tabindex: "0", hidden: true, "aria-label": "Python" });
    const button = (label, action, attributes = {}) => { const one = made("button", { type: "button", ...attributes }, label); one.addEventListener("click", () => view && action()); return one; };
    const drop = button("Drop A", () => keep(null), { hidden: true });
    const moves = made("div", { class: "explorer-buttons explorer-moves" },
      button("Keep as A", () => keep({ view, state: at })), drop,
      button("Reset", reset, { "aria-keyshortcuts": "R", title: "Back to where it began (key R)" }));
    const buttons = made("div", { class: "explorer-buttons" },
      button("Copy as Python", copy),
      button("Save the table", () => save("explorer.csv", "text/csv", csvOf(positions()))),
      button("Save the figure", () => save("explorer.svg", "image/svg+xml", svgOf(root))));
    root.append(box, moves, wrong, remark, heard, views, said, breaks, over, both, numbers, notes, buttons, code);
    // In JupyterLab keys belong to what has the focus: arrows move the slider and not the cell, digits restart no kernel.
    root.querySelectorAll("input, select, button, summary, [tabindex]").forEach((one) => one.setAttribute("data-lm-suppress-shortcuts", "true"));
    for (const [name, value] of Object.entries(state)) inputs[name].put(value);
    root.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "r" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest(FIELDS)) return;
      event.preventDefault();
      event.stopPropagation();
      reset();
    });
    new ResizeObserver(() => view && draw()).observe(views);

    const positions = () => [...(kept && kept.state !== at ? [kept] : []), { view, state: at }];

    /* Python of what is shown; of two positions, one after the other. */
    function python() {
      const both = positions();
      if (both.length === 1) return view.code;
      return both.map((one, place) => `# ${"AB"[place]}\n${one.view.code}\n${"ab"[place]} = summaries`).join("\n\n");
    }

    async function copy() {
      code.textContent = python();
      code.hidden = false;
      try {
        await navigator.clipboard.writeText(code.textContent);
        remark.textContent = "Copied: Python that repeats this view.";
      } catch {
        remark.textContent = "Python that repeats this view stands below, to be copied from there.";
        getSelection().selectAllChildren(code);
      }
    }

    function reset() {
      adopt(began, "Back where it began.");
    }

    /* A is what is shown now, or nothing. */
    function keep(what) {
      kept = what;
      drop.hidden = !kept;
      remark.textContent = kept ? "Kept as A: move a control, and B is shown beside it." : "A is dropped.";
      if (!kept) moves.firstChild.focus(); // the button that had it is gone
      told(view, kept && kept.state);
      draw();
    }

    function move(name, value, keepRemark = false) {
      afterwards = null; // the hand goes before a link
      state[name] = value;
      if (!keepRemark) remark.textContent = "";
      if (!movedAt) movedAt = performance.now();
      waiting = { ...state };
      if (!open) next();
    }

    /* Whether a view is still to come, or its rest. */
    function tellBusy() {
      const isFollowing = view && !view.settled;
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
      questions.set(open, question);
      ask(question, open, kept && kept.state);
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
      [shown, view, at] = [number, answer, questions.get(number)];
      for (const old of questions.keys()) if (old <= number) questions.delete(old);
      [before, spoken] = [spoken || before, null];
      wrong.textContent = "";
      Object.values(inputs).forEach((input) => input.problem && input.problem(""));
      draw();
      told(view, kept && kept.state);
      if (!root.dataset.shown) performance.mark("explorer-picture");
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
      const last = view.settled && afterwards;
      if (last) {
        afterwards = null;
        last();
      }
    }

    /* Two positions of a link: the one is shown until all of it is there and kept as A, then the other. */
    function compare(a, b, remarks) {
      adopt(a, `${remarks} First A, then B.`.trim());
      afterwards = () => { keep({ view, state: at }); adopt(b, remarks); };
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
      const a = kept && kept.state !== at ? kept.view : null, faint = a ? "; A faint" : "";
      panel("latencies", `Latency, late requests in full colour${a ? "; A outlined" : ""}`, (width) => latencies(view, width, a));
      const curve = view.curve || (view.pending !== undefined && panels.d_curve.last);
      if (view.curve) panels.d_curve.last = view.curve;
      panels.d_curve.svg.style.opacity = view.curve ? 1 : 0.35;
      panel("d_curve", `Late requests by deadline${a && a.curve ? faint : ""}`, curve && ((width) => lines(view, width, { curve, kept: a && a.curve, label: "D_SLA (s)", here: view.d_sla })), !view.curve);
      panel("k_curve", `Late requests by number of bins${faint}`, view.k_curve && ((width) => lines(view, width, { curve: view.k_curve, kept: a && a.k_curve, label: "K_BINS", here: at.k_bins })));
      panel("load_curve", `Late requests by load${faint}`, view.load_curve && ((width) => lines(view, width, { curve: view.load_curve, kept: a && a.load_curve, label: "Load (× rate)", here: at.load })));
      const overTime = view.runs.some((run) => run.series && run.series.time_s);
      panel("series", `Batch size; the controller's window as band, its target dashed${faint}`, overTime && ((width) => series(view, width, a)));
      panel("blocks", "What the GPUs serve; the fuller a batch, the darker", overTime && ((width) => blocks(view, width)));
      numbers.replaceChildren(tableOf(view));
      notes.textContent = [...(view.notes || []), view.replications && `Intervals: 95 %, ${view.replications} replications, common random numbers${view.conditional ? ", conditional on the trace" : ""}`].filter(Boolean).join(". ");
      if (!code.hidden) code.textContent = python();
      const verdict = words.verdict(view);
      said.replaceChildren(...(verdict ? [made("strong", {}, verdict), " "] : []), words.sentence(view, at));
      breaks.textContent = [words.best(view), words.breaks(view, at)].filter(Boolean).join(" ");
      over.textContent = words.overload(view);
      both.hidden = !kept;
      if (kept) {
        beside.textContent = words.against(controls, kept, { view, state: at });
        pair.replaceChildren(besides(kept.view, view));
      }
      clearTimeout(quiet); // read out once the controls rest
      quiet = setTimeout(speak, QUIET_MS);
    }

    /* What moved; whether bins help; B beside A; overload: of these a reader of screens hears what is new. */
    function speak() {
      const after = { view, state: at }, verdict = words.verdict(view);
      const says = [before ? words.changed(controls, before, after) : words.sentence(view, at), verdict, kept ? beside.textContent : "", over.textContent];
      says.forEach((part, place) => { if (heard.children[place].textContent !== part) heard.children[place].textContent = part; });
      spoken = after;
    }

    /* Moves that are not a reader's hand: from a link, or from Python. */
    function adopt(values, remarks = "") {
      for (const [name, value] of Object.entries(values)) if (inputs[name]) { state[name] = value; inputs[name].put(value); }
      remark.textContent = remarks;
      waiting = { ...state };
      if (!open) next();
    }

    return { show, follow, refuse, adopt, compare, positions, say: (text) => { remark.textContent = text; }, state };
  }

  return { mount, nearest, save };
})();
