/* The stage of a chapter's live figure: controls, a drawing under the reader's hand, and a sentence that says what it shows.

   `book.live.moving.figure("NAME", …)` writes the section; the figure's own script, book/_static/moving/NAME.js, says
   what is in it:

     moving.figure("NAME", {
       controls(about)                  what the reader may move, in order; each is one of
           { name, kind: "range", label, low, high, step, value, shown }    shown(value): its text, "4 tokens"
           { name, kind: "choice", label, choices: { value: "its name" }, value }
           { name, kind: "check", label, value }
         with `when(values)`, if it is there for some values only; `within: "a summary"` puts it into a box that opens.
       simulate(values, library, about) what these values come to; may be a promise, or a generator that yields between pieces
                                        of what takes more than a frame, and returns it. Only the newest answer is drawn.
       draw(svg, answer, at)            the marks, in the empty `svg`, `at.width` pixels wide; returns its height, pixels.
                                        Called again when the page's width changes. `at` is { values, about, width }.
       sentence(answer, at)             a whole sentence of what is shown; it is read out when it changes.
       alt(answer, at)                  optional: what the drawing is, for who does not see it.
       mounted(hand, about)             optional, once: for controls of its own. `hand` is { section, controls, svg, values, again, set,
                                        isStill, quiet }: `again()` draws and says the same answer anew, `set({ name: value })` moves
                                        controls, `isStill()` is whether the reader asks for less motion; while it plays by itself,
                                        `quiet(true)`, its sentences are not read out.
     });

   Values are numbers, texts and truth values by the controls' names; `about` is what the chapter gave. A figure begins when it
   comes near the window; all on a page share one engine. The library, in `simulate`:

     library.serve(how, table)   one run on the page's own thread: `table` is { arrival_s, prompt, output, predicted }, arrays of
                                 numbers (all but output may lack); of `how`, what is not said is as `RUN` below. Gives
                                 { start, first, completion } by request, NaN where it was rejected, { batchStart, batchEnd, size,
                                 gpu } by batch (or sample), { totals }, and { summary } by the library's names if `how.summary`.
     library.simulated           what the explorer simulates with: drawn(state, replication), atRate(table, load),
                                 served(state, table, scheduler, d_sla), view(state), of states as `library.contents.start`.
     library.call, library.contents   an entry of the kernels by name, and what they are given.

   Marks: moving.mark(parent, "rect", { x, y, class }, text), the path of a moving.dot(x, y, radius); texts:
   moving.listed([1, 2, 3]) is "1, 2 and 3"; moving.quantile(values, share). Colours are variables of moving.css. Without scripts, in print and without WebAssembly the section's still sentence is there. */
