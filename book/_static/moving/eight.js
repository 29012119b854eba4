/* The first chapter's requests, three ways: what a GPU's places do, who waits, and a play head under the reader's hand. */
moving.figure("eight", (() => {
  "use strict";
  const { mark, made, listed } = moving;
  const PLACE = 28, QUEUE = 14, AXIS = 34, TOP = 16, PLAYS_S = 10, STILL_MS = 1000, CLOSE = 1e-9;
  const NAMES = { static: "Static batches", bins: "Bins", engine: "Engine" };
  let time = Infinity, shown = null, hand = null, clock = null, isPlaying = false;

  const seconds = (time_s) => `${time_s.toFixed(2)} s`, plural = (rows) => (rows.length > 1 ? "requests" : "request");
  const requests = (rows) => `${plural(rows)} ${listed(rows)}`, does = (rows, verb) => (rows.length > 1 ? verb : `${verb}s`);
  const numbersOf = (rows) => rows.map((row) => row.request), late = (rows) => rows.filter((row) => row.late);
  const first = (text) => text[0].toUpperCase() + text.slice(1);

  function controls({ tokens, places, controllers, deadline_s, edge }) {
    const later = Math.floor(tokens.length / 2) + 1, most = Math.max(250, ...tokens), box = "Lengths in tokens, and a deadline of your own";
    const comes = later < tokens.length ? `${later} to ${tokens.length} later by` : `${later} later by`;
    return [
      { name: "system", kind: "choice", label: "Served in", choices: { static: "static batches", bins: "bins", engine: "an engine" }, value: "static" },
      { name: "places", kind: "range", label: "Places", low: 1, high: controllers.length, step: 1, value: places, shown: (count) => `${count}` },
      { name: "later_s", kind: "range", label: comes, low: 0, high: 3, step: 0.1, value: 0, shown: (time_s) => `${time_s.toFixed(1)} s` },
      { name: "bins", kind: "range", label: "Bins", low: 2, high: 4, step: 1, value: 2, shown: (count) => (count === 2 ? "2" : `${count}, filled alike`), when: ({ system }) => system === "bins" },
      { name: "edge", kind: "range", label: "Bins' edge", low: 1, high: most, step: 1, value: edge, shown: (length) => `${length} tokens`, when: ({ system, bins }) => system === "bins" && bins === 2 },
      { name: "deadline_s", kind: "range", label: "Deadline", low: 0.1, high: Math.max(5, deadline_s), step: 0.1, value: deadline_s, shown: (time_s) => `${time_s.toFixed(1)} s`, within: box },
      ...tokens.map((length, place) => ({ name: `tokens_${place + 1}`, kind: "range", label: `Request ${place + 1}`, low: 1, high: most, step: 1, value: length, within: box })),
    ];
  }

  /* What becomes of each request in each system, by the library's kernels. */
  function simulate(values, library, about) {
    const { places, bins, edge, later_s, deadline_s } = values, { law, budget } = about;
    const output = about.tokens.map((_, place) => values[`tokens_${place + 1}`]), half = Math.floor(output.length / 2);
    const table = { output, arrival_s: output.map((_, place) => (place < half ? 0 : later_s)) };
    const { numbers, memory } = about.controllers[places - 1], bounds = bins === 2 ? [edge] : [];
    const ways = {
      static: { policy: "static_fifo", numbers: [places], law },
      bins: { policy: "multi_bin_dynamic", numbers, controller: memory, bins, bounds, law },
      engine: { policy: "dynamic_no_bins", continuous: true, places, budget, law },
    };
    return Object.fromEntries(Object.entries(ways).map(([system, how]) => {
      const { start, completion } = library.serve(how, table);
      return [system, placed(output.map((length, place) => ({
        request: place + 1, tokens: length, arrival: table.arrival_s[place], start: start[place], worked: start[place] + about.step_s * length,
        completion: completion[place], late: completion[place] > table.arrival_s[place] + deadline_s,
      })))];
    }));
  }

  /* The lowest place that is free for each, and a line of its own while it waits. */
  function placed(rows) {
    const inOrder = [...rows].sort((a, b) => a.start - b.start || a.request - b.request);
    const give = (name, from, until, those) => {
      const free = [];
      for (const row of those) {
        let place = 0;
        while ((free[place] ?? -Infinity) > row[from] + CLOSE) place += 1;
        free[place] = row[until];
        row[name] = place + 1;
      }
    };
    give("place", "start", "completion", inOrder);
    give("line", "arrival", "start", rows.filter((row) => row.start > row.arrival + CLOSE));
    return rows;
  }

  const endOf = (rows) => Math.max(...rows.map((row) => row.completion));
  const events = (rows) => [...new Set(rows.flatMap((row) => [row.arrival, row.start, row.worked, row.completion]).map((at) => Math.round(at * 1e6) / 1e6))].sort((a, b) => a - b);

  function draw(svg, found, { values, width }) {
    const rows = found[values.system], ends = endOf(rows), every = Object.values(found).flat();
    shown = { rows, ends, left: width < 480 ? 16 : 60, width: width - 14 };
    shown.last = Math.max(endOf(every), values.deadline_s) * 1.04;
    const now = Math.min(time, ends), x = (at) => shown.left + (at / shown.last) * (shown.width - shown.left);
    const bottom = TOP + values.places * PLACE, lines = Math.max(0, ...every.map((row) => row.line || 0)), height = bottom + lines * QUEUE + (lines ? 20 : 6);
    const side = { x: shown.left - 6, class: "tick end" };
    for (let place = 0; place < values.places; place++) {
      mark(svg, "rect", { class: "empty", x: x(0), y: TOP + place * PLACE, width: x(ends) - x(0), height: PLACE - 4 });
      mark(svg, "text", { ...side, y: TOP + place * PLACE + 16 }, width < 480 ? place + 1 : `place ${place + 1}`);
    }
    if (lines) mark(svg, "text", { class: "tick start", x: width < 480 ? x(0) : 0, y: bottom + 12 }, "waiting");
    mark(mark(svg, "clipPath", { id: "moving-eight-past" }), "rect", { x: 0, y: 0, width: x(now), height });
    bars(mark(svg, "g", { class: "future" }), rows, x, bottom + 18);
    bars(mark(svg, "g", { "clip-path": "url(#moving-eight-past)" }), rows, x, bottom + 18);
    axis(svg, x, height);
    crosses(svg, rows, x, now);
    const isSplit = rows.some((row) => row.arrival > 0);
    for (const came of new Set(rows.map((row) => row.arrival))) {
      mark(svg, "path", { class: "deadline", d: `M${x(came + values.deadline_s)} ${TOP - 4}V${height}` });
      mark(svg, "text", { class: "late end", x: x(came + values.deadline_s) - 4, y: TOP - 5 }, isSplit ? `deadline of ${came ? "those later" : "the first"}` : "deadline");
    }
    mark(svg, "path", { class: "head", d: `M${x(now)} ${TOP - 4}V${height + 4}` });
    mark(svg, "circle", { class: "head", cx: x(now), cy: height + 4, r: 6 });
    compare(found, now);
    return height + AXIS;
  }

  function bars(group, rows, x, queue) {
    for (const row of rows) {
      const y = TOP + (row.place - 1) * PLACE, worked = x(row.worked) - x(row.start), kept = x(row.completion) - x(row.worked);
      const length = `${row.tokens} tokens`, name = worked > 100 ? `${row.request}: ${length}` : worked > 8 ? row.request : "";
      mark(group, "rect", { class: "work", x: x(row.start), y, width: worked, height: PLACE - 4 });
      mark(group, "text", { class: "work", x: x(row.start) + worked / 2, y: y + 16 }, name);
      if (kept > 0.5) mark(group, "rect", { class: "kept", x: x(row.worked), y, width: kept, height: PLACE - 4 });
      if (kept > 70) mark(group, "text", { class: "kept", x: x(row.worked) + kept / 2, y: y + 16 }, name === "" ? `${row.request}: ${length}` : length);
      if (!row.line) continue;
      const waited = x(row.start) - x(row.arrival), top = queue + (row.line - 1) * QUEUE;
      mark(group, "rect", { class: "waits", x: x(row.arrival), y: top, width: waited, height: QUEUE - 2 });
      mark(group, "text", { class: "waits", x: x(row.arrival) + waited / 2, y: top + 10 }, waited > 8 ? row.request : "");
    }
  }

  function crosses(svg, rows, x, now) {
    for (const row of late(rows)) mark(svg, "path", { class: row.completion > now + CLOSE ? "late future" : "late", d: `M${x(row.completion) + 4} ${TOP + (row.place - 1) * PLACE + 7}l10 10m0 -10l-10 10` });
  }

  function axis(svg, x, height) {
    const step = [0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 50, 100].find((one) => (shown.width - shown.left) * (one / shown.last) >= 44) || 500;
    mark(svg, "path", { class: "axis", d: `M${x(0)} ${height}H${shown.width}` });
    for (let at = 0; at <= shown.last; at += step) mark(svg, "text", { class: "tick", x: x(at), y: height + 24 }, `${Math.round(at * 100) / 100}${at === 0 ? " s" : ""}`);
  }

  /* The sentence: what has just happened, and what holds until the next event. */
  function sentence(found, { values }) {
    const { rows, ends } = shown, now = Math.min(time, ends);
    if (now > ends - CLOSE) return closing(rows, ends, values);
    const at = events(rows).filter((one) => one <= now + 1e-6).pop() ?? 0, is = (time_s) => Math.abs(time_s - at) < 1e-6, before = (time_s) => time_s < at + 1e-6;
    const of = (test) => numbersOf(rows.filter(test));
    const come = of((row) => at > 0 && is(row.arrival)), leave = of((row) => is(row.completion)), enter = of((row) => is(row.start));
    const kept = rows.filter((row) => before(row.worked) && !before(row.completion)), busy = rows.filter((row) => before(row.start) && !before(row.completion));
    const work = numbersOf(busy.filter((row) => !before(row.worked))), waiting = of((row) => before(row.arrival) && !before(row.start));
    const parts = [], empty = values.places - busy.length, who = (rows) => (parts.length ? listed(rows) : requests(rows));
    if (come.length) parts.push(`${who(come)} ${does(come, "arrive")}`);
    if (leave.length) parts.push(`${who(leave)} ${does(leave, "leave")}${enter.length ? `, and ${listed(enter)} ${does(enter, "come")} in` : ""}`);
    else if (enter.length) parts.push(`${who(enter)} ${does(enter, "come")} in`);
    if (kept.length) parts.push(`${who(numbersOf(kept))} ${kept.length > 1 ? "are done, and their places are" : "is done, and its place is"} kept until ${seconds(kept[0].completion)}`);
    if (work.length && String(work) !== String(enter)) parts.push(`${who(work)} ${work.length > 1 ? "are" : "is"} at work`);
    if (waiting.length) parts.push(`${who(waiting)} ${does(waiting, "wait")}${empty ? `, though ${empty > 1 ? `${empty} places are` : "a place is"} empty` : ""}`);
    if (!busy.length && !waiting.length) parts.push("nobody is there, and the GPU is idle");
    return `At ${seconds(at)} ${parts.join("; ")}.`;
  }

  function closing(rows, ends, { system }) {
    const kept = sum(rows, (row) => row.completion - row.worked), share = kept / (kept + sum(rows, (row) => row.worked - row.start)), missed = numbersOf(late(rows));
    const name = { static: "Static batches are", bins: "Bins are", engine: "The engine is" }[system];
    const places = kept < CLOSE ? "no place was kept by a request that was done" : `requests that were done kept ${Math.round(100 * share)} % of the places' time`;
    return `${name} through at ${seconds(ends)}: ${missed.length ? `${requests(missed)} ${missed.length > 1 ? "are" : "is"} late` : "nobody is late"}, and ${places}.`;
  }

  const sum = (rows, of) => rows.reduce((total, row) => total + of(row), 0);

  function compare(found, now) {
    const words = Object.entries(found).map(([system, rows]) => `${NAMES[system].toLowerCase()} ${seconds(endOf(rows))}, ${late(rows).length || "none"} late`);
    hand.compared.textContent = `All three, until the last token: ${words.join("; ")}.`;
    hand.range.max = Math.ceil(shown.ends * 100) / 100;
    hand.range.value = now;
    hand.told.textContent = seconds(now);
    hand.play.textContent = isPlaying ? "Pause" : "Play";
  }

  /* The play head. */
  function go(to) {
    time = to >= shown.ends - CLOSE ? Infinity : Math.max(0, to);
    hand.again();
    hand.range.setAttribute("aria-valuetext", hand.said.textContent);
  }

  const now = () => Math.min(time, shown.ends);
  const step = (forward) => { const all = events(shown.rows); go(forward ? all.find((at) => at > now() + 1e-6) ?? Infinity : all.filter((at) => at < now() - 1e-6).pop() ?? 0); };

  function play(isOn) {
    if (isOn === isPlaying || !shown) return;
    isPlaying = isOn;
    hand.quiet(isOn);
    clearTimeout(clock);
    cancelAnimationFrame(clock);
    if (!isOn) return go(now());
    if (time === Infinity) go(0);
    if (hand.isStill()) clock = setTimeout(hop, STILL_MS);
    else clock = requestAnimationFrame((since) => sweep(since, since));
    go(now());
  }

  function hop() {
    step(true);
    if (time === Infinity) return play(false);
    clock = setTimeout(hop, STILL_MS);
  }

  function sweep(since, at) {
    go(now() + ((at - since) / 1000 / PLAYS_S) * shown.ends);
    if (time === Infinity) return play(false);
    clock = requestAnimationFrame((next) => sweep(at, next));
  }

  function mounted(given) {
    const { section, svg } = given, bar = made(section.querySelector(".moving-stage"), "div", { class: "moving-buttons", role: "group", "aria-label": "Time" });
    svg.before(bar);
    const button = (text, press) => made(bar, "button", { type: "button" }, text).addEventListener("click", press);
    button("To the start", () => { play(false); go(0); });
    button("Back", () => { play(false); step(false); });
    button("Play", () => play(!isPlaying));
    button("Step", () => { play(false); step(true); });
    const range = made(bar, "input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": "Time", class: "moving-time" });
    hand = { ...given, range, told: made(bar, "output"), play: bar.children[2], said: section.querySelector(".moving-said") };
    const legend = made(section.querySelector(".moving-stage"), "p", { class: "moving-legend" });
    svg.after(legend);
    for (const [kind, text] of [["work", "work"], ["kept", "place kept by who is done"], ["waits", "waiting"], ["late", "late"]]) {
      const one = made(legend, "span");
      made(one, "span", { class: `swatch ${kind}`, "aria-hidden": "true" });
      one.append(text);
    }
    hand.compared = made(section.querySelector(".moving-stage"), "p", { class: "moving-compared" });
    range.addEventListener("input", () => { play(false); go(Number(range.value)); });
    section.addEventListener("keydown", (event) => {
      const { target, key } = event, isOwn = bar.contains(target);
      if (key === " " && (target === section || target.type === "range")) play(!isPlaying);
      else if (isOwn && (key === "ArrowRight" || key === "ArrowLeft")) { play(false); step(key === "ArrowRight"); }
      else return;
      event.preventDefault();
    });
    const drag = (event) => {
      const { left, width } = svg.getBoundingClientRect(), at = ((event.clientX - left) * svg.viewBox.baseVal.width) / width;
      play(false);
      go(((at - shown.left) / (shown.width - shown.left)) * shown.last);
    };
    svg.addEventListener("pointerdown", (event) => { if (!shown) return; svg.setPointerCapture(event.pointerId); drag(event); });
    svg.addEventListener("pointermove", (event) => svg.hasPointerCapture(event.pointerId) && drag(event));
  }

  const alt = (found, { values }) => `A row for each of ${values.places} places over ${seconds(endOf(found[values.system]))}, and below a line for each request that waits.`;
  return { controls, simulate, draw, sentence, alt, mounted };
})());
