/* From a position of the controls to what its views draw, as `book.explorer.views` makes it in Jupyter, by the kernels. */
const simulator = (() => {
  "use strict";
  const KEPT = 64;
  const NOTES = ["b_mem", "b_sla", "b_low", "b_high"];

  class Refusal extends Error {}
  const refuse = (text) => { throw new Refusal(text); };

  /* What answers: `view` at once, and `following`, piece by piece. */
  function started(call, about) {
    const kept = new Map(), streams = new BigUint64Array(engine.bytesOf(about.streams).buffer), weights = engine.bytesOf(about.resamples);
    const streamsOf = (seed) => ({ data: streams.slice(36 * seed, 36 * seed + 36), shape: [9, 4] });
    const { views, policies, dynamic } = about, isSteered = (state, scheduler) => policies[scheduler].number === dynamic && state.execution !== "continuous";
    let own = null;

    function lawOf(state) {
      const known = about.laws[state.latency], isContinuous = state.execution === "continuous";
      if (known) return known;
      const parts = String(state.latency).split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
      const expected = isContinuous ? "a,b,c,d or alpha,beta,gamma in seconds" : "alpha,beta,gamma in seconds";
      if (!(parts.length === 3 || (isContinuous && parts.length === 4)) || parts.some((part) => !Number.isFinite(part))) refuse(`latency: '${state.latency}' (expected a preset, or ${expected})`);
      if (parts.some((part) => part < 0)) refuse(`latency: '${state.latency}' (expected ${expected}, none below 0)`);
      if (parts.length === 4) return { step: [...parts, 0] };
      const [alpha, beta, gamma] = parts, floor = about.laws["original-synthetic"].batch[3];
      return { batch: [alpha, beta, gamma, floor, about.affine], step: [beta * (1 + gamma), 0, beta, 0, 0] };
    }

    /* The inner edges of bins that a text lists, tokens. */
    function edgesOf({ edges }) {
      const parts = edges.trim() === "" ? [] : edges.split(","), found = parts.map((part) => (part.trim() === "" ? NaN : Number(part))), most = about.views.k_bins.at(-1);
      if (found.some((edge, place) => !(edge > (place ? found[place - 1] : 0) && edge < Infinity)) || found.length >= most)
        refuse(`edges: '${edges}' (expected fewer than ${most} numbers above 0 between commas, each above the one before)`);
      return found;
    }

    function check(state) {
      for (const control of about.controls) {
        const value = state[control.name];
        if (control.kind === "number") {
          const whole = Number.isInteger(control.step), inside = (whole ? Number.isInteger(value) : Number.isFinite(value)) && value >= control.low && value <= control.high;
          if (!inside) refuse(`${control.name}: ${value} (expected ${whole ? "a whole number" : "a number"} from ${control.low} to ${control.high})`);
        } else if (control.kind === "choice" && control.choices[value] === undefined && control.name !== "latency") {
          refuse(`${control.name}: '${value}' (expected one of ${Object.keys(control.choices).join(", ")})`);
        }
      }
      edgesOf(state);
      if (!state.schedulers.length) refuse("schedulers: none (expected at least one)");
      if (state.workload === "own" && !own) refuse("workload: own requests, of which there are none (drop a file on the page first)");
    }

    /* The requests of one replication at their own rate; those that were drawn last are kept. */
    function drawn(state, replication) {
      const key = JSON.stringify([state.workload, state.requests, state.seed + replication, state.predictor, own && own.name]);
      if (kept.has(key)) return kept.get(key);
      const seed = state.seed + replication, count = state.workload === "own" ? Math.min(state.requests, own.arrival_s.length) : state.requests;
      let table;
      if (state.workload === "own") {
        table = { arrival_s: own.arrival_s.slice(0, count), prompt: own.prompt.slice(0, count), output: own.output.slice(0, count) };
      } else {
        const { number, about: given, rate } = about.workloads[state.workload];
        table = { arrival_s: new Float64Array(count), prompt: new BigInt64Array(count), output: new BigInt64Array(count) };
        call("draw", number, seed, streamsOf(seed), new Float64Array([rate, ...given]), table.arrival_s, table.prompt, table.output);
      }
      const [kind, sigma] = state.predictor.split("_");
      if (kind === "own") {
        if (!own || !own.predicted) refuse("predictor: the table's own (expected a table with predicted_output_tokens)");
        table.predicted = own.predicted.slice(0, count);
      } else {
        table.predicted = new BigInt64Array(count);
        call("predict", about.predictors[kind], Number(sigma || 0), seed, streamsOf(seed), table.prompt, table.output, table.predicted);
      }
      kept.set(key, table);
      if (kept.size > KEPT) kept.delete(kept.keys().next().value);
      return table;
    }

    const atRate = (table, load) => ({ ...table, arrival_s: table.arrival_s.map((time) => time / load) });

    /* One run: each request's times, batches or samples, and the summary. */
    function served(state, table, scheduler, dSla, isSummarised = true) {
      const { number, numbers } = about.policies[scheduler], count = table.arrival_s.length, isContinuous = state.execution === "continuous";
      const own = Float64Array.from(numbers), law = lawOf(state), notes = isSteered(state, scheduler) ? count : 0;
      if (notes) own[about.deadline] = dSla;
      const bins = scheduler === "shortest_predicted_first" ? about.lines_of_shortest : scheduler.startsWith("multi") ? state.k_bins : 1;
      const rows = isContinuous ? views.samples * state.gpus : count;
      const run = {
        start: new Float64Array(count), first: new Float64Array(count), completion: new Float64Array(count),
        batchStart: new Float64Array(rows), batchEnd: new Float64Array(rows),
        size: new BigInt64Array(rows), gpu: new BigInt64Array(rows),
        notes: { data: new Float64Array(notes * about.notes), shape: [notes, about.notes] },
        counted: new BigInt64Array(3), totals: new Float64Array(5), numbers: new Float64Array(isSummarised ? about.summary.length : 0),
      };
      call("run", Number(isContinuous), number, about.selects[scheduler === "multi_bin_fixed" ? "oldest_head" : state.bin_select], bins, state.gpus, Float64Array.from(scheduler.startsWith("multi") ? edgesOf(state) : []),
        isContinuous ? Float64Array.of(numbers[0], numbers[1] ?? 0) : own, Float64Array.from(about.controller), Float64Array.of(state.max_seqs, state.token_budget, ...about.engine),
        Float64Array.from(isContinuous ? law.step : law.batch), about.capacity_tokens, dSla,
        table.arrival_s, table.prompt, table.output, table.predicted, run.start, run.first, run.completion,
        run.batchStart, run.batchEnd, run.size, run.gpu, run.notes, run.counted, run.totals, run.numbers);
      if (run.counted[0] !== 0n) refuse(`latency: '${state.latency}' (the run came to no end: ${["", "requests wait for ever", "a decision out of range", "a time below 0 or without end"][Number(run.counted[0])]})`);
      run.batches = Number(run.counted[1]);
      return run;
    }

    function summaryOf(run) {
      return Object.fromEntries(about.summary.map((key, place) => {
        const value = run.numbers[place];
        return [key, key === "stability" ? about.labels[value] : Number.isFinite(value) ? value : null];
      }));
    }

    /* How many requests have which latency, in bins of a quarter of a doubling from the deadline. */
    function counts(table, run, dSla) {
      const rows = table.arrival_s.length, places = new Int32Array(rows), least = dSla * 1e-4;
      let kept = 0, first = Infinity, last = -Infinity;
      for (let row = 0; row < rows; row++) {
        const end = run.completion[row], came = table.arrival_s[row];
        if (end !== end) continue; // rejected
        const place = Math.ceil(views.octave * Math.log2(Math.max(end - came, least) / dSla)) - 1, kind = end > came + dSla ? Math.max(place, 0) : Math.min(place, -1);
        places[kept++] = kind;
        if (kind < first) first = kind;
        if (kind > last) last = kind;
      }
      if (!kept) return { first: 0, counts: [0] };
      const found = new Array(last - first + 1).fill(0);
      for (let one = 0; one < kept; one++) found[places[one] - first] += 1;
      return { first, counts: found };
    }

    const median = (values) => { const ordered = Float64Array.from(values).sort(), half = ordered.length / 2; return ordered.length % 2 ? ordered[Math.floor(half)] : (ordered[half - 1] + ordered[half]) / 2; };

    function windowOf(state, table, runs) {
      const middle = table.arrival_s[Math.floor(table.arrival_s.length / 2)];
      let width = (views.samples_shown * (table.arrival_s[table.arrival_s.length - 1] - table.arrival_s[0])) / views.samples;
      if (state.execution !== "continuous") width = views.batches_shown * Math.max(...runs.map((run) => median(Array.from({ length: run.batches }, (_, i) => run.batchEnd[i] - run.batchStart[i]))));
      return [middle, middle + Math.max(width, 1e-3)];
    }

    function overTime(state, run, [low, high]) {
      const order = Array.from({ length: run.batches }, (_, i) => i), series = { time_s: [], size: [] }, blocks = { start_s: [], end_s: [], gpu: [], size: [] };
      if (state.execution === "continuous") order.sort((a, b) => run.batchStart[a] - run.batchStart[b]);
      if (!order.length) return { series: {}, blocks: {} };
      const width = Math.max(run.batchStart[order[order.length - 1]], 1e-9) / views.buckets, [noted, columns] = run.notes.shape;
      let bucket = -1, within = 0;
      if (noted) Object.assign(series, { low: [], target: [], high: [] });
      for (const place of order) {
        const now = Math.min(Math.floor(run.batchStart[place] / width), views.buckets - 1), size = Number(run.size[place]);
        const [bMem, bSla, bLow, bHigh] = NOTES.map((_, column) => run.notes.data[place * columns + column]);
        if (now !== bucket) {
          [bucket, within] = [now, 0];
          series.time_s.push(run.batchStart[place]);
          series.size.push(0);
          if (noted) { series.low.push(bLow); series.target.push(Math.min(bMem, bSla)); series.high.push(bHigh); }
        }
        const last = series.size.length - 1;
        series.size[last] = (series.size[last] * within + size) / (within + 1);
        within += 1;
        if (noted) { series.low[last] = Math.min(series.low[last], bLow); series.high[last] = Math.max(series.high[last], bHigh); }
        if (run.batchEnd[place] > low && run.batchStart[place] < high && size > 0 && blocks.gpu.length < views.most_blocks) {
          blocks.start_s.push(run.batchStart[place]); blocks.end_s.push(run.batchEnd[place]); blocks.gpu.push(Number(run.gpu[place])); blocks.size.push(size);
        }
      }
      return { series, blocks };
    }

    const isRandom = (state) => state.workload !== "own" || !["oracle", "own"].includes(state.predictor);

    function view(state) {
      check(state);
      const table = atRate(drawn(state, 0), state.load), notes = [];
      const runs = state.schedulers.map((scheduler) => served(state, table, scheduler, state.d_sla));
      const count = table.arrival_s.length, span = table.arrival_s[count - 1] - table.arrival_s[0], shown = windowOf(state, table, runs);
      state.schedulers.forEach((scheduler, place) => {
        const bins = Number(runs[place].counted[2]);
        if (scheduler.startsWith("multi") && bins < state.k_bins && !state.edges) notes.push(`predicted_output_tokens: tied lengths leave ${bins} distinct bins of ${state.k_bins}`);
        if (runs[place].numbers[about.summary.indexOf("collapsed_share")] > about.most_collapsed)
          notes.push(`policy ${scheduler}: its controller has collapsed, batches are at their least size, ${about.least}, and slower than d_sla all the same, while requests wait (d_sla = ${state.d_sla} s cannot be met)`);
      });
      const rejected = Math.max(...runs.map((run) => run.completion.reduce((sum, time) => sum + Number.isNaN(time), 0)));
      if (edgesOf(state).length && state.schedulers.some((name) => name.startsWith("multi"))) notes.push(`bins are cut at ${state.edges}: K_BINS does not count`);
      if (count < state.requests) notes.push(`${count} requests: as many as there are`);
      if (rejected) notes.push(`${rejected} requests alone exceed a GPU's memory: rejected, and late`);
      return {
        d_sla: state.d_sla, requests: count, rate_rps: span > 0 ? (count - 1) / span : null,
        runs: runs.map((run, place) => ({ scheduler: state.schedulers[place], name: about.policies[state.schedulers[place]].name, summary: summaryOf(run), ...counts(table, run, state.d_sla), ...overTime(state, run, shown) })),
        window_s: shown, gpus: state.gpus, pending: isRandom(state), notes: [...new Set(notes)], code: codeOf(state), settings: state,
      };
    }

    const lateOf = (run, table, dSla) => {
      let late = 0;
      for (let row = 0; row < run.completion.length; row++) late += run.completion[row] <= table.arrival_s[row] + dSla ? 0 : 1;
      return late;
    };
    const late = (state, table, scheduler, dSla) => lateOf(served(state, table, scheduler, dSla, false), table, dSla);

    function interval(hits, trials) {
      const found = new Float64Array(5), groups = hits.length;
      if (groups < about.replications) return { mean: hits[0] / trials[0], low: null, high: null, reason: "" };
      call("share_interval", Float64Array.from(hits), Float64Array.from(trials), weights, found);
      const [mean, low, high, hit, spared] = found, limit = (value) => (Number.isNaN(value) ? null : value);
      const [few, what] = hit <= spared ? [hit, "hits"] : [spared, "anything else"];
      const reason = Number.isNaN(low) ? `${few} of ${groups} groups ${few === 1 ? "has" : "have"} ${what} (an interval needs ${about.fewest_clusters} with hits and ${about.fewest_clusters} not full of them)` : "";
      return { mean, low: limit(low), high: limit(high), reason };
    }

    const sharesOf = (hits, trials) => Float64Array.from(hits, (count, place) => count / trials[place]);

    /* Late requests of replications, by scheduler; one where nothing is random. */
    function* replicated(state, first = 0) {
      const tables = [], hits = Object.fromEntries(state.schedulers.map((name) => [name, []])), count = isRandom(state) ? about.replications : 1;
      for (let replication = first; replication < first + count; replication++) {
        const table = atRate(drawn(state, replication), state.load);
        tables.push(table);
        for (const name of state.schedulers) hits[name].push(late(state, table, name, state.d_sla));
        yield null;
      }
      return { state, tables, hits, trials: tables.map((one) => one.arrival_s.length) };
    }

    /* What B has late beyond A, a scheduler that both have, as `book.explorer.against` compares them. */
    function* against(a, b) {
      const { state } = b, of = { paired, independent, exact }, isSame = ["workload", "requests", "load"].every((name) => a[name] === state[name]);
      const isFixed = a.workload === "own" && isSame, alike = isSame && (isFixed || a.seed === state.seed);
      let method = alike && a.seed === state.seed ? "paired" : "independent", served = yield* replicated(a);
      if (!isRandom(a) && !isRandom(state)) method = "exact";
      if (method === "independent" && isRandom(a) && Math.abs(a.seed - state.seed) < about.replications) served = yield* replicated(a, 2 * about.replications);
      const most = Math.max(served.tables.length, b.tables.length), common = state.schedulers.filter((name) => a.schedulers.includes(name));
      return { method, replications: most, conditional: a.workload === "own" || state.workload === "own", differences: common.map((scheduler) => ({ scheduler, ...of[method](served, b, scheduler, alike) })) };
    }

    function exact(a, b, scheduler, isSame) {
      const [of_a, of_b] = [a, b].map((one) => one.hits[scheduler][0] / one.trials[0]);
      return { mean: of_b - of_a, low: null, high: null, reason: `nothing is left to chance${isSame ? "" : ", but A and B have other requests"}` };
    }

    function paired(a, b, scheduler) {
      const most = Math.max(a.tables.length, b.tables.length), found = new Float64Array(3);
      const [of_a, of_b] = [a, b].map((one) => { const shares = sharesOf(one.hits[scheduler], one.trials); return shares.length < most ? new Float64Array(most).fill(shares[0]) : shares; });
      call("difference", of_b, of_a, found);
      const unlike = of_b.reduce((sum, share, place) => sum + Number(share !== of_a[place]), 0);
      if (unlike < about.fewest_clusters) return { mean: found[0], low: null, high: null, reason: `they differ in ${unlike} of ${most} replications; an interval needs ${about.fewest_clusters}` };
      return { mean: found[0], low: found[1], high: found[2], reason: "" };
    }

    /* The interval from those of both shares, as Zou and Donner (2008) make it of independent samples. */
    function independent(a, b, scheduler) {
      const [of_a, of_b] = [a, b].map((one) => {
        const share = one.hits[scheduler][0] / one.trials[0];
        return isRandom(one.state) ? interval(one.hits[scheduler], one.trials) : { mean: share, low: share, high: share };
      });
      const mean = of_b.mean - of_a.mean;
      for (const [label, one] of [["A", of_a], ["B", of_b]]) if (one.low === null) return { mean, low: null, high: null, reason: `of ${label}, ${one.reason}` };
      return { mean, low: mean - Math.hypot(of_b.mean - of_b.low, of_a.high - of_a.mean), high: mean + Math.hypot(of_b.high - of_b.mean, of_a.mean - of_a.low), reason: "" };
    }

    function* following(state, a = null) {
      const found = yield* replicated(state), { tables, hits, trials } = found, replications = tables.length;
      if (replications > 1) {
        const share = (name) => sharesOf(hits[name], trials);
        const differences = about.pairs.filter(([a, b]) => hits[a] && hits[b]).map(([a, b]) => {
          const pair = new Float64Array(3);
          call("difference", share(a), share(b), pair);
          return { a, b, mean: pair[0], low: pair[1], high: pair[2] };
        });
        yield { replications, conditional: state.workload === "own", intervals: Object.fromEntries(state.schedulers.map((name) => [name, interval(hits[name], trials)])), differences };
      }
      if (a) yield { against: yield* against(a, found) };
      yield* curve("curve", "d_sla", views.curve_s, state, tables, hits, (name) => !isSteered(state, name));
      yield* curve("load_curve", "load", views.loads, state, tables, hits);
      if (state.schedulers.some((name) => name.startsWith("multi")) && !edgesOf(state).length) yield* curve("k_curve", "k_bins", views.k_bins, state, tables, hits, (name) => !name.startsWith("multi"));
      yield { settled: true };
    }

    /* The share of late requests along one control, the others where they are; who is blind to it is served once. */
    function* curve(key, axis, places, state, tables, hits, isBlind = () => false) {
      const trials = tables.map((table) => table.arrival_s.length), found = [];
      for (const name of state.schedulers) {
        const points = [];
        let same = null;
        for (const place of places) {
          const at = { ...state, [axis]: place }, counted = [];
          for (let replication = 0; replication < tables.length; replication++) {
            const table = axis === "load" ? atRate(drawn(state, replication), place) : tables[replication];
            if (same) counted.push(axis === "d_sla" ? lateOf(same[replication], table, place) : hits[name][replication]);
            else counted.push(late(at, table, name, at.d_sla));
            yield null;
          }
          points.push(interval(counted, trials));
          if (!same && isBlind(name)) same = axis === "d_sla" ? tables.map((table) => served(state, table, name, state.d_sla, false)) : [];
        }
        const of = (part) => points.map((point) => point[part]);
        found.push({ scheduler: name, name: about.policies[name].name, x: places, share: of("mean"), low: of("low"), high: of("high") });
      }
      yield { [key]: found };
    }

    /* Python that repeats the shown runs. */
    function codeOf(state) {
      const { requests, seed } = state, population = `simlib.levels.requests_of(2, ${requests}, seed=${seed}, requests_from="population")[0]`;
      const made = { synthetic: `simlib.workload.original(${requests}, seed=${seed})`, burstgpt_like: population, azure_like: `simlib.requests.azure.azure_like(${requests}, ${seed})`, own: `simlib.traces.read("${own ? own.name : ""}").requests` };
      const lines = ["import simlib", "", `requests = ${made[state.workload]}${state.workload === "own" ? `.head(${requests})` : ""}`];
      const [kind, sigma] = state.predictor.split("_"), isMade = state.workload === "synthetic" || state.workload === "burstgpt_like";
      const noise = { original: "OriginalFormula()", oracle: "Oracle()", noise: `MultiplicativeNoise(${sigma})` }[kind];
      if (kind === "original" && !isMade) lines.push(`requests = requests.with_predictions(simlib.predictors.original_predictions(requests.prompt_tokens, ${seed}))`);
      else if (kind !== "original" && kind !== "own") lines.push(`requests = simlib.predictors.predict(requests, simlib.predictors.${noise}, family="${about.family}", replication=${seed})`);
      if (state.load !== 1) lines.push(`requests = requests.at_rate(${state.load})`);
      const edges = edgesOf(state), bins = edges.length ? `k_bins=${edges.length + 1}, bounds=[${edges.join(", ")}]` : `k_bins=${state.k_bins}`;
      const policies = { static_fifo: "StaticFIFO()", dynamic_no_bins: `DynamicNoBins(${state.d_sla})`, multi_bin_dynamic: `MultiBinDynamic(${bins}, d_sla=${state.d_sla}, bin_select="${state.bin_select}")`, multi_bin_fixed: `MultiBinFixed(${bins})`, shortest_predicted_first: "ShortestPredictedFirst()" };
      lines.push(`policies = [${state.schedulers.map((name) => `simlib.${policies[name]}`).join(", ")}]`);
      const how = state.execution === "continuous" ? `simlib.Continuous(max_seqs=${state.max_seqs}, token_budget=${state.token_budget})` : `"${state.execution}"`;
      lines.push(`options = dict(execution=${how}, sla=${state.d_sla}, oversize="reject")`);
      lines.push(`runs = {policy.name: simlib.simulate(requests, policy, "${state.latency}", ${state.gpus}, **options) for policy in policies}`);
      return [...lines, "summaries = {name: run.summary() for name, run in runs.items()}"].join("\n");
    }

    return { view, following, served, drawn, atRate, take: (table) => { own = table; kept.clear(); } };
  }

  return { started, Refusal };
})();
if (typeof module !== "undefined") module.exports = simulator;