var moving = window.moving || (() => {
  "use strict";
  const HERE = document.currentScript.src, NEAR = "600px", PIECE_MS = 10;
  const RUN = {
    continuous: false, policy: "static_fifo", selects: "round_robin", bins: 1, gpus: 1, bounds: [], d_sla: 1, law: "original-synthetic",
    places: 256, budget: 2048, summary: false, // and `numbers`, `controller`: of the policy, if they are not the library's
  };

  const script = (name) => new Promise((done, failed) => {
    const one = document.createElement("script");
    one.src = new URL(`../explorer/${name}.js`, HERE);
    one.addEventListener("load", done);
    one.addEventListener("error", () => failed(new Error(`${name}.js is not where the page looks for it`)));
    document.head.append(one);
  });

  /* The library, opened once for all figures of the page. */
  let opening = null;
  function opened() {
    if (typeof WebAssembly === "undefined" || typeof BigInt64Array === "undefined") return Promise.reject(new Error("it has no WebAssembly"));
    const names = typeof kernels === "undefined" ? ["kernels", "engine", "simulator"] : [];
    opening ??= Promise.all(names.map(script)).then(() => WebAssembly.compile(engine.bytesOf(kernels.module))).then((module) => {
      const call = engine.opened(module, kernels.exports), { contents } = kernels;
      return { module, call, contents, simulated: simulator.started(call, contents), serve: (how, table) => served(call, contents, { ...RUN, ...how }, table) };
    });
    return opening;
  }

  const whole = (column, count, otherwise) => BigInt64Array.from(column || new Array(count).fill(otherwise), BigInt);

  function served(call, about, how, { arrival_s, prompt, output, predicted }) {
    const count = output.length, rows = how.continuous ? about.views.samples * how.gpus : count, { number, numbers } = about.policies[how.policy];
    const own = how.numbers || [...numbers], notes = number === about.dynamic && !how.continuous ? count : 0, law = typeof how.law === "string" ? about.laws[how.law] : how.law;
    const run = {
      start: new Float64Array(count), first: new Float64Array(count), completion: new Float64Array(count),
      batchStart: new Float64Array(rows), batchEnd: new Float64Array(rows), size: new BigInt64Array(rows), gpu: new BigInt64Array(rows),
      counted: new BigInt64Array(3), totals: new Float64Array(5),
    };
    const found = new Float64Array(how.summary ? about.summary.length : 0), bins = how.policy === "shortest_predicted_first" ? about.lines_of_shortest : how.bins;
    if (notes && !how.numbers) own[about.deadline] = how.d_sla; // what its controller steers to
    call("run", Number(how.continuous), number, about.selects[how.selects], bins, how.gpus, Float64Array.from(how.bounds),
      how.continuous ? Float64Array.of(own[0], own[1] ?? 0) : Float64Array.from(own), Float64Array.from(how.controller || about.controller), Float64Array.of(how.places, how.budget, ...about.engine),
      Float64Array.from(how.continuous ? law.step : law.batch), about.capacity_tokens, how.d_sla,
      Float64Array.from(arrival_s || new Array(count).fill(0)), whole(prompt, count, 1), whole(output), whole(predicted || output),
      run.start, run.first, run.completion, run.batchStart, run.batchEnd, run.size, run.gpu,
      { data: new Float64Array(notes * about.notes), shape: [notes, about.notes] }, run.counted, run.totals, found);
    if (run.counted[0] !== 0n) throw new Error("the run came to no end");
    const batches = Number(run.counted[1]);
    for (const name of ["batchStart", "batchEnd", "size", "gpu"]) run[name] = Array.from(run[name].subarray(0, batches), Number);
    if (how.summary) run.summary = Object.fromEntries(about.summary.map((key, place) => [key, found[place]]));
    return run;
  }

  function made(parent, kind, attributes = {}, text = "") {
    const one = document.createElement(kind);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    one.textContent = text;
    parent.append(one);
    return one;
  }

  function mark(parent, kind, attributes, text) {
    const one = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, typeof value === "number" ? Math.round(value * 100) / 100 : value);
    if (text !== undefined) one.textContent = text;
    parent.append(one);
    return one;
  }

  const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}` : String(words[0] ?? "none"));

  /* What a share of the values does not exceed, straight between two of them. */
  function quantile(values, share) {
    const ordered = Float64Array.from(values).sort(), place = share * (ordered.length - 1), low = Math.floor(place);
    return ordered[low] + (ordered[Math.min(low + 1, ordered.length - 1)] - ordered[low]) * (place - low);
  }

  const at = (value) => Math.round(value * 10) / 10;
  const dot = (x, y, radius) => `M${at(x - radius)} ${at(y)}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0z`;

  /* One control: its element, and what reads and sets it. */
  const KINDS = {
    range(box, id, { label, low, high, step, shown = String }, moved) {
      const name = made(box, "label", { for: id }, label), said = made(name, "output", { for: id });
      const input = made(box, "input", { type: "range", id, min: low, max: high, step });
      const tell = () => { said.textContent = shown(Number(input.value)); input.setAttribute("aria-valuetext", said.textContent); };
      input.addEventListener("input", () => { tell(); moved(Number(input.value)); });
      return (value) => { input.value = value; tell(); };
    },
    choice(box, id, { label, choices }, moved) {
      const group = made(box, "fieldset");
      made(group, "legend", {}, label);
      const inputs = Object.entries(choices).map(([value, text]) => {
        const one = made(group, "label"), input = made(one, "input", { type: "radio", name: id, value });
        one.append(text);
        input.addEventListener("change", () => moved(value));
        return input;
      });
      return (value) => { for (const input of inputs) input.checked = input.value === String(value); };
    },
    check(box, id, { label }, moved) {
      const one = made(box, "label"), input = made(one, "input", { type: "checkbox", id });
      one.append(label);
      input.addEventListener("change", () => moved(input.checked));
      return (value) => { input.checked = value; };
    },
  };

  function controlled(parent, id, controls, values, moved) {
    const boxes = new Map(), setters = {}, shells = [];
    for (const control of controls) {
      if (control.within && !boxes.has(control.within)) {
        const box = made(parent, "details");
        made(box, "summary", {}, control.within);
        boxes.set(control.within, made(box, "div", { class: "moving-controls" }));
      }
      const shell = made(boxes.get(control.within) || parent, "div", { class: `moving-control ${control.kind}`, "data-name": control.name });
      setters[control.name] = KINDS[control.kind](shell, `${id}-${control.name}`, control, (value) => { values[control.name] = value; moved(); });
      values[control.name] = control.value;
      shells.push([shell, control]);
    }
    return () => {
      for (const [name, put] of Object.entries(setters)) put(values[name]);
      for (const [shell, { when }] of shells) shell.hidden = Boolean(when) && !when(values);
    };
  }

  /* What a generator returns: a move is heard between its pieces, and ends what is asked no more. */
  async function paced(pieces, isWanted) {
    while (isWanted()) {
      const until = performance.now() + PIECE_MS;
      while (performance.now() < until) {
        const { done, value } = pieces.next();
        if (done) return value;
      }
      await new Promise((go) => setTimeout(go, 0));
    }
    return null;
  }

  function begin(section, figure, library) {
    const stage = section.querySelector(".moving-stage"), about = JSON.parse(section.querySelector('script[type="application/json"]').textContent);
    const controls = made(stage, "div", { class: "moving-controls" }), values = {};
    const svg = mark(stage, "svg", { role: "img", "aria-label": section.querySelector(".moving-question").textContent });
    const said = made(stage, "p", { class: "moving-said", role: "status", "aria-live": "off" });
    let asked = 0, answer = null, width = 0, isHeard = false;
    const show = controlled(controls, section.id, figure.controls(about), values, move);
    const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

    function move() {
      const number = ++asked;
      show();
      Promise.resolve().then(() => figure.simulate({ ...values }, library, about)).then((found) => (found && found.next ? paced(found, () => number === asked) : found)).then((found) => {
        if (number !== asked) return;
        answer = { found, values: { ...values } };
        again();
        if (!isHeard) setTimeout(quiet, 100, false); // the first picture is no news
        isHeard = true;
      }).catch((problem) => number === asked && tell(`${problem.message}: the last picture stays.`, true));
    }

    function again() {
      if (!answer) return;
      const at = { values: answer.values, about, width };
      svg.replaceChildren();
      const height = figure.draw(svg, answer.found, at);
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      if (figure.alt) svg.setAttribute("aria-label", figure.alt(answer.found, at));
      tell(figure.sentence(answer.found, at), false);
    }

    function tell(text, isWrong) {
      said.classList.toggle("wrong", isWrong);
      if (said.textContent === text) return;
      said.textContent = text;
    }

    const quiet = (isOn) => said.setAttribute("aria-live", isOn ? "off" : "polite");

    section.classList.add("lives");
    new ResizeObserver(() => {
      const now = Math.round(svg.getBoundingClientRect().width);
      if (now && now !== width) { width = now; again(); }
    }).observe(svg);
    width = Math.round(svg.getBoundingClientRect().width) || 640;
    if (figure.mounted) figure.mounted({ section, controls, svg, values, again, isStill, quiet, set: (given) => { Object.assign(values, given); move(); } }, about);
    move();
  }

  function figure(name, definition) {
    for (const section of document.querySelectorAll(`.moving[data-figure="${name}"]:not([data-begun])`)) {
      section.dataset.begun = "";
      const near = new IntersectionObserver((seen) => {
        if (!seen.some((one) => one.isIntersecting)) return;
        near.disconnect();
        opened().then((library) => begin(section, definition, library)).catch((problem) => {
          made(section.querySelector(".moving-stage"), "p", { class: "wrong" }, `This browser cannot simulate it here (${problem.message}).`);
        });
      }, { rootMargin: NEAR });
      near.observe(section);
    }
  }

  return { dot, figure, listed, made, mark, quantile };
})();
