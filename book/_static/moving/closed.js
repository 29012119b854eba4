/* Open against closed loops: how long the first token takes clients who wait for their answers, and open arrivals at the rate that they reach.

   `about` is `book.chapters.continuous.moving.about`. Every position is simulated on the same draws of requests. */
const movingClosed = (() => {
  "use strict";
  const LOOPS = { held: "clients who wait", openly: "open, at the same rate" };

  /* The same requests dealt in turn to clients, each of whom thinks after an answer; each row's own comes so many rows before. */
  function dealt(table, clients, think) {
    const count = table.arrival_s.length, arrival_s = new Float64Array(count);
    const previous = BigInt64Array.from({ length: count }, (_, row) => BigInt(row < clients ? -1 : row - clients));
    const think_s = Float64Array.from({ length: count }, (_, row) => (row < clients ? 0 : think));
    for (let row = clients; row < count; row++) arrival_s[row] = arrival_s[row - clients] + think;
    return { ...table, arrival_s, previous, think_s };
  }

  /* What answers a position, piece by piece: a generator whose last value is the answer. */
  function opened({ call, simulated }, about) {
    const kept = new Map(), { requests, draws, seed } = about, nobody = { previous: new BigInt64Array(0), think_s: new Float64Array(0) };
    const { low, high, step } = about.controls.find(({ name }) => name === "clients");
    const counts = Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, place) => low + step * place);
    const numbers = Float64Array.from(about.numbers), law = Float64Array.from(about.law), [from, to] = about.scored.map((part) => Math.round(part * requests));

    /* A run's throughput, and its first tokens' mean and 99th percentile, of the requests in its middle. */
    function seen(table) {
      const empty = (count = requests) => new Float64Array(count), counted = new BigInt64Array(3), none = empty(0);
      const came = empty(), start = empty(), first = empty(), completion = empty();
      call("engine", numbers, law, none, none, table.arrival_s, table.prompt, table.output, table.previous, table.think_s, came, start, first, completion, none, empty(4 * about.samples), counted);
      if (counted[0] !== 0n) throw new Error("the run came to no end");
      const done = completion.sort().subarray(from, to), wait = first.map((time, row) => time - came[row]).subarray(from, to);
      return { rate: (done.length - 1) / (done[done.length - 1] - done[0]), tail: moving.quantile(wait, 0.99), mean: wait.reduce((sum, one) => sum + one, 0) / wait.length };
    }

    function pair(clients, think) {
      const mean = (runs) => Object.fromEntries(Object.keys(runs[0]).map((part) => [part, runs.reduce((sum, run) => sum + run[part], 0) / draws]));
      const held = [], openly = [];
      for (let draw = 0; draw < draws; draw++) {
        const table = simulated.drawn({ workload: "synthetic", requests, seed, predictor: "oracle" }, draw), span = table.arrival_s[requests - 1] - table.arrival_s[0];
        held.push(seen(dealt(table, clients, think)));
        openly.push(seen({ ...simulated.atRate(table, (held[draw].rate * span) / (requests - 1)), ...nobody }));
      }
      return { clients, held: mean(held), openly: mean(openly) };
    }

    return function* (state) {
      const points = [];
      for (const clients of counts) {
        const key = `${clients} ${state.think}`;
        if (!kept.has(key)) kept.set(key, pair(clients, state.think));
        points.push(kept.get(key));
        yield null;
      }
      return { state, points, here: points.find(({ clients }) => clients === state.clients) };
    };
  }

  const at = (value) => Math.round(value * 10) / 10;
  const seconds = (value) => `${value.toFixed(value < 0.0995 ? 2 : 1)} s`;
  const TITLE = { tail: "99 % of first tokens come within (s)", mean: "Mean time to first token (s)" };
  const TICKS = [0.1, 1, 10], LEAST = 0.05, MOST = 20;

  /* Both loops by number of clients, logarithmic; above them what they come to at the reader's place. */
  function draw(svg, { state, points, here }, { width, about }) {
    const { measure } = state, left = 40, right = width - 12, top = 72, bottom = 272, last = points[points.length - 1].clients;
    const x = (clients) => left + 8 + ((clients - points[0].clients) / (last - points[0].clients)) * (right - left - 16);
    const y = (value) => bottom - (Math.log(Math.min(Math.max(value, LEAST), MOST) / LEAST) / Math.log(MOST / LEAST)) * (bottom - top);
    const lines = Object.keys(LOOPS).map((loop, place) => {
      const along = points.map((point) => `${at(x(point.clients))} ${at(y(point[loop][measure]))}`).join("L"), line = 32 + 18 * place;
      const marks = points.map((point) => moving.dot(x(point.clients), y(point[loop][measure]), point === here ? 5.5 : 2.5)).join("");
      return `<g class="${loop}" data-values="${points.map((point) => point[loop][measure]).join(",")}"><path class="line" d="M${along}"/><path class="dot" d="${marks}"/>` +
        `<path class="line" d="M0 ${line - 4}H30"/><text class="name plain" x="38" y="${line}">${LOOPS[loop]}: ${seconds(here[loop][measure])}</text></g>`;
    });
    const ticks = points.filter(({ clients }) => clients % 32 === 0 || clients === points[0].clients).map(({ clients }) => `<text class="tick" x="${at(x(clients))}" y="${bottom + 15}">${clients}</text>`);
    const places = x(about.places), isRight = places + 100 < right;
    svg.innerHTML = `<text class="title" x="0" y="12">${TITLE[measure]}</text>` +
      TICKS.map((value) => `<path class="grid" d="M${left} ${at(y(value))}H${right}"/><text class="tick end" x="${left - 5}" y="${at(y(value)) + 4}">${value}</text>`).join("") +
      `<path class="deadline" d="M${left} ${at(y(about.deadline_s))}H${right}"/><text class="late start" x="${left + 4}" y="${at(y(about.deadline_s)) - 5}">late</text>` +
      `<path class="grid" d="M${at(places)} ${top}V${bottom}"/><text class="tick ${isRight ? "start" : "end"}" x="${at(places) + (isRight ? 4 : -4)}" y="${bottom - 6}">a client a place</text>` +
      `<path class="here" d="M${at(x(here.clients))} ${top}V${bottom}"/>${lines.join("")}<path class="axis" d="M${left} ${bottom}H${right}"/>${ticks.join("")}` +
      `<text class="label" x="${(left + right) / 2}" y="${bottom + 31}">clients (means of ${about.draws} runs of ${about.requests} requests)</text>`;
    return bottom + 36;
  }

  const alt = ({ state, points }) => `${TITLE[state.measure]}, by number of clients. ${Object.entries(LOOPS).map(([loop, name]) => `${name}: ${points.map((point) => `${seconds(point[loop][state.measure])} with ${point.clients}`).join(", ")}`).join("; ")}.`;

  /* What the clients see at this rate, and what comes of it if nobody waits. */
  function sentence({ state, here }, { about }) {
    const { measure } = state, [held, openly] = [here.held[measure], here.openly[measure]], ratio = openly / held;
    const said = measure === "tail" ? "99 % of their first tokens come within" : "their first token takes on average";
    const times = `${ratio < 9.5 ? ratio.toFixed(1) : Math.round(ratio)} times as long`;
    const isQueue = here.held.tail > about.deadline_s;
    const verdict = ratio < 0.8 ? "less in a run so short, for the clients queue by their own number"
      : ratio <= 1.25 ? (isQueue ? "about the same, for now the clients queue too" : "about the same, for nobody would wait yet")
        : isQueue ? `${times}, though the clients queue too` : `${times}, in a queue that the clients' silence hides`;
    return `${here.clients} clients ${state.think ? `who think for ${state.think} s` : "who ask again at once"} are served ${here.held.rate.toFixed(1)} requests/s, and ${said} ${seconds(held)}. ` +
      `Open arrivals at that rate: ${seconds(openly)}, ${verdict}.`;
  }

  const SHOWN = { clients: String, think: (value) => (value ? `${value} s` : "not at all") };
  const controls = ({ controls: all, start }) => all.map((control) => ({ ...control, value: start[control.name], shown: SHOWN[control.name] }));

  let answer = null;
  const simulate = (state, library, about) => (answer ??= opened(library, about))(state);

  return { alt, controls, draw, sentence, simulate };
})();
moving.figure("closed", movingClosed);
