/* The explorer on the book's page: a worker simulates each move, and a file of the reader's own. Nothing leaves the page. */
(() => {
  "use strict";
  const root = document.getElementById("explorer"), { isState, read, write } = explorerAddress;
  const { module: packed, exports, contents } = kernels, { controls, start } = contents;
  const say = (kind, text) => { const one = document.createElement("p"); one.className = kind; one.textContent = text; return one; };

  if (typeof WebAssembly === "undefined" || typeof Worker === "undefined" || typeof BigInt64Array === "undefined") {
    root.append(say("wrong", "This browser runs no WebAssembly in the background, which simulates here: the figure below shows one position, and `make lab` all of them."));
    return;
  }
  const source = document.getElementById("explorer-worker").textContent;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const ready = WebAssembly.compile(bytes).then((module) => worker.postMessage({ kind: "open", module, exports, contents }));
  let fileName = "";
  const ownless = (state) => (state.workload === "own" ? { ...state, workload: start.workload, predictor: start.predictor } : state);

  const first = isState(location.hash) ? read(location.hash, controls, start) : { state: start, remarks: [] };
  if ([first.state, first.a].some((one) => one && one.workload === "own")) first.remarks.push("The link is of somebody's own requests, which stay with them: drop yours, and move on from there.");
  [first.state, first.a] = [ownless(first.state), first.a && ownless(first.a)];
  const shown = explorer.mount(root, {
    controls,
    state: first.state,
    start,
    ask: (state, number, kept) => ready.then(() => worker.postMessage({ number, state, kept })),
    moved: ({ settings }, a) => history.replaceState(null, "", write(controls, settings, a)),
  });
  worker.onmessage = ({ data }) => {
    const answers = { view: () => shown.show(data.number, data.view), following: () => shown.follow(data.number, data.view), refused: () => shown.refuse(data.number, data.problem), taken: () => took(data), "not taken": () => { told.textContent = `Not read: ${data.problem}`; } };
    answers[data.kind]();
  };
  worker.onerror = (event) => root.append(say("wrong", `The simulator did not start: ${event.message}`));
  go(first);
  addEventListener("hashchange", () => {
    if (!isState(location.hash)) return;
    go(read(location.hash, controls, shown.state));
  });

  function go({ state, a, remarks }) {
    if (a) shown.compare(a, state, remarks.join(" "));
    else shown.adopt(state, remarks.join(" "));
  }

  /* The explorer in Jupyter, where this one stands: a notebook of one call a position. */
  function notebook() {
    const literal = (value) => JSON.stringify(value).replace(/,/g, ", ");
    const calls = shown.positions().map(({ state: { workload, ...others } }) => {
      const given = workload === "own" ? `table=${literal(fileName)}` : `workload=${literal(workload)}`;
      return `explore(${[given, ...Object.entries(others).map(([name, value]) => `${name}=${literal(value)}`)].join(", ")})`;
    });
    const cell = (kind, id, source) => ({ cell_type: kind, id, metadata: {}, source, ...(kind === "code" ? { execution_count: null, outputs: [] } : {}) });
    const cells = [cell("code", "import", "from book.explorer.widget import explore"), ...calls.map((call, place) => cell("code", `position-${place + 1}`, call))];
    return { nbformat: 4, nbformat_minor: 5, metadata: { kernelspec: { name: "python3", display_name: "Python 3", language: "python" } }, cells };
  }
  const opens = document.createElement("button");
  opens.type = "button";
  opens.textContent = "Open in Jupyter";
  opens.addEventListener("click", () => {
    if (!shown.positions()[0].view) return;
    explorer.save("explorer_here.ipynb", "application/x-ipynb+json", JSON.stringify(notebook(), null, 1));
    shown.say(`Saved: explorer_here.ipynb, this position in Jupyter. Put it into the repository's folder notebooks${shown.state.workload === "own" ? `, ${fileName} beside it` : ""}, and open it with make lab.`);
  });
  root.querySelector(".explorer-buttons:not(.explorer-moves)").append(opens);

  /* A file of the reader's own, dropped or chosen. */
  const box = document.createElement("details"), summary = document.createElement("summary"), label = document.createElement("label"), input = document.createElement("input");
  const told = say("note", "It is read here and goes nowhere: a table with arrival_s, prompt_tokens and output_tokens, BurstGPT's rows, or what vLLM's benchmark saved in detail; up to 50 MB.");
  told.setAttribute("role", "status");
  box.className = "explorer-own";
  input.type = "file";
  summary.textContent = "Your own requests: drop a file, or choose one";
  label.append("A file: ", input);
  box.append(summary, label, told);
  root.querySelector(".explorer-controls").after(box);
  function give(file) {
    box.open = true;
    told.textContent = `Reading ${file.name} …`;
    ready.then(() => worker.postMessage({ kind: "file", file }));
  }
  function took({ name, rows, account, isPredicted }) {
    fileName = name;
    const most = controls.find((one) => one.name === "requests").high, cut = rows > most ? ` The first ${most} are simulated.` : "";
    const warnings = account.warnings && account.warnings.length ? ` ${account.warnings.join(" ")}` : "";
    told.textContent = `${name}: ${rows} requests of ${account.format}, ${Number(account.rate_rps).toPrecision(3)} a second.${cut} Where each scheduler breaks is in "Late requests by load".${warnings}`;
    shown.adopt({ workload: "own", requests: Math.max(100, Math.min(rows, most)), predictor: isPredicted ? "own" : "original", load: 1 });
  }
  input.addEventListener("change", () => input.files.length && give(input.files[0]));
  root.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
  root.addEventListener("dragleave", () => box.classList.remove("over"));
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    if (event.dataTransfer.files.length) give(event.dataTransfer.files[0]);
  });
})();
