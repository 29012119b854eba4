/* What the explorer draws: functions from a view's numbers and a width in pixels to the inside of an SVG.

   They know neither controls nor where the numbers come from, and are the same in Jupyter and on the book's page.
   Colours come from explorer.css, by policy; dashes and marks repeat the distinction. */
const explorerViews = (() => {
  "use strict";
  const OCTAVE = 4; // bins of the latency distribution in a factor of two
  const MARK = { static_fifo: "square", dynamic_no_bins: "circle", multi_bin_dynamic: "triangle", multi_bin_fixed: "diamond", shortest_predicted_first: "cross" };
  const SHARES = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1];

  const text = (value) => String(value).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const at = (value) => Math.round(value * 10) / 10;
  const plain = (value, digits = 3) => String(Number(value.toPrecision(digits)));
  const percent = (share) => `${(100 * share).toFixed(2)} %`;

  function scale(kind, low, high, from, to) {
    const bend = { linear: (v) => v, log: Math.log, root: (v) => Math.sqrt(Math.max(v, 0)) }[kind];
    const [a, b] = [bend(low), bend(high)];
    return (value) => from + ((bend(value) - a) / (b - a || 1)) * (to - from);
  }

  function linearTicks(high, most) {
    const raw = high / most, size = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((times) => times * size >= raw) * size;
    return Array.from({ length: Math.floor(high / step) + 1 }, (_, place) => Number((place * step).toPrecision(6)));
  }

  function logTicks(low, high) {
    const decades = Math.log10(high / low), parts = decades > 2.2 ? [1] : [1, 2, 5];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const part of parts) ticks.push(Number((part * 10 ** power).toPrecision(6)));
    return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  }

  function xAxis(x, ticks, y, left, right, label, top) {
    const marks = ticks.map((tick) =>
      `<path class="grid" d="M${at(x(tick))} ${top}V${y}"/><text class="tick" x="${at(x(tick))}" y="${y + 15}">${plain(tick)}</text>`);
    return `${marks.join("")}<path class="axis" d="M${left} ${y}H${right}"/>` +
      `<text class="label" x="${(left + right) / 2}" y="${y + 31}">${text(label)}</text>`;
  }

  function yTicks(y, ticks, left, right, write) {
    return ticks.map((tick) =>
      `<path class="grid" d="M${left} ${at(y(tick))}H${right}"/><text class="tick end" x="${left - 5}" y="${at(y(tick)) + 4}">${write(tick)}</text>`).join("");
  }

  /* The run of a kept view that is of the same scheduler, if there is one. */
  const keptOf = (kept, run) => kept && kept.runs.find((one) => one.scheduler === run.scheduler);

  /* The latency distribution, a row a scheduler; late requests in full colour beyond the deadline. */
  function latencies(view, width, kept = null) {
    const left = 8, right = width - 8, row = 62, runs = view.runs, both = kept ? [view, kept] : [view];
    const edge = (k, of = view) => of.d_sla * 2 ** (k / OCTAVE);
    const low = Math.min(...both.map((of) => edge(Math.min(-6, ...of.runs.map((run) => run.first)), of)));
    const high = Math.max(...both.map((of) => edge(Math.max(6, ...of.runs.map((run) => run.first + run.counts.length)), of)));
    const x = scale("log", low, high, left, right), bottom = 16 + row * runs.length;
    const total = (run) => run.counts.reduce((sum, count) => sum + count, 0) || 1;
    const most = Math.max(...both.flatMap((of) => of.runs.map((run) => Math.max(...run.counts) / total(run)))) || 1;
    const rows = runs.map((run, place) => {
      const base = 16 + row * (place + 1), all = total(run), was = keptOf(kept, run);
      const bars = (late) => {
        let path = "";
        run.counts.forEach((count, index) => {
          const k = run.first + index;
          if (count && k >= 0 === late) {
            const height = Math.max(1, (row - 24) * (count / all / most));
            path += `M${at(x(edge(k)))} ${base}V${at(base - height)}H${at(x(edge(k + 1)))}V${base}Z`;
          }
        });
        return path;
      };
      const outline = () => was.counts.map((count, index) =>
        `V${at(base - (row - 24) * (count / total(was) / most))}H${at(x(edge(was.first + index + 1, kept)))}`).join("");
      const faint = was ? `<path class="kept" d="M${at(x(edge(was.first, kept)))} ${base}${outline()}V${base}"/>` : "";
      return `<g class="policy-${run.scheduler}"><path class="bars" d="${bars(false)}"/><path class="bars late" d="${bars(true)}"/>${faint}` +
        `<path class="axis" d="M${left} ${base}H${right}"/>` +
        `<text class="name" x="${left}" y="${base - row + 20}">${text(run.name)}: ${percent(run.summary.sla_violation_share)} late${was ? ` (A ${percent(was.summary.sla_violation_share)})` : ""}</text></g>`;
    });
    const deadline = at(x(view.d_sla));
    const before = kept && kept.d_sla !== view.d_sla ? `<path class="deadline kept" d="M${at(x(kept.d_sla))} 12V${bottom}"/>` : "";
    return {
      height: bottom + 36,
      inside: xAxis(x, logTicks(low, high), bottom, left, right, "End-to-end latency (s)", 16) + rows.join("") +
        `${before}<path class="deadline" d="M${deadline} 12V${bottom}"/><text class="tick" x="${Math.min(Math.max(deadline, 50), width - 50)}" y="10">deadline ${plain(view.d_sla)} s</text>`,
      says: `Latency distributions. Later than ${plain(view.d_sla)} s: ` +
        runs.map((run) => `${run.name} ${percent(run.summary.sla_violation_share)}`).join(", ") + (kept ? ". A, faint, lies behind" : ""),
    };
  }

  function mark(kind, x, y, r) {
    if (kind === "square") return `M${at(x - r)} ${at(y - r)}h${2 * r}v${2 * r}h${-2 * r}z`;
    if (kind === "triangle") return `M${at(x)} ${at(y - 1.2 * r)}l${1.2 * r} ${2.2 * r}h${-2.4 * r}z`;
    if (kind === "diamond") return `M${at(x)} ${at(y - 1.4 * r)}l${1.4 * r} ${1.4 * r}l${-1.4 * r} ${1.4 * r}l${-1.4 * r} ${-1.4 * r}z`;
    return `M${at(x - r)} ${at(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
  }

  /* Names beside the ends of lines, pushed apart until none hides another. */
  function apart(places, low, high, gap = 14) {
    const sorted = places.map((y, index) => ({ y, index })).sort((a, b) => a.y - b.y);
    sorted.forEach((one, place) => { if (place) one.y = Math.max(one.y, sorted[place - 1].y + gap); });
    for (let place = sorted.length - 1, most = high; place >= 0; place--, most -= gap)
      sorted[place].y = Math.max(low, Math.min(sorted[place].y, most));
    return sorted.reduce((found, one) => { found[one.index] = one.y; return found; }, []);
  }

  /* Where some requests are late and some are not, the interval is a band; where none (or all) are, its bound comes from
     the number of replications alone, and is a bar of its own beside the point. */
  const isBanded = (line, place) => line.low[place] !== null && line.share[place] > 0 && line.share[place] < 1;

  function bandOf(line, x, y) {
    let path = "";
    for (let place = 1; place < line.x.length; place++)
      if (isBanded(line, place - 1) && isBanded(line, place)) {
        const [a, b] = [at(x(line.x[place - 1])), at(x(line.x[place]))], [low, high] = [line.low, line.high];
        path += `M${a} ${at(y(low[place - 1]))}L${b} ${at(y(low[place]))}V${at(y(high[place]))}L${a} ${at(y(high[place - 1]))}Z`;
      }
    return path;
  }

  function whiskersOf(line, x, y) {
    return line.x.map((value, place) => (line.low[place] === null || isBanded(line, place) ? "" : `M${at(x(value))} ${at(y(line.low[place]))}V${at(y(line.high[place]))}m-3 0h6`)).join("");
  }

  /* Late requests by deadline or by bins: a line a scheduler, 95 % intervals as bands, the position marked. */
  function lines(view, width, { curve, kept, label, here }) {
    const left = 46, right = width - 136, top = 12, bottom = 220, xs = curve[0].x;
    const x = scale("log", xs[0], xs[xs.length - 1], left, right), y = scale("root", 0, 1, bottom, top);
    const drawn = curve.map((line) => {
      const points = line.x.map((value, place) => [x(value), y(line.share[place])]);
      const band = `<path class="band" d="${bandOf(line, x, y)}"/><path class="whisker" d="${whiskersOf(line, x, y)}"/>`;
      const path = points.map((point) => point.map(at).join(" ")).join("L");
      const marks = points.map((point) => mark(MARK[line.scheduler], ...point, 3)).join("");
      return `<g class="policy-${line.scheduler}">${band}<path class="line" d="M${path}"/><path class="mark" d="${marks}"/></g>`;
    });
    const faint = (kept || []).map((line) =>
      `<g class="policy-${line.scheduler}"><path class="line kept" d="M${line.x.map((value, place) => `${at(x(value))} ${at(y(line.share[place]))}`).join("L")}"/></g>`);
    const ends = apart(curve.map((line) => y(line.share[line.share.length - 1])), top + 4, bottom - 2);
    const names = curve.map((line, place) =>
      `<g class="policy-${line.scheduler}"><path class="mark" d="${mark(MARK[line.scheduler], right + 9, ends[place], 3)}"/>` +
      `<text class="name" x="${right + 16}" y="${at(ends[place]) + 4}">${text(line.name)}</text></g>`);
    const place = at(x(Math.min(Math.max(here, xs[0]), xs[xs.length - 1])));
    const ticks = xs.length > 7 ? logTicks(xs[0], xs[xs.length - 1]) : xs;
    return {
      height: bottom + 36,
      inside: xAxis(x, ticks, bottom, left, right, label, top) +
        yTicks(y, SHARES, left, right, (share) => `${100 * share} %`) +
        `<path class="deadline" d="M${place} ${top}V${bottom}"/>` + faint.join("") + drawn.join("") + names.join(""),
      says: `Late requests by ${label}. At ${plain(here)}: ` + curve.map((line) => {
        const nearest = line.x.reduce((best, value, index) => (Math.abs(value - here) < Math.abs(line.x[best] - here) ? index : best), 0);
        return `${line.name} ${percent(line.share[nearest])}`;
      }).join(", "),
    };
  }

  /* Batch size over time (line), the controller's window (band) and its target (dashed), a row a scheduler. */
  function series(view, width, kept = null) {
    const drawn = (of) => of.runs.filter((run) => run.series && run.series.time_s);
    const left = 34, right = width - 8, row = 84, runs = drawn(view), both = kept ? [...runs, ...drawn(kept)] : runs;
    const bottom = 6 + row * runs.length, last = Math.max(1e-3, ...both.map((run) => run.series.time_s[run.series.time_s.length - 1]));
    const x = scale("linear", 0, last, left, right);
    const rows = runs.map((run, place) => {
      const { time_s: time, size, low, high, target } = run.series, base = 6 + row * (place + 1);
      const was = kept && drawn(kept).find((one) => one.scheduler === run.scheduler);
      const most = Math.max(1, ...size, ...(high || []), ...(was ? was.series.size : []));
      const y = scale("linear", 0, most, base, base - row + 24);
      const steps = (values, times = time) => times.map((t, index) => `${index ? "H" + at(x(t)) + "V" : "M" + at(x(t)) + " "}${at(y(values[index]))}`).join("");
      const band = high ? `<path class="band" d="M${time.map((t, i) => `${at(x(t))} ${at(y(high[i]))}`).join("L")}L${time.map((t, i) => `${at(x(t))} ${at(y(low[i]))}`).reverse().join("L")}Z"/>` : "";
      const faint = was ? `<path class="thin kept" d="${steps(was.series.size, was.series.time_s)}"/>` : "";
      const aim = target ? `<path class="target" d="${steps(target)}"/>` : "";
      return `${yTicks(y, linearTicks(most, 2), left, right, plain)}<g class="policy-${run.scheduler}">${band}${faint}${aim}<path class="thin" d="${steps(size)}"/>` +
        `<path class="axis" d="M${left} ${base}H${right}"/><text class="name" x="${left}" y="${base - row + 18}">${text(run.name)}: ${plain(run.summary.batch_size_mean)} on average</text></g>`;
    });
    return {
      height: bottom + 36,
      inside: xAxis(x, linearTicks(last, 5), bottom, left, right, "Time (s)", 6) + rows.join(""),
      says: "Batch size over time. On average " + runs.map((run) => `${run.name} ${plain(run.summary.batch_size_mean)}`).join(", "),
    };
  }

  /* Which batch each GPU serves in a piece of time; the fuller a batch, the darker. */
  function blocks(view, width) {
    const left = 46, right = width - 8, high = Math.max(4, Math.min(16, Math.floor(64 / view.gpus))), runs = view.runs;
    const row = 22 + high * view.gpus, bottom = 4 + row * runs.length;
    const [from, to] = view.window_s, x = scale("linear", from, to, left, right);
    const inside = (value) => at(x(Math.min(Math.max(value, from), to)));
    const rows = runs.map((run, place) => {
      const top = 4 + row * place + 20, { start_s: start = [], end_s: end, gpu, size } = run.blocks;
      const most = Math.max(1, ...(size || [])), shades = ["", "", "", ""];
      start.forEach((from_s, index) => {
        const y = top + gpu[index] * high, shade = Math.min(3, Math.floor((4 * size[index]) / (most + 1e-9)));
        shades[shade] += `M${inside(from_s)} ${y}H${Math.max(inside(end[index]) - 0.5, inside(from_s) + 0.5)}V${y + high - 1}H${inside(from_s)}Z`;
      });
      const labels = Array.from({ length: view.gpus }, (_, g) => g).filter((g) => high > 9 || g === 0 || g === view.gpus - 1);
      return `<g class="policy-${run.scheduler}"><text class="name" x="${left}" y="${top - 5}">${text(run.name)}: batches of up to ${plain(most)}</text>` +
        shades.map((path, shade) => `<path class="block shade-${shade}" d="${path}"/>`).join("") + "</g>" +
        labels.map((g) => `<text class="tick end" x="${left - 5}" y="${top + g * high + Math.min(high, 11)}">${high > 9 || g === 0 ? "GPU " : ""}${g}</text>`).join("");
    });
    const ticks = linearTicks(to - from, 4).map((tick) => tick + from).filter((tick) => tick <= to);
    const axis = ticks.map((tick) => `<path class="grid" d="M${at(x(tick))} 20V${bottom}"/><text class="tick" x="${at(Math.max(x(tick), left + 12))}" y="${bottom + 15}">${Number(tick.toFixed(2))}</text>`);
    return {
      height: bottom + 36,
      inside: `${axis.join("")}<path class="axis" d="M${left} ${bottom}H${right}"/><text class="label" x="${(left + right) / 2}" y="${bottom + 31}">Time (s), a piece from the middle</text>${rows.join("")}`,
      says: `What each of ${view.gpus} GPUs serves between ${from.toFixed(2)} and ${to.toFixed(2)} s. In use: ` +
        runs.map((run) => `${run.name} ${percent(run.summary.gpu_utilization)}`).join(", "),
    };
  }

  return { latencies, lines, series, blocks, percent, plain, text };
})();
