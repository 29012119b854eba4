/* The explorer on the book's page: positions are looked up in a grid that the page bears, and stand in its address. */
(() => {
  "use strict";
  const grid = JSON.parse(document.getElementById("explorer-grid").textContent);
  const { axes, names, columns, rows, controls } = grid, { isState, read, write } = explorerAddress;
  const PAIRS = [["dynamic_no_bins", "static_fifo", "vs_static"], ["multi_bin_dynamic", "static_fifo", "vs_static"], ["multi_bin_dynamic", "dynamic_no_bins", "vs_dynamic"]];
  const SHOWN = ["latency_mean_s", "latency_p99_s", "throughput_rps", "gpu_utilization", "batch_size_mean"];
  const FIRST = -16, usual = { level: "1", schedulers: Object.keys(rows), d_sla: 1, k_bins: 4, gpus: 2, load: 1 };

  for (const [name, values] of Object.entries(axes))
    if (name !== "level") usual[name] = explorer.nearest(values, usual[name]);
  if (!axes.level.includes(Number(usual.level))) usual.level = String(axes.level[0]);

  /* The grid's row of a scheduler at a position: the axes in order, the last one fastest. */
  function at(scheduler, state) {
    const place = Object.entries(axes).filter(([name]) => name !== "k_bins" || scheduler === "multi_bin_dynamic")
      .reduce((sum, [name, values]) => sum * values.length + values.indexOf(Number(state[name])), 0);
    return Object.fromEntries(columns.map((column, index) => [column, rows[scheduler][place][index]]));
  }

  function line(scheduler, state, axis) {
    const points = axes[axis].map((value) => at(scheduler, { ...state, [axis]: value }));
    const pick = (column) => points.map((point) => point[column]);
    return { scheduler, name: names[scheduler], x: axes[axis], share: pick("violation_share"), low: pick("ci_low"), high: pick("ci_high") };
  }

  function view(state) {
    const found = Object.fromEntries(state.schedulers.map((scheduler) => [scheduler, at(scheduler, state)]));
    const runs = state.schedulers.map((scheduler) => ({
      scheduler,
      name: names[scheduler],
      first: FIRST,
      counts: found[scheduler].latency_counts.split(" ").map(Number),
      summary: Object.fromEntries([["sla_violation_share", found[scheduler].violation_share], ...SHOWN.map((key) => [key, found[scheduler][key]])]),
    }));
    const differences = PAIRS.filter(([a, b]) => found[a] && found[b])
      .map(([a, b, column]) => ({ a, b, low: found[a][`${column}_low`], high: found[a][`${column}_high`] }));
    const calls = state.schedulers.map((scheduler) => `explorer_grid.cell(${state.level}, "${scheduler}", gpus=${state.gpus}, load=${state.load}, d_sla=${state.d_sla}, k_bins=${state.k_bins}, requests=${grid.requests}, replications=${grid.replications}, seed=${grid.seed})`);
    return {
      d_sla: state.d_sla,
      runs,
      intervals: Object.fromEntries(state.schedulers.map((scheduler) => [scheduler, { low: found[scheduler].ci_low, high: found[scheduler].ci_high }])),
      differences,
      against: { method: "none", reason: "this page has means, not runs; in Jupyter A and B are compared run by run", differences: [] },
      curve: state.schedulers.map((scheduler) => line(scheduler, state, "d_sla")),
      k_curve: state.schedulers.map((scheduler) => line(scheduler, state, "k_bins")),
      replications: grid.replications,
      caption: `Means of ${grid.replications} replications of ${grid.requests} requests`,
      notes: ["Latencies outside 1/16 to 8 deadlines are counted in the outermost bars"],
      code: `from simlib import explorer_grid\n\n${calls.join("\n")}`,
    };
  }

  const first = isState(location.hash) ? read(location.hash, controls, usual) : { state: usual, remarks: [] };
  let settled = false;
  const shown = explorer.mount(document.getElementById("explorer"), {
    controls,
    state: first.state,
    ask: (state, number) => {
      shown.show(number, view(state));
      if (settled) history.replaceState(null, "", write(controls, state));
    },
  });
  shown.adopt({}, first.remarks.join(" "));
  settled = true;
  addEventListener("hashchange", () => {
    if (!isState(location.hash)) return;
    const { state, remarks } = read(location.hash, controls, shown.state);
    shown.adopt(state, remarks.join(" "));
  });
})();
