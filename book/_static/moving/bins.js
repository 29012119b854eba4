/* Bins on GPUs: who is late with bins and without them by number of GPUs, and what a request waits for.

   `about` is `book.chapters.capacity.moving.about`. Every position is simulated on the same draws of requests. */
const movingBins = (() => {
  "use strict";
  const ARMS = { none: "dynamic_no_bins", bins: "multi_bin_dynamic" };

  /* The edges of bins of equal mass, as `bins.equal_mass` has them, cut to integers. */
  function edgesOf(predicted, bins) {
    const ordered = Float64Array.from(predicted, Number).sort(), last = ordered.length - 1;
    return Array.from({ length: bins - 1 }, (_, edge) => {
      const place = ((edge + 1) / bins) * last, low = Math.floor(place), part = place - low;
      const below = ordered[low], above = ordered[Math.min(low + 1, last)];
      return Math.floor(part < 0.5 ? below + (above - below) * part : above - (above - below) * (1 - part));
    });
  }

  /* Mean seconds of a request: waiting while no GPU serves its bin, waiting otherwise, in its batch. */
  function partsOf(table, run, bins) {
    const count = table.arrival_s.length, edges = edgesOf(table.predicted, bins), lines = Array.from({ length: bins }, () => []);
    for (let row = 0; row < count; row++) {
      const length = Number(table.predicted[row]);
      lines[edges.reduce((line, edge) => line + Number(edge <= length), 0)].push(row);
    }
    const parts = { others: 0, own: 0, batch: 0 };
    for (const rows of lines) {
      const served = rows.map((row) => [run.start[row], run.completion[row]]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
      const starts = [], ends = [], before = []; // when a GPU serves this bin, and for how long until then
      for (const [start, end] of served) {
        const newest = starts.length - 1;
        if (newest >= 0 && start <= ends[newest]) ends[newest] = Math.max(ends[newest], end);
        else {
          before.push(newest < 0 ? 0 : before[newest] + ends[newest] - starts[newest]);
          starts.push(start);
          ends.push(end);
        }
      }
      const servedBy = (time) => {
        let low = 0, high = starts.length;
        while (low < high) {
          const middle = (low + high) >> 1;
          if (starts[middle] <= time) low = middle + 1;
          else high = middle;
        }
        return low ? before[low - 1] + Math.min(time, ends[low - 1]) - starts[low - 1] : 0;
      };
      for (const row of rows) {
        const came = table.arrival_s[row], start = run.start[row], own = servedBy(start) - servedBy(came);
        parts.own += (bins === 1 ? start - came : own) / count;
        parts.others += (bins === 1 ? 0 : start - came - own) / count;
        parts.batch += (run.completion[row] - start) / count;
      }
    }
    return parts;
  }

  /* What answers a position, piece by piece: a generator whose last value is the answer. */
  function opened({ call, contents }, about) {
    const kept = new Map(), weights = engine.bytesOf(contents.resamples), { draws, requests, deadline_s: deadline } = about, arms = Object.keys(ARMS);
    const systems = Object.fromEntries(Object.entries(about.caps).map(([cap, { numbers, controller }]) => {
      const policies = Object.fromEntries(Object.values(ARMS).map((name) => [name, { ...contents.policies[name], numbers }]));
      return [cap, simulator.started(call, { ...contents, controller, policies })];
    }));
    const first = Object.values(systems)[0];

    /* Late requests of each draw, and where its requests' time goes. */
    function runs(state, arm, gpus, isWhole) {
      const simulated = systems[state.cap], bins = arm === "bins" ? state.bins : 1;
      const given = { workload: "synthetic", requests, seed: about.seed, predictor: state.predictor, latency: about.latency, execution: "run_to_completion", bin_select: "round_robin", k_bins: bins, gpus, edges: "", max_seqs: 1, token_budget: 1 };
      return Array.from({ length: draws }, (_, draw) => {
        const table = first.atRate(first.drawn(given, draw), (state.rate * gpus) / about.rate_rps);
        const run = simulated.served(given, table, ARMS[arm], deadline, false);
        let late = 0;
        for (let row = 0; row < requests; row++) late += Number(!(run.completion[row] <= table.arrival_s[row] + deadline));
        return { late, ...(isWhole ? partsOf(table, run, bins) : {}) };
      });
    }

    function remembered(state, arm, gpus, isWhole = false) {
      const key = JSON.stringify([arm, state.rate, state.cap, gpus, isWhole, arm === "bins" && [state.bins, state.predictor]]);
      if (!kept.has(key)) {
        if (kept.size > 2000) kept.clear();
        const found = runs(state, arm, gpus, isWhole);
        kept.set(key, { found, ...shareOf(found) });
      }
      return kept.get(key);
    }

    function shareOf(found) {
      const limits = new Float64Array(5);
      call("share_interval", Float64Array.from(found, ({ late }) => late), new Float64Array(draws).fill(requests), weights, limits);
      return { share: limits[0], low: limits[1], high: limits[2] };
    }

    return function* (state) {
      const points = [], parts = {}, shares = {}, found = new Float64Array(3);
      for (const gpus of about.gpus) {
        const point = { gpus };
        for (const arm of arms) {
          point[arm] = remembered(state, arm, gpus);
          yield null;
        }
        points.push(point);
      }
      for (const arm of arms) {
        const here = remembered(state, arm, state.gpus, true).found, mean = (part) => here.reduce((sum, one) => sum + one[part], 0) / draws;
        shares[arm] = Float64Array.from(here, ({ late }) => late / requests);
        parts[arm] = { others: mean("others"), own: mean("own"), batch: mean("batch") };
        yield null;
      }
      call("difference", shares.bins, shares.none, found);
      return { state, points, parts, difference: { mean: found[0], low: found[1], high: found[2] } };
    };
  }

  const at = (value) => Math.round(value * 10) / 10;
  const scale = (low, high, from, to, bend = (value) => value) => (value) => from + ((bend(value) - bend(low)) / (bend(high) - bend(low) || 1)) * (to - from);
  const SHARES = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1];
  const spoken = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`, seconds = (value) => `${value.toFixed(1)} s`;
  const named = (bins) => `${bins} bins`, onGpus = (gpus) => `${gpus} GPU${gpus === 1 ? "" : "s"}`;
  const nameOf = (arm, bins) => (arm === "bins" ? named(bins) : "no bins");


  /* Two names beside the ends of two lines, pushed apart until neither hides the other. */
  function apart(one, other) {
    const push = Math.max(0, 14 - Math.abs(one - other)) / 2, sign = one <= other ? -1 : 1;
    return [one + sign * push, other - sign * push];
  }

  /* Late requests by number of GPUs, at the same load on each; where GPUs are fewer than bins the ground is shaded. */
  function byGpus({ state, points }, width) {
    const left = 42, right = width - 66, top = 40, bottom = 226, last = points[points.length - 1].gpus;
    const x = scale(1, last, left + 8, right - 8), y = scale(0, 1, bottom, top, Math.sqrt), fewer = Math.min(state.bins, last + 0.5) - 0.5;
    const here = points.find(({ gpus }) => gpus === state.gpus), arms = Object.keys(ARMS);
    const lines = arms.map((arm) => {
      const known = points.filter((point) => Number.isFinite(point[arm].low)), along = (part, of) => of.map((point) => `${at(x(point.gpus))} ${at(y(point[arm][part]))}`);
      const band = known.length > 1 ? `M${[...along("low", known), ...along("high", known).reverse()].join("L")}Z` : "";
      const marks = points.map((point) => moving.dot(x(point.gpus), y(point[arm].share), point === here ? 5 : 2.5)).join("");
      return `<g class="${arm}" data-arm="${arm}" data-shares="${points.map((point) => point[arm].share).join(",")}"><path class="band" d="${band}"/><path class="line" d="M${along("share", points).join("L")}"/><path class="dot" d="${marks}"/></g>`;
    });
    const ends = apart(...arms.map((arm) => y(points[points.length - 1][arm].share)));
    const names = arms.map((arm, place) => `<g class="${arm}"><text class="name" x="${right + 2}" y="${at(ends[place]) + 4}">${nameOf(arm, state.bins)}</text></g>`);
    const ticks = points.map(({ gpus }) => `<text class="tick" x="${at(x(gpus))}" y="${bottom + 15}">${gpus}</text>`);
    const shade = `<path class="ground" d="M${left} ${top}H${at(x(fewer))}V${bottom}H${left}Z"/>`;
    const isWide = x(fewer) - left > 140;
    return {
      height: bottom + 36,
      inside: `<text class="title" x="0" y="12">Late requests</text>${shade}<text class="tick start" x="${left}" y="${top - 6}">${isWide ? "← fewer GPUs than bins" : "← fewer than bins"}</text>` +
        SHARES.map((share) => `<path class="grid" d="M${left} ${at(y(share))}H${right}"/><text class="tick end" x="${left - 5}" y="${at(y(share)) + 4}">${100 * share} %</text>`).join("") +
        `<path class="here" d="M${at(x(state.gpus))} ${top}V${bottom}"/>${lines.join("")}${names.join("")}` +
        `<path class="axis" d="M${left} ${bottom}H${right}"/>${ticks.join("")}<text class="label" x="${(left + right) / 2}" y="${bottom + 31}">GPUs, each with ${state.rate} requests/s</text>`,
      says: `Late requests by number of GPUs. On ${onGpus(state.gpus)}: ${arms.map((arm) => `${nameOf(arm, state.bins)} ${spoken(here[arm].share)}`).join(", ")}.`,
    };
  }

  const PARTS = { others: "waits, every GPU serves other bins", own: "waits otherwise", batch: "in its batch" };

  /* Where a request's time goes, on average, at the position: a bar with bins and one without. */
  function byPart({ state, parts }, width) {
    const left = 6, right = width - 58, row = 54, high = 26, arms = Object.keys(ARMS), total = (arm) => Object.values(parts[arm]).reduce((sum, part) => sum + part, 0);
    const x = scale(0, Math.max(...arms.map(total)), left, right), id = `hatch-${state.bins}-${Math.round(width)}`;
    const bars = arms.map((arm, place) => {
      const top = row * place + 46;
      let from = 0;
      const pieces = Object.entries(parts[arm]).map(([part, length]) => {
        const [start, end] = [x(from), x((from += length))], wide = end - start;
        const number = wide > 24 && part !== "others" ? `<text class="${part === "batch" ? "on" : "in"}" x="${at((start + end) / 2)}" y="${top + 17}">${length.toFixed(1)}</text>` : "";
        const fill = part === "others" ? `style="fill:url(#${id})"` : "";
        return `<path class="part ${part}" ${fill} d="M${at(start)} ${top}H${at(end)}V${top + high}H${at(start)}Z"/>${number}`;
      });
      return `<g class="${arm}" data-arm="${arm}-parts" data-parts="${Object.values(parts[arm]).join(",")}">${arm === "bins" ? hatch(id) : ""}<text class="name" x="${left}" y="${top - 6}">${nameOf(arm, state.bins)}</text>${pieces.join("")}<text class="name" x="${at(x(from)) + 5}" y="${top + 17}">${seconds(from)}</text></g>`;
    });
    const base = row * arms.length + 54;
    const key = Object.entries(PARTS).map(([part, words], place) => {
      const top = base + 20 * place, number = part === "others" ? `: ${seconds(parts.bins.others)}` : "";
      const fill = part === "others" ? `style="fill:url(#${id})"` : "";
      return `<g class="bins"><path class="part ${part}" ${fill} d="M${left} ${top - 10}h14v12h-14z"/><text class="name${part === "others" ? "" : " plain"}" x="${left + 22}" y="${top}">${words}${number}</text></g>`;
    });
    return {
      height: base + 56,
      inside: `<text class="title" x="0" y="12">A request on ${onGpus(state.gpus)}, mean seconds</text>${bars.join("")}${key.join("")}`,
      says: `Seconds of a request on average on ${onGpus(state.gpus)}. ${arms.map((arm) => `${nameOf(arm, state.bins)}: ${Object.entries(PARTS).filter(([part]) => arm === "bins" || part !== "others").map(([part, words]) => `${words} ${seconds(parts[arm][part])}`).join(", ")}`).join("; ")}.`,
    };
  }

  const hatch = (id) => `<defs><pattern id="${id}" patternUnits="userSpaceOnUse" width="7" height="7" patternTransform="rotate(45)"><path class="hatch" d="M2 0V7"/></pattern></defs>`;

  const GAP = 24, BESIDE = 620; // pixels between both pictures, and from which width they stand side by side

  function draw(svg, found, { width }) {
    const isBeside = width >= BESIDE, each = isBeside ? (width - GAP) / 2 : width;
    const [left, right] = [byGpus(found, each), byPart(found, each)];
    const [x, y] = isBeside ? [each + GAP, 0] : [0, left.height + 8];
    svg.innerHTML = `${left.inside}<g transform="translate(${x} ${y})">${right.inside}</g>`;
    return Math.max(left.height, y + right.height);
  }

  const alt = (found, { width }) => `${byGpus(found, width).says} ${byPart(found, width).says}`;

  /* Whether bins help here, and what they wait for. */
  function sentence({ state, points, parts, difference }) {
    const here = points.find(({ gpus }) => gpus === state.gpus), { mean, low, high } = difference;
    const signed = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}`;
    const verdict = low > 0 ? "bins hurt" : high < 0 ? "bins help" : mean === 0 ? "bins change nothing" : "no difference is established";
    return `${named(state.bins)} on ${onGpus(state.gpus)}, ${state.rate} requests/s on each: ${spoken(here.bins.share)} late instead of ${spoken(here.none.share)} without bins, ${verdict} ` +
      `(${signed(mean)} points, 95 % interval ${signed(low)} to ${signed(high)}). A request waits ${seconds(parts.bins.others + parts.bins.own)}, ${seconds(parts.bins.others)} of it while every GPU serves other bins.`;
  }

  const controls = ({ controls: all, start }) => all.map((control) => ({ ...control, value: start[control.name], shown: (value) => `${value} ${control.unit}`.trim() }));

  let answer = null;
  const simulate = (state, library, about) => (answer ??= opened(library, about))(state);

  return { alt, controls, draw, edgesOf, sentence, simulate };
})();
moving.figure("bins", movingBins);
