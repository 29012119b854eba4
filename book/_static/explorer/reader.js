/* A user's file of requests, read where it lies: the account that `simlib inspect --json` gives, and its refusals.

   Knows neither page nor controls, and asks nothing of a network: for a page, a worker or node, after formats.js (names of
   formats and columns), texts.js, documents.js and clocks.js. Checks stand in simlib's order (`simlib.requests.formats`,
   `simlib.requests.account`): the first fault of a file is the same. */
const reader = (() => {
  "use strict";
  const { refuse, isNumber, isFloat, isNothing, count, general, repr, shown, numberOf, sum, mean, variance, middle, spread } = readerTexts;
  const { MOST_BYTES, MORE, document, has, list } = readerDocuments, { UNITS, NAMES, TICKS_PER_S, clock, told } = readerClocks;
  const { formats, layouts, arrays, meant, times, stamps } = readerFormats, OURS = [...Object.keys(layouts), "serving_benchmark"];
  const READS = formats.filter(([name]) => OURS.includes(name)).map(([, about]) => about).join(", ").replace(/, ([^,]*)$/, " or $1");
  const MAX_TOKENS = 2 ** 31, LONGEST_TICKS = 1e18, UNIX_CLOCK_S = 1e8, UNLIKE = 300, FEWEST_PLANNED = 20, WINDOW_S = 10;
  const get = (record, name) => (has(record, name) ? record[name] : null);
  const isReal = (value) => isNumber(value) && Math.abs(Number(value)) < 1e15;
  const isTrue = (value) => !["None", "False", "0", "0.0", "-0.0", "''", "[]", "{}"].includes(repr(value)); // to Python
  const isPositive = (value) => isReal(value) && Number(value) > 0;

  function formatOf({ source, columns }) {
    const common = (marks) => marks.filter((name) => columns.includes(name)).length;
    const isWithin = (marks, other) => marks.length < other.length && marks.every((name) => other.includes(name));
    const sets = formats.flatMap(([name, , all]) => all.map((marks) => [name, marks])), whole = sets.filter(([, marks]) => common(marks) === marks.length);
    const complete = whole.filter(([, marks]) => !whole.some(([, other]) => isWithin(marks, other))), best = [...new Set(complete.map(([name]) => name))];
    if (best.length > 1) {
      const which = complete.map(([name, marks]) => `${name}: ${[...marks].sort().join(", ")}`).join("; ");
      refuse(`${source}: columns of ${best.length} formats (${which}; expected the option --format)`);
    }
    const [near, marks] = sets.reduce((a, b) => ((common(b[1]) - common(a[1]) || a[1].length - b[1].length) > 0 ? b : a));
    if (best.length || common(marks) >= 2) return best[0] ?? near;
    if (readerFormats.texts.some((name) => columns.includes(name)))
      refuse(`${source}: conversations as texts, such as ShareGPT's (expected numbers of tokens: session_id, input_length, output_length and delay of each turn, as AIPerf has them in Mooncake's form)`);
    return refuse(`${source}: columns ${named(columns)} (expected arrival_s, prompt_tokens and output_tokens, or those of another format: ${formats.map(([name]) => name).join(", ")})`);
  }

  const named = (columns) => columns.slice(0, 12).map(shown).join(", ") || "none";

  function refuseFirst(source, name, given, isBad, expected) {
    for (let row = 0; row < given.size; row++) if (isBad(row)) refuse(`${source}, row ${row}, ${name}: ${shown(given.cell(row))} (expected ${expected})`);
  }

  function tokenCounts(source, name, given) {
    const found = given.numbers();
    refuseFirst(source, name, given, (row) => !(found[row] >= 0 && found[row] <= MAX_TOKENS && Number.isInteger(found[row])), "an integer >= 0");
    return found;
  }

  function seconds(source, name, given) {
    const found = given.numbers();
    refuseFirst(source, name, given, (row) => !isNothing(given.cell(row)) && !(found[row] >= 0 && found[row] < LONGEST_TICKS), "a time >= 0 or nothing");
    return found;
  }

  /* The ticks, or where they are whole and too large for floats to hold each, those since the first: told apart as in the file. */
  function apart(given, ticks) {
    if (ticks.some((tick) => tick > 2 ** 53))
      try {
        const whole = Array.from(ticks, (_, row) => BigInt(given.cell(row)));
        if (whole.every((tick) => BigInt.asIntN(64, tick) === tick)) return Float64Array.from(whole, (tick) => Number(tick - whole[0]));
      } catch { /* spelled with a point or an exponent */ }
    return ticks;
  }

  /* Rows with columns: the plain table's and BurstGPT's. */
  function rowsOf(layout, found) {
    const { source, columns: present } = found, { arrival, unit } = layout, columns = {}, warnings = [], frame = {};
    const ofPresent = (theirs) => Object.entries(theirs).filter(([, name]) => present.includes(name));
    const tokens = { prompt_tokens: layout.prompt, output_tokens: layout.output, ...Object.fromEntries(ofPresent(layout.tokens)) };
    for (const name of [...Object.values(tokens), arrival])
      if (!present.includes(name)) refuse(`${source}, ${name}: missing column (found ${named(present)}; expected a ${layout.format} file's)`);
    const given = found.column(arrival), ticks = given.numbers();
    refuseFirst(source, arrival, given, (row) => !(Number.isFinite(ticks[row]) && ticks[row] >= 0), `${NAMES[unit]} >= 0`);
    if (!layout.starts_at_0)
      refuseFirst(source, arrival, given, (row) => ticks[row] >= UNIX_CLOCK_S * TICKS_PER_S[unit], `${NAMES[unit]} from the start; this looks like a clock since 1970, which the option --time-unit, time_unit= in Python, takes`);
    frame.starts = { ticks, apart: apart(given, ticks) };
    const by = told(source, arrival, frame.starts, unit);
    columns[arrival] = `arrival, ${by.text}`;
    if (by.doubt) warnings.push(`${arrival}: taken for ${by.text}, though ${by.doubt}`);
    for (const [ours, theirs] of Object.entries(tokens)) {
      frame[ours] = tokenCounts(source, theirs, found.column(theirs));
      columns[theirs] = ours.replace("_tokens", ", tokens").replaceAll("_", " ");
    }
    if (frame.cached_prompt_tokens) {
      const isOver = (row) => frame.cached_prompt_tokens[row] > frame.prompt_tokens[row];
      refuseFirst(source, tokens.cached_prompt_tokens, found.column(tokens.cached_prompt_tokens), isOver, "at most the row's prompt tokens");
    }
    for (const [ours, theirs] of ofPresent(layout.labels)) {
      const cells = found.column(theirs), isAbsent = (row) => isNothing(cells.cell(row));
      if (ours === "model" || ours === "log_type") refuseFirst(source, theirs, cells, isAbsent, "a name");
      let absent = 0;
      for (let row = 0; row < cells.size; row++) absent += isAbsent(row);
      const none = `none in ${count(absent)} of ${count(cells.size)} rows`;
      columns[theirs] = absent ? `${ours}, ${none}` : ours;
      if (absent && found.records && absent < cells.size) warnings.push(`${theirs}: ${none}`);
      if (ours === "client") frame.client = cells;
    }
    for (const [ours, theirs] of ofPresent(layout.times_s)) {
      frame[ours] = seconds(source, theirs, found.column(theirs));
      columns[theirs] = `${ours.replace(/_s$/, "")}, seconds`;
    }
    const unused = present.filter((name) => !has(columns, name));
    return { source, format: layout.format, frame, size: found.rows, columns, unused, clock: by, arrival, warnings, starts_at_0: layout.starts_at_0 || by.isEpoch };
  }

  function plain(found) {
    const { source, columns: present } = found, unit = UNITS.find((one) => present.includes(`arrival_${one}`)) ?? "s";
    const log = rowsOf({ ...layouts.plain, arrival: `arrival_${unit}`, unit }, found), turns = present.includes("session_id") ? { [`delay_${unit}`]: readerFormats.beyond.previous } : {};
    if (present.includes("priority")) {
      const given = found.column("priority"), values = given.numbers();
      refuseFirst(source, "priority", given, (row) => !Number.isInteger(values[row]), "an integer");
      log.columns.priority = readerFormats.priority;
      log.unused = log.unused.filter((name) => name !== "priority");
    }
    for (const [name, what] of Object.entries({ ...readerFormats.beyond, ...turns }))
      if (present.includes(name)) refuse(`${source}, ${name}: ${what} (expected none in a page; ${MORE})`);
    return log;
  }

  /* The result of a serving benchmark: arrays with an entry a request. */
  const isDetailed = (result) => ["input_lens", "output_lens", "ttfts", "itls"].some((name) => get(result, name) !== null);

  function engine(result) {
    if (String(get(result, "backend")).includes("sglang") || has(result, "random_range_ratio") || has(result, "accept_length")) return "SGLang";
    return ["endpoint_type", "num_prompts", "tokenizer_id", "burstiness"].some((name) => has(result, name)) ? "vLLM" : "";
  }

  function details(result) {
    const sglang = "SGLang records them with --output-details", vllm = "vLLM records them with --save-result --save-detailed";
    return { SGLang: sglang, vLLM: vllm }[engine(result)] ?? `${vllm}, ${sglang}`;
  }

  /* A list as pandas holds it: integers among floats and gaps are floats. */
  function series(values) {
    const isMixed = values.some((value) => value === null || isFloat(value)) && values.every((value) => value === null || isNumber(value));
    return list(isMixed ? values.map((value) => (Number.isInteger(value) ? new Number(value) : value)) : values);
  }

  function gaps(source, values) {
    return values.map((value, row) => {
      if (!Array.isArray(value)) refuse(`${source}, row ${row}, itls: ${shown(value)} (expected an array of times >= 0)`);
      const found = Float64Array.from(value, numberOf), entry = found.findIndex((gap) => !(gap >= 0 && gap < LONGEST_TICKS));
      if (entry >= 0) refuse(`${source}, row ${row}, itls, entry ${entry}: ${shown(value[entry])} (expected a time >= 0)`);
      return found;
    });
  }

  function joined(parts) {
    const all = new Float64Array(parts.reduce((size, part) => size + part.length, 0));
    parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    return all;
  }

  function benchmark(source, result) {
    const isList = (name) => Array.isArray(get(result, name)), columns = {}, frame = {};
    for (const name of ["input_lens", "output_lens"])
      if (!isList(name)) refuse(`${source}, ${name}: ${shown(get(result, name))} (expected an array: ${details(result)})`);
    const size = result.input_lens.length;
    if (!size) refuse(`${source}, input_lens: no values (expected at least 1 request)`);
    for (const name of [...Object.keys(arrays), "start_times"]) {
      const value = get(result, name);
      if (value !== null && !isList(name)) refuse(`${source}, ${name}: ${shown(value)} (expected an array)`);
      if (value !== null && value.length !== size) refuse(`${source}, ${name}: ${value.length} entries (expected ${size}, as in input_lens)`);
      if (value !== null && has(arrays, name)) columns[name] = arrays[name];
    }
    frame.prompt_tokens = tokenCounts(source, "input_lens", series(result.input_lens));
    frame.output_tokens = tokenCounts(source, "output_lens", series(result.output_lens));
    if (columns.ttfts) frame.ttft_s = seconds(source, "ttfts", series(result.ttfts));
    if (columns.itls) frame.itl_s = gaps(source, result.itls);
    if (columns.ttfts && columns.itls) frame.latency_s = frame.ttft_s.map((ttft_s, row) => ttft_s + sum(frame.itl_s[row]));
    frame.failed = frame.output_tokens.map((tokens, row) => tokens === 0 || Boolean(columns.errors && isTrue(result.errors[row])) || Boolean(columns.ttfts && !(frame.ttft_s[row] > 0)));
    const content = readerFormats.contents.find((name) => isList(name) && result[name].length === size);
    if (content) columns[content] = "what prompts contain";
    const { ticks, by = null, starts } = isList("start_times") ? recorded(source, result, frame.failed) : rebuilt(source, result, frame);
    if (ticks) frame.starts = { ticks, apart: ticks };
    if (isList("start_times")) columns.start_times = `arrival, ${by.text}`;
    const unused = Object.keys(result).filter((name) => isList(name) && !has(columns, name));
    checkTimes(source, result, frame);
    const warnings = by?.doubt ? [`start_times: taken for ${by.text}, though ${by.doubt}`] : [];
    return { source, format: "serving_benchmark", version: engine(result), frame, size, columns, unused, clock: by, arrival: "start_times", starts, warnings, starts_at_0: true };
  }

  /* Whether times are seconds, by the result's own means and by what is usual. */
  function checkTimes(source, result, frame) {
    const served = (values) => values?.filter((_, row) => !frame.failed[row]), itls = served(frame.itl_s);
    const known = [["ttfts", "mean_ttft_ms", served(frame.ttft_s), isPositive(get(result, "mean_ttft_ms")) ? 3600 : 60], ["itls", "mean_itl_ms", itls && joined(itls), 5]]
      .map(([column, name, values, most_s]) => [column, name, values?.filter((value) => !Number.isNaN(value)) ?? [], most_s]).filter(([, , values]) => values.length);
    for (const [column, name, values] of known)
      if (isPositive(get(result, name)) && mean(values) * 1e3 > UNLIKE * result[name])
        refuse(`${source}, ${column}: a mean of ${general(mean(values), 4)} s, where ${name} is ${general(Number(result[name]), 4)} (expected seconds; these look like milliseconds)`);
    for (const [column, , values, most_s] of known) {
      const median_s = middle(values.sort());
      if (median_s > most_s) refuse(`${source}, ${column}: a median of ${general(median_s, 4)} s (expected seconds, below ${most_s}; these look like milliseconds)`);
    }
  }

  /* Starts as they were recorded; a request that failed may never have been sent, and takes the start before it. */
  function recorded(source, result, failed) {
    const given = list(result.start_times), ticks = given.numbers(), isUnsent = ticks.map((tick, row) => failed[row] && !(tick > 0)), unsent = sum(isUnsent);
    refuseFirst(source, "start_times", given, (row) => !isUnsent[row] && !(ticks[row] >= 0), "seconds >= 0");
    if (unsent === ticks.length) return { ticks: ticks.fill(0), by: clock("s", "the format's"), starts: "recorded for none: no request was sent" };
    let last = ticks[isUnsent.indexOf(0)], low = last, high = last;
    for (let row = 0; row < ticks.length; row++) {
      ticks[row] = last = isUnsent[row] ? last : ticks[row];
      if (last < low) low = last;
      if (last > high) high = last;
    }
    const duration = get(result, "duration"), isKnown = isPositive(duration);
    if (isKnown && high - low > UNLIKE * duration)
      refuse(`${source}, start_times: ${general(high - low, 4)} from first to last, where duration is ${general(Number(duration), 4)} (expected seconds, and at most as many; the option --time-unit, time_unit= in Python, says what they are)`);
    const by = isKnown && high - low <= 1.01 * duration ? clock("s", "as its duration") : told(source, "start_times", { ticks, apart: ticks }, "s");
    return { ticks, by, starts: `recorded${unsent ? `, for all but ${unsent} that failed` : ""}` };
  }

  /* Starts that follow from how the benchmark sends: all at once, or each when another has ended. */
  function rebuilt(source, result, frame) {
    const limit = get(result, "max_concurrency"), rate = get(result, "request_rate");
    if (!["inf", "Infinity", Infinity, null].includes(rate)) {
      const limited = limit === null ? "" : ` with max_concurrency ${shown(limit)}`;
      const saved = engine(result) === "SGLang" ? "" : "vLLM saves them since January 2026 with --save-detailed, and ";
      return { starts: `start_times: missing, and request_rate ${shown(rate)}${limited} does not say when each request was sent; ${saved}--request-rate inf needs none` };
    }
    if (limit === null) return { ticks: new Float64Array(frame.failed.length), starts: "rebuilt: all were sent at once" };
    const text = typeof limit === "string" ? limit : repr(limit), range = "number in [1, 1e+06]";
    if (!frame.latency_s) refuse(`${source}, start_times: missing (expected them, or ttfts and itls, as ${text} were in flight)`);
    if (!isNumber(limit)) refuse(`${source}, max_concurrency: ${repr(limit)} (expected a ${range})`);
    if (!(limit >= 1 && limit <= 1e6)) refuse(`${source}, max_concurrency: ${text} (expected a finite ${range})`);
    const free_s = new Float64Array(Math.floor(Number(limit))); // a heap: who is free first stands first
    const ticks = frame.latency_s.map((latency_s, row) => {
      const start_s = free_s[0], end_s = start_s + (frame.failed[row] ? 0 : latency_s || 0);
      let at = 0;
      for (let below; (below = 2 * at + 1) < free_s.length; at = below) {
        if (free_s[below + 1] < free_s[below]) below++;
        if (free_s[below] >= end_s) break;
        free_s[at] = free_s[below];
      }
      free_s[at] = end_s;
      return start_s;
    });
    return { ticks, starts: `rebuilt: each when one of ${text} in flight had ended` };
  }

  /* The account of a benchmark's result without its requests: what it says of them. */
  function means(source, run) {
    const known = {}, spreads = {}, columns = {};
    for (const name of ["completed", "duration", "total_input_tokens", "total_output_tokens"]) {
      const value = get(run, name);
      if (value !== null && !(isReal(value) && value >= 0)) refuse(`${source}, row 0, ${name}: ${shown(value)} (expected a number >= 0)`);
      known[name] = value === null ? null : Number(value);
    }
    const { completed: served, duration: span_s } = known, failed = isReal(get(run, "failed")) ? Math.trunc(Number(run.failed)) : 0, requests = Math.trunc(served);
    for (const [name, meaning] of Object.entries(meant)) if (has(run, name)) columns[name] = meaning;
    for (const name of ["input", "output"]) {
      const total = known[`total_${name}_tokens`];
      if (served && total !== null) spreads[name] = { mean: total / served };
    }
    const measured = {};
    for (const [ours, theirs] of Object.entries(times)) {
      const values = {}, named_ms = (statistic) => theirs.map((short) => `${statistic}_${short}_ms`);
      for (const statistic of ["mean", "median", "p99"]) {
        const present = named_ms(statistic).filter((name) => has(run, name));
        for (const name of present) columns[name] = `${statistic} ${ours.replace(/_s$/, "")}, milliseconds`;
        if (isReal(get(run, present[0]))) values[statistic] = Number(run[present[0]]) / 1e3;
      }
      if (served && Object.keys(values).length) measured[ours] = values;
    }
    const kind = has(run, "run_number") ? "means of a sweep's runs" : "means", rate_rps = span_s && served !== null ? (served + failed) / span_s : null;
    const missing = `${kind} and no row a request (expected the arrays input_lens and output_lens: ${details(run)})`;
    const isKnown = spreads.input?.mean > 0 && spreads.output?.mean > 0, rate = rate_rps === null ? "RPS" : general(rate_rps, 3);
    return account({
      source, format: "serving_benchmark", version: engine(run), failed, requests, columns, unused: Object.keys(run).filter((name) => name && !has(columns, name)),
      warnings: failed ? [`${count(failed)} of ${count(failed + requests)} requests failed`] : [], arrivals: "none in the file", span_s, rate_rps, burstiness: burstiness([]),
      prompt_tokens: spreads.input ?? null, output_tokens: spreads.output ?? null, times: measured, lacks: { simulate: missing, plan: missing, calibrate: missing, validate: missing },
      instead: isKnown ? `simlib plan --rate ${rate} --prompt ${general(spreads.input.mean, 4)},SIGMA --output ${general(spreads.output.mean, 4)},SIGMA plans with its means, SIGMA being how the lengths spread`
        : "simlib plan --rate RPS --prompt MEDIAN,SIGMA --output MEDIAN,SIGMA plans for what you know of them",
    });
  }

  /* The account as JSON has it, simlib's keys first. */
  function account({ times: measured, lacks: lacking, ...found }) {
    const all = {
      rows: 0, time_unit: null, dropped: {}, prefix: null, clients: null, sessions: null, loads: [], state: {}, instead: "", ...found, ...measured, version: found.version || null,
      verbs: Object.keys(lacking).filter((verb) => !lacking[verb]), lacks: Object.fromEntries(Object.entries(lacking).filter(([, text]) => text)),
    };
    return Object.fromEntries([...readerFormats.keys, ...Object.keys(all)].map((name) => [name, all[name]]));
  }

  function burstiness(arrival_s) {
    const n = arrival_s.length, span_s = n > 2 ? arrival_s[n - 1] - arrival_s[0] : 0, windows = span_s / WINDOW_S;
    if (!span_s) return { gap_cv: null, dispersion_10s: null };
    const gaps_s = arrival_s.subarray(1).map((time_s, row) => time_s - arrival_s[row]), cv = Math.sqrt(variance(gaps_s)) / mean(gaps_s);
    const counts = new Float64Array(windows >= 20 && windows <= 1e6 ? Math.floor(windows) : 0);
    for (const time_s of arrival_s) counts[Math.floor((time_s - arrival_s[0]) / WINDOW_S)]++; // none beyond the last whole window
    return { gap_cv: cv > 1e-9 ? cv : 0, dispersion_10s: counts.length ? variance(counts) / mean(counts) : null };
  }

  function lacks({ frame, columns, unused }, served, arrival_s) {
    const rows = served ? "" : "needs a request that was served", n = arrival_s.length;
    const simulate = rows || (n ? "" : "needs times of arrival, or --rate to draw them at");
    const calibrate = rows || (frame.ttft_s && frame.itl_s ? "" : "needs each request's time to its first token and gaps between tokens") || (frame.starts ? "" : "needs the start of each request");
    const isShort = served < FEWEST_PLANNED || !(arrival_s[n - 1] > arrival_s[0]);
    const plan = calibrate && (simulate || (isShort ? `needs ${FEWEST_PLANNED} requests over some time (these are ${served})` : ""));
    const isStamped = stamps.every((name) => has(columns, name) || unused.includes(name));
    return { simulate, plan, calibrate, validate: rows || (isStamped ? "" : `needs an engine's log with ${stamps.join(", ")}`) };
  }

  /* Account and table of a log: requests in order of arrival, without those that failed unless all did. */
  function understood(log) {
    const { source, frame, size, clock: by } = log, failed = frame.output_tokens.map((tokens, row) => tokens === 0 || (frame.failed?.[row] ?? 0)), failures = sum(failed);
    const served = size - failures, isKept = (row) => !served || !failed[row], kept = (values) => (failures ? values.filter((_, row) => isKept(row)) : values);
    const order = kept(Uint32Array.from(failed, (_, row) => row)), since = frame.starts?.apart;
    let moved = 0, latest = -Infinity, isSorted = true;
    for (const row of since ? order : []) {
      if (since[row] < latest) isSorted = false, moved += !failed[row];
      else latest = since[row];
    }
    if (!isSorted) order.sort((a, b) => since[a] - since[b] || a - b);
    const second = log.starts_at_0 ? (row) => since[row] - since[order[0]] : (row) => frame.starts.ticks[row];
    const arrival_s = since ? Float64Array.from(order, (row) => second(row) / (by?.per_s ?? 1)) : new Float64Array(0), n = arrival_s.length;
    const prompts = kept(frame.prompt_tokens), empty = sum(prompts.map((tokens) => tokens === 0)), warnings = [], measured = {}, clients = new Set();
    if (failures) warnings.push(served ? `${count(failures)} of ${count(size)} requests failed: dropped` : `all ${count(size)} requests failed: none was served`);
    if (empty) warnings.push(`prompts of 0 tokens: ${count(empty)} of ${count(prompts.length)}, which an engine refuses; served as they stand`);
    if (moved) warnings.push(`${count(moved)} of ${count(size)} rows stand behind a later one: refused by simulate and plan, but for --unsorted sort`);
    for (const name of ["ttft_s", "itl_s", "tpot_s", "latency_s"]) {
      const values = frame[name]?.filter((_, row) => !failed[row]), found = values && spread(name === "itl_s" ? joined(values) : values);
      if (found) measured[name] = found;
    }
    for (let row = 0; frame.client && row < size; row++)
      if (isKept(row) && !isNothing(frame.client.cell(row)) && frame.client.cell(row) !== "") clients.add(repr(frame.client.cell(row)));
    const apart_s = n ? arrival_s[n - 1] - arrival_s[0] : null, cached = frame.cached_prompt_tokens, lacking = lacks(log, served, arrival_s);
    const table = lacking.simulate ? null : { arrival_s };
    for (const name of table ? ["prompt_tokens", "output_tokens", "predicted_output_tokens"] : [])
      if (frame[name]) table[name] = Float64Array.from(order, (row) => frame[name][row]);
    return [table, account({
      source, format: log.format, version: log.version, rows: size, failed: failures, requests: prompts.length, warnings: [...warnings, ...log.warnings],
      columns: log.columns, unused: log.unused, arrivals: by ? `${log.arrival}, ${by.text}` : log.starts, time_unit: by?.unit ?? null, dropped: failures ? { failed: failures } : {},
      span_s: apart_s, rate_rps: apart_s ? (n - 1) / apart_s : null, burstiness: burstiness(arrival_s), prompt_tokens: spread(prompts), output_tokens: spread(kept(frame.output_tokens)),
      prefix: cached ? { block_tokens: null, engine_block_tokens: null, cached_share: sum(kept(cached)) / Math.max(sum(prompts), 1), shared_in_part: 0 } : null,
      clients: frame.client ? clients.size : null, times: measured, lacks: lacking,
    })];
  }

  /* What a file is: its account, and a table of its requests where it can be simulated.

     name: without its folder; data: an ArrayBuffer, or text. Throws an Error whose message is the refusal. */
  function read(name, data) {
    const found = document(name, typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data)), format = formatOf(found), { records, notes } = found;
    if (!OURS.includes(format)) refuse(`${name}: ${formats.find(([one]) => one === format)[1]} (expected ${READS}, which the page reads; ${MORE})`);
    if (format !== "serving_benchmark") {
      const [table, known] = understood(format === "plain" ? plain(found) : rowsOf(layouts.burstgpt, found));
      return { table, account: known, notes };
    }
    if (!records) refuse(`${name}: a table (expected a benchmark's JSON object in a page; ${MORE})`);
    if (records.length > 1) refuse(`${name}: ${records.length} loads in one file (expected one in a page; ${MORE})`);
    const [table, known] = isDetailed(records[0]) ? understood(benchmark(name, records[0])) : [null, means(name, records[0])];
    return { table, account: known, notes };
  }

  /* The same of what may be packed by gzip, which a browser unpacks in its own time. */
  async function open(name, buffer) {
    const [first, second] = new Uint8Array(buffer), parts = [];
    if (first !== 0x1f || second !== 0x8b) return read(name, buffer);
    try {
      const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
      for (let size = 0, part; size <= MOST_BYTES && !(part = await stream.read()).done; size += part.value.length) parts.push(part.value);
    } catch (problem) {
      refuse(`${name}: broken packing (${problem.message}; expected a whole gzip or zstd file)`);
    }
    return read(name, await new Blob(parts).arrayBuffer());
  }

  return { read, open };
})();
