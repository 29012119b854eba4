/* What the explorer says of a view: where it stands, what moved, whether bins help, what overload means, what B has that
   A has not. They know no elements, and are the same in Jupyter and on the book's pages. */
const explorerWords = (() => {
  "use strict";
  const { percent, plain } = explorerViews;

  /* A share as one says it, "21.3 %" or "0.71 %"; a difference of shares, in points. */
  const spoken = (share) => `${plain(100 * share, share > 0.99 ? 4 : share < 0.1 ? 2 : 3)} %`;
  const signed = (value, size) => `${Number(size) === 0 ? "" : value < 0 ? "−" : "+"}${size}`; // no sign before nothing
  const points = (share) => signed(share, Math.abs(100 * share).toFixed(2));
  const isSure = (pair) => pair.low !== null && (pair.low > 0 || pair.high < 0);
  const late = (run) => run.summary.sla_violation_share;
  const runOf = (view, scheduler) => view.runs.find((run) => run.scheduler === scheduler);

  /* What an interval is of, where what is shown is one run and not the mean of all. */
  const ofMean = (interval) => (interval.mean === undefined ? "" : `mean ${percent(interval.mean)}, `);

  /* A control's value as a reader sees it. */
  function shown(control, value) {
    const names = Object.assign({}, control.choices, ...Object.values(control.groups || {}));
    const name = (one) => names[one] || (one === "" ? "none" : String(one));
    return `${[].concat(value).map(name).join(", ")} ${control.unit || ""}`.trim();
  }

  /* In what two positions differ: "D_SLA 0.5 s instead of 1 s". */
  const moves = (controls, from, to) => controls
    .filter(({ name }) => String(from[name]) !== String(to[name]))
    .map((control) => `${control.label} ${shown(control, to[control.name])} instead of ${shown(control, from[control.name])}`)
    .join(", ");

  function sentence(view, state) {
    const where = `D_SLA ${plain(view.d_sla)} s, K_BINS ${state.k_bins}, GPUs ${state.gpus}, load ${state.load}`;
    const shares = view.runs.map((run) => {
      const interval = view.intervals && view.intervals[run.scheduler];
      let range = view.pending && !view.intervals ? " (interval follows)" : "";
      if (interval) range = interval.low === null ? " (too few late requests for an interval)" : ` (${ofMean(interval)}95 % interval ${(100 * interval.low).toFixed(2)} to ${percent(interval.high)})`;
      return `${run.name} ${percent(late(run))} late${range}`;
    });
    const compared = (view.differences || []).map((pair) =>
      `${runOf(view, pair.a).name} minus ${runOf(view, pair.b).name} ${points(pair.low)} to ${points(pair.high)}${isSure(pair) ? "" : ", not established"}`);
    const differences = compared.length ? ` Differences in points, 95 % intervals: ${compared.join("; ")}.` : "";
    return `At ${where}: ${shares.join("; ")}.${differences}`;
  }

  /* Whether bins help, at one position: against the same batches without them. */
  function verdict(view) {
    const bins = runOf(view, "multi_bin_dynamic"), none = runOf(view, "dynamic_no_bins");
    if (!bins || !none) return "";
    const pair = (view.differences || []).find(({ a, b }) => a === bins.scheduler && b === none.scheduler);
    if (!pair && (view.pending || view.pending === undefined)) return ""; // intervals follow, or there are none
    const interval = (run) => (view.intervals && view.intervals[run.scheduler]) || {};
    const [with_bins, without] = [bins, none].map((run) => interval(run).mean ?? late(run));
    const of = !pair ? ", on these very requests" : interval(bins).mean === undefined ? "" : `, in the mean of ${view.replications} replications`;
    const shares = `${spoken(with_bins)} late instead of ${spoken(without)}${of}.`;
    if (pair ? pair.low === 0 && pair.high === 0 : with_bins === without) return `Bins change nothing here: ${shares}`;
    if (pair && !isSure(pair)) return `Whether bins help here is not established: ${shares}`;
    return `Bins ${with_bins < without ? "help" : "hurt"}: ${shares}`;
  }

  /* What a move changed: the controls, and who is late. */
  function changed(controls, before, after) {
    const moved = moves(controls, before.state, after.state);
    const shares = after.view.runs.map((run) => {
      const was = runOf(before.view, run.scheduler), now = spoken(late(run));
      if (!was) return `${run.name} ${now} late`;
      return `${run.name} ${now} late${spoken(late(was)) === now ? " as before" : ` instead of ${spoken(late(was))}`}`;
    });
    return moved && `${moved}: ${shares.join(", ")}.`;
  }

  const listed = (names) => names.join(", ").replace(/, ([^,]*)$/, " and $1");

  /* Why one long run and the mean of many are not the same, where more arrives than is served, or almost. */
  function overload(view) {
    const of = (label) => listed(view.runs.filter((run) => run.summary.stability === label).map((run) => run.name));
    const over = of("unstable"), near = of("near_critical"), requests = (view.requests || 0).toLocaleString("en");
    return [
      over && `Overload under ${over}: more arrives than is served, and the queue grows as long as the run lasts. ` +
        `These numbers are of ${requests} requests, not of a steady state: in one long run requests wait longer than in many short ones, ` +
        "and what chance adds to the queue stays in it, so that one run and the mean of many differ.",
      near && `Under ${near} ${requests} requests are too few to tell whether the queue stays short: ` +
        "near its limit it forgets slowly, and one run and the mean of many can differ much.",
    ].filter(Boolean).join(" ");
  }

  const ALLOWED = 0.05;

  /* Who has fewest late; where two intervals overlap, it is not told which. */
  function best(view) {
    const range = (run) => (view.intervals && view.intervals[run.scheduler]) || { mean: late(run), low: late(run), high: late(run) };
    if (view.runs.length < 2 || (view.pending && !view.intervals)) return "";
    const share = (run) => range(run).mean ?? late(run), [first, second] = [...view.runs].sort((a, b) => share(a) - share(b));
    const [of_first, of_second] = [first, second].map(range), isTold = of_first.high !== null && of_second.low !== null && of_first.high < of_second.low;
    const shares = `${spoken(share(first))} under ${first.name}, ${spoken(share(second))} under ${second.name}`;
    return isTold ? `Fewest are late under ${first.name}: ${shares}.` : `Which leaves fewest late is not told: ${shares}.`;
  }

  /* From which load on more than one in twenty is late, a scheduler a number, between the places that were simulated. */
  function breaks(view, state) {
    if (!view.load_curve) return "";
    const rate = (load) => (view.rate_rps ? ` (${plain((load * view.rate_rps) / state.load)}/s)` : "");
    const told = view.load_curve.map(({ name, x, share }) => {
      const over = share.findIndex((value) => value > ALLOWED);
      if (over === -1) return `${name} not up to load ${x[x.length - 1]}`;
      if (over === 0) return `${name} already at load ${x[0]}${rate(x[0])}`;
      const part = (ALLOWED - share[over - 1]) / (share[over] - share[over - 1]), load = x[over - 1] + part * (x[over] - x[over - 1]);
      return `${name} from load ${plain(load, 2)}${rate(load)}`;
    });
    return `More than ${spoken(ALLOWED)} late: ${told.join(", ")}.`;
  }

  /* How the interval of B minus A was made, or why there is none. */
  function grounds({ method, replications, conditional, reason }) {
    const of = conditional ? ", conditional on the trace" : "";
    return {
      paired: `A and B face the same requests: differences are paired over ${replications} replications${of}.`,
      independent: `A and B face other requests: differences are unpaired, of ${replications} replications each with seeds of its own${of}.`,
      exact: "Nothing is left to chance: differences are exact, and have no interval.",
    }[method] || `No interval: ${reason}.`;
  }

  /* One scheduler's difference of late requests, B minus A, as `view.against` has it. */
  function difference(one) {
    if (one.low === null) return `${points(one.mean)} points, ${one.reason}`;
    return `${points(one.mean)} points, 95 % interval ${points(one.low)} to ${points(one.high)}${isSure(one) ? "" : ", not established"}`;
  }

  /* B beside A, both a view and its state. */
  function against(controls, a, b) {
    const moved = moves(controls, a.state, b.state);
    if (!moved) return "B is where A is: move a control, and B is shown beside it.";
    const common = b.view.runs.filter((run) => runOf(a.view, run.scheduler));
    if (!common.length) return `B, ${moved}, has no scheduler in common with A.`;
    const found = b.view.against, follows = b.view.pending !== undefined && !b.view.curve;
    const shares = common.map((run) => {
      const pair = found && found.differences.find(({ scheduler }) => scheduler === run.scheduler);
      const range = pair ? ` (${found.method === "exact" ? "" : "on average "}${difference(pair)})` : !found && follows ? " (interval follows)" : "";
      return `${run.name} ${spoken(late(run))} late instead of ${spoken(late(runOf(a.view, run.scheduler)))}${range}`;
    });
    return `B against A, ${moved}: ${shares.join("; ")}. ${found ? grounds(found) : ""}`.trim();
  }

  return { against, best, breaks, changed, difference, moves, ofMean, overload, points, runOf, sentence, signed, verdict };
})();
