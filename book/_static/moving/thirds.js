/* Who pays for an order: what the short, the middle and the long third of all requests wait, first come and otherwise.

   `about` is `book.chapters.policies.moving.about`. Sizes of batches are picked at each position, by the fewest late on draws that are not shown. */
const movingThirds = (() => {
  "use strict";
  const THIRDS = ["short", "middle", "long"], FIRST = "first";
  const POLICY = { first: "dynamic_no_bins", bins: "multi_bin_dynamic", shortest: "shortest_predicted_first" };

  /* The row's third by its true output, ties in order of arrival. */
  function thirdsOf(output) {
    const count = output.length, order = Array.from({ length: count }, (_, row) => row).sort((a, b) => Number(output[a] - output[b]) || a - b);
    const thirds = new Uint8Array(count);
    order.forEach((row, rank) => { thirds[row] = Math.floor((3 * rank) / count); });
    return thirds;
  }

  /* Of each third of a run: mean seconds of waiting and being served, the 95th percentile of waiting, and who is late. */
  function measured(table, run, deadline) {
    const thirds = thirdsOf(table.output);
    return THIRDS.map((_, third) => {
      const waits = [];
      let served = 0, late = 0;
      for (let row = 0; row < thirds.length; row++) {
        if (thirds[row] !== third) continue;
        waits.push(run.start[row] - table.arrival_s[row]);
        served += run.completion[row] - run.start[row];
        late += Number(!(run.completion[row] <= table.arrival_s[row] + deadline));
      }
      const wait = waits.reduce((sum, wait_s) => sum + wait_s, 0) / waits.length;
      return { wait, served: served / waits.length, total: wait + served / waits.length, tail: moving.quantile(waits, 0.95), late: late / waits.length };
    });
  }

  /* What answers a position, piece by piece: a generator whose last value is the answer. */
  function opened({ call, contents }, about) {
    const kept = new Map(), systems = new Map(), { draws, requests } = about;

    function system(execution, order, { numbers, controller, lines }) {
      const key = JSON.stringify([order, numbers, lines]);
      if (!systems.has(key)) {
        const name = POLICY[order], policies = { [name]: { ...contents.policies[name], numbers } };
        systems.set(key, simulator.started(call, { ...contents, controller, policies, engine: about.engine, lines_of_shortest: lines }));
      }
      return systems.get(key);
    }

    const drawing = simulator.started(call, contents);

    function run({ execution, load }, order, size, seed) {
      const place = about.executions[execution], simulated = system(execution, order, size);
      const given = { workload: "synthetic", requests, seed, predictor: about.predictor, latency: about.latency, execution, bin_select: "round_robin", k_bins: size.lines, gpus: about.gpus, edges: "", ...about.places };
      const table = drawing.drawn(given, 0), span = table.arrival_s[requests - 1] - table.arrival_s[0];
      const timed = drawing.atRate(table, (load * place.capacity_rps * span) / (requests - 1));
      return [timed, simulated.served(given, timed, POLICY[order], place.deadline_s, false)];
    }

    /* The size that leaves fewest late, then the one with the least mean latency, on draws that are not shown. */
    function* picked(state, order) {
      const { sizes, deadline_s: deadline } = about.executions[state.execution], scored = [];
      for (const size of sizes[order]) {
        const one = { size, late: 0, latency: 0 };
        for (const seed of sizes[order].length > 1 ? about.picked_by : []) {
          const [table, found] = run(state, order, size, seed);
          found.completion.forEach((end, row) => {
            one.latency += end - table.arrival_s[row];
            one.late += Number(!(end - table.arrival_s[row] <= deadline));
          });
          yield null;
        }
        scored.push(one);
      }
      return scored.reduce((best, one) => (one.late < best.late || (one.late === best.late && one.latency < best.latency) ? one : best)).size;
    }

    function* remembered(state, order) {
      const key = JSON.stringify([state.execution, state.load, order]);
      if (!kept.has(key)) {
        const size = yield* picked(state, order), runs = [];
        for (let draw = 0; draw < draws; draw++) {
          runs.push(measured(...run(state, order, size, about.seed + draw), about.executions[state.execution].deadline_s));
          yield null;
        }
        kept.set(key, { size, runs });
      }
      return kept.get(key);
    }

    return function* (state) {
      const first = yield* remembered(state, FIRST), other = yield* remembered(state, state.order), found = new Float64Array(3);
      const of = (runs, third, part) => Float64Array.from(runs, (run) => run[third][part]);
      const mean = (runs, third) => Object.fromEntries(Object.keys(runs[0][0]).map((part) => [part, of(runs, third, part).reduce((sum, value) => sum + value, 0) / draws]));
      const thirds = THIRDS.map((name, third) => {
        call("difference", of(other.runs, third, state.measure), of(first.runs, third, state.measure), found);
        return { name, first: mean(first.runs, third), other: mean(other.runs, third), difference: { mean: found[0], low: found[1], high: found[2] } };
      });
      return { state, thirds, sizes: { first: first.size.called, other: other.size.called }, deadline: about.executions[state.execution].deadline_s, orders: about.orders };
    };
  }

  const at = (value) => Math.round(value * 10) / 10;
  const WHOSE = { short: "Short third", middle: "Middle third", long: "Long third" };
  const WHAT = { total: "until the answer is there", tail: "that 95 % of them wait at most", late: "late" };
  const TITLE = { total: () => "Mean seconds until the answer is there", tail: () => "Seconds that 95 % wait at most", late: (deadline) => `Later than ${deadline.toFixed(1)} s` };
  const sized = (value, measure) => (measure === "late" ? `${(100 * value).toFixed(Math.abs(value) < 0.0995 ? 1 : 0)} %` : `${value.toFixed(1)} s`);
  const change = (value, measure) => `${value < 0 ? "−" : "+"}${measure === "late" ? `${Math.abs(100 * value).toFixed(1)} points` : `${Math.abs(value).toFixed(1)} s`}`;
  const isSure = ({ low, high }) => low > 0 || high < 0;

  /* A pair of bars a third: first come, first served above, the order below; beside them what it gains or pays. */
  function bars({ state, thirds, orders, sizes, deadline }, width) {
    const { measure } = state, left = 6, right = width - 132, row = 78, high = 20;
    const most = Math.max(measure === "late" ? 0.05 : 1, ...thirds.flatMap(({ first, other }) => [first[measure], other[measure]])), x = (value) => left + (value / most) * (right - left);
    const bar = (found, order, top, isNamed) => {
      const pieces = measure === "total" ? [["own", found.wait], ["batch", found.served]] : [["batch", found[measure]]];
      let from = 0;
      const drawn = pieces.map(([part, length]) => {
        const [start, end] = [x(from), x((from += length))];
        const word = part === "own" ? "waits" : state.execution === "continuous" ? "is served" : "in its batch";
        const name = isNamed && end - start > 80 ? `<text class="${part === "own" ? "in" : "on"}" x="${at((start + end) / 2)}" y="${top + 15}">${word}</text>` : "";
        return `<path class="part ${part}" d="M${at(start)} ${top}H${at(Math.max(end, start + 0.5))}V${top + high}H${at(start)}Z"/>${name}`;
      });
      return `<g class="${order}" data-value="${found[measure]}">${drawn.join("")}</g><text class="value" x="${at(x(from)) + 5}" y="${top + 15}">${sized(found[measure], measure)}</text>`;
    };
    const rows = thirds.map(({ name, first, other, difference }, place) => {
      const top = row * place + 44, sure = isSure(difference), kind = sure ? (difference.mean < 0 ? "gains" : "pays") : "same";
      const told = sure ? kind : "not established", isSame = state.order === FIRST;
      return `<text class="name" x="${left}" y="${top - 6}">${WHOSE[name]}</text>${bar(first, FIRST, top, place === 0 && measure === "total")}` +
        (isSame ? "" : `${bar(other, state.order, top + high + 2)}<text class="name ${kind}" x="${width - 2}" y="${top + high + 4}">${change(difference.mean, measure)}</text>` +
          `<text class="tick end" x="${width - 2}" y="${top + high + 19}">${told}</text>`);
    });
    const base = row * thirds.length + 54, names = state.order === FIRST ? [FIRST] : [FIRST, state.order];
    const key = names.map((order, place) => {
      const top = base + 20 * place, size = order === FIRST ? sizes.first : sizes.other;
      return `<g class="${order}"><path class="part batch" d="M${left} ${top - 10}h14v12h-14z"/><text class="name plain" x="${left + 22}" y="${top}">${orders[order]}${size ? `, ${size}` : ""}</text></g>`;
    });
    if (measure === "total") key.push(`<g class="${FIRST}"><path class="part own" d="M${left} ${base + 20 * names.length - 10}h14v12h-14z"/><text class="name plain" x="${left + 22}" y="${base + 20 * names.length}">pale: waiting</text></g>`);
    return {
      height: base + 20 * key.length,
      inside: `<text class="title" x="0" y="12">${TITLE[measure](deadline)}</text>${rows.join("")}${key.join("")}`,
      says: thirds.map(({ name, first, other }) => `${WHOSE[name]}: ${sized(first[measure], measure)} first come, first served${state.order === FIRST ? "" : `, ${sized(other[measure], measure)} ${orders[state.order]}`}`).join("; "),
    };
  }

  /* Who gains and who pays. */
  function sentence({ state, thirds, orders }) {
    const { measure } = state, where = `${state.execution === "continuous" ? "In an engine" : "In batches"} at ${Math.round(100 * state.load)} % load`;
    if (state.order === FIRST) return `${where}, first come, first served: ${thirds.map(({ name, first }) => `${sized(first[measure], measure)} ${name}`).join(", ")} third, ${WHAT[measure]}.`;
    const told = (name) => {
      const { other, first, difference } = thirds.find((one) => one.name === name);
      const verdict = isSure(difference) ? `the ${name} third ${difference.mean < 0 ? "gains" : "pays"}` : `of the ${name} third nothing is established`;
      return `${verdict} (${sized(other[measure], measure)} instead of ${sized(first[measure], measure)})`;
    };
    return `${where}, ${orders[state.order]} against first come, first served, ${WHAT[measure]}: ${THIRDS.map(told).join(", ")}.`;
  }

  function draw(svg, found, { width }) {
    const { inside, height } = bars(found, width);
    svg.innerHTML = inside;
    return height;
  }

  const alt = (found, { width }) => bars(found, width).says;
  const shown = { load: (value) => `${Math.round(100 * value)} %` };
  const controls = ({ controls: all, start }) => all.map((control) => ({ ...control, value: start[control.name], shown: shown[control.name] }));

  let answer = null;
  const simulate = (state, library, about) => (answer ??= opened(library, about))(state);

  return { alt, controls, draw, sentence, simulate, thirdsOf };
})();
moving.figure("thirds", movingThirds);
