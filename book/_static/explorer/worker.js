/* Answers the page beside its own thread: a position's view at once, then what follows, unless the hand has moved on. */
(() => {
  "use strict";
  const REST_MS = 150, PIECE_MS = 10;
  let simulated = null, latest = 0;
  const pause = (ms) => new Promise((go) => setTimeout(go, ms));

  async function answer({ number, state, kept }) {
    latest = number;
    try {
      postMessage({ kind: "view", number, view: simulated.view(state) });
    } catch (problem) {
      return postMessage({ kind: "refused", number, problem: problem instanceof simulator.Refusal ? problem.message : `This browser could not simulate it: ${problem.message}` });
    }
    await pause(REST_MS);
    let since = performance.now();
    for (const part of simulated.following(state, kept)) {
      if (latest !== number) return;
      if (part) postMessage({ kind: "following", number, view: part });
      if (performance.now() - since > PIECE_MS) {
        await pause(0); // a move that has come meanwhile is heard here
        since = performance.now();
      }
    }
  }

  const whole = (column) => column && BigInt64Array.from(column, BigInt);

  async function take({ file }) {
    const { name } = file;
    try {
      const { table, account } = await reader.open(name, await file.slice(0, readerDocuments.MOST_BYTES + 1).arrayBuffer()); // one more is too many
      if (!table) throw new Error(`${name}: nothing to simulate (${account.lacks.simulate})`);
      simulated.take({ name, arrival_s: Float64Array.from(table.arrival_s), prompt: whole(table.prompt_tokens), output: whole(table.output_tokens), predicted: whole(table.predicted_output_tokens) });
      postMessage({ kind: "taken", name, account, rows: table.arrival_s.length, isPredicted: Boolean(table.predicted_output_tokens) });
    } catch (problem) {
      postMessage({ kind: "not taken", name, problem: problem.message });
    }
  }

  onmessage = ({ data }) => {
    if (data.kind === "open") simulated = simulator.started(engine.opened(data.module, data.exports), data.contents);
    else if (data.kind === "file") take(data);
    else answer(data);
  };
})();
