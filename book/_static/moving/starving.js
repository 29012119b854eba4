/* A controller of batch sizes, fed with a clock of the reader's choice: its cap and the queue, while requests arrive.

   `about` is `book.chapters.sla_paper.moving.given`. */
const movingStarving = (() => {
  "use strict";
  const FALLEN = 0.9, TALL = 92, STEPS = [1, 2, 2.5, 5, 10];
  const FED = { step: "the times of its steps", service: "service times", latency: "end-to-end times" };
  const RULES = { paper: "the paper's", printed: "as printed", original: "the original's", aimd: "additive increase" };
  const percent = (share) => `${Math.round(100 * share)} %`, at = (value) => Math.round(value * 10) / 10;
  const statics = new Map();

  /* One run: completions in the second half of the time in which requests arrive, decisions, samples. */
  function run(call, { gaps, gap_unit: unit, outputs, most_rps: most, engine: numbers, law, rows }, seats, given, load, waiting) {
    const count = gaps.length + waiting, arrival_s = new Float64Array(count), output = BigInt64Array.from(outputs.slice(outputs.length - count), BigInt);
    let sum = 0;
    gaps.forEach((gap, place) => { sum += gap; arrival_s[waiting + place] = (sum * unit) / (load * most); });
    const floats = () => new Float64Array(count), completion = floats(), counted = new BigInt64Array(3);
    const [decided, sampled] = [rows.decided, rows.sampled].map(([many, wide]) => new Float64Array(many * wide));
    call("engine", Float64Array.from([seats, ...numbers.slice(1)]), Float64Array.from(law), Float64Array.from(given.controller), Float64Array.from(given.rules), arrival_s,
      new BigInt64Array(count), output, new BigInt64Array(0), new Float64Array(0), floats(), floats(), floats(), completion, decided, sampled, counted);
    const end_s = arrival_s[count - 1];
    const pairs = (of, wide, many, column) => Array.from({ length: Number(many) }, (_, row) => [of[row * wide], of[row * wide + column]]).filter(([time]) => time <= end_s);
    return {
      end_s, done: completion.reduce((total, time) => total + Number(time > end_s / 2 && time <= end_s), 0),
      caps: pairs(decided, rows.decided[1], counted[1], 1), queue: pairs(sampled, rows.sampled[1], counted[2], 2),
    };
  }

  function simulate({ load, feedback, rule, start }, { call }, about) {
    const waiting = start === "backlog" ? about.backlog : 0, key = `${load} ${waiting}`;
    if (!statics.has(key)) statics.set(key, run(call, about, about.cap, { controller: [], rules: [] }, load, waiting).done);
    const found = run(call, about, about.engine[0], about.controllers[`${rule} ${feedback}`], load, waiting), last = (line) => line[line.length - 1][1];
    return { ...found, kept: found.done / statics.get(key), last: last(found.caps), waits: last(found.queue) };
  }

  /* A line of steps, at most three points a pixel: of what falls on one the least, the most and the last. */
  function line(points, x, y) {
    const columns = new Map();
    for (const [time, value] of points) {
      const place = Math.round(x(time)), [low, high] = columns.get(place) || [value, value];
      columns.set(place, [Math.min(low, value), Math.max(high, value), value]);
    }
    return [...columns].map(([place, [low, high, last]], row) => `${row ? "L" : "M"}${place} ${at(y(low))}V${at(y(high))}V${at(y(last))}`).join("");
  }

  function ticks(most, many) {
    const rough = most / many, ten = 10 ** Math.floor(Math.log10(rough)), step = ten * STEPS.find((one) => one * ten >= rough);
    return Array.from({ length: Math.floor(most / step) + 1 }, (_, place) => place * step);
  }

  function draw(svg, view, { about, width }) {
    const left = 44, right = width - 8, x = (time) => left + (time / view.end_s) * (right - left);
    const panels = [["Batch cap", view.caps, about.cap], ["Requests waiting", view.queue, 0]].map(([title, points, limit], place) => {
      const top = 22 + place * (TALL + 32), bottom = top + TALL, most = 1.05 * Math.max(10, limit, ...points.map(([, value]) => value)), y = (value) => bottom - (value / most) * TALL;
      const grid = ticks(most, 3).map((tick) => `<path class="grid" d="M${left} ${at(y(tick))}H${right}"/><text class="tick end" x="${left - 5}" y="${at(y(tick)) + 4}">${tick}</text>`);
      const aim = limit ? `<path class="deadline" d="M${left} ${at(y(limit))}H${right}"/><text class="end" x="${right}" y="${at(y(limit)) + (y(limit) < top + 20 ? 14 : -5)}">meets the deadline: ${limit}</text>` : "";
      return `<text class="title" x="${left}" y="${top - 8}">${title}</text>${grid.join("")}<g class="bins"><path class="line" d="${line(points, x, y)}"/></g>${aim}`;
    });
    const bottom = 22 + 2 * TALL + 32;
    const times = ticks(view.end_s, width < 500 ? 4 : 8).map((tick) => `<text class="tick" x="${at(x(tick))}" y="${bottom + 16}">${tick}</text>`);
    svg.innerHTML = `${panels.join("")}<path class="axis" d="M${left} ${bottom}H${right}"/>${times.join("")}<text x="${(left + right) / 2}" y="${bottom + 33}">Time (s)</text>`;
    return bottom + 40;
  }

  function sentence({ kept, last, waits }, { about, values: { feedback, load } }) {
    const outcome = kept < FALLEN ? "it starves" : "it keeps up";
    return `Fed with ${FED[feedback]} at ${percent(load)} load: ${outcome}, with ${percent(kept)} of what a static cap of ${about.cap} completes; at the end the cap is ${last} and ${waits} wait.`;
  }

  const controls = ({ backlog }) => [
    { name: "feedback", label: "Fed with", kind: "choice", choices: { step: "step times", service: "service times", latency: "end-to-end times" }, value: "latency" },
    { name: "start", label: "Starts", kind: "choice", choices: { empty: "empty", backlog: `with ${backlog} waiting` }, value: "backlog" },
    { name: "rule", label: "Rule", kind: "choice", choices: RULES, value: "paper" },
    { name: "load", label: "Load", kind: "range", low: 0.1, high: 0.95, step: 0.05, value: 0.5, shown: percent },
  ];

  const alt = (view, at) => `Batch cap and queue over ${Math.round(view.end_s)} s. ${sentence(view, at)}`;
  return { alt, controls, draw, sentence, simulate };
})();
moving.figure("starving", movingStarving);
