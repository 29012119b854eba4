/* The library's kernels in the page: memory, calls, and a table's requests served by them. In a worker, or in node. */
const engine = (() => {
  "use strict";
  const STACK_END = 1 << 20, PAGE = 1 << 16;
  const KINDS = { "f64[]": Float64Array, "f64[,]": Float64Array, "i64[]": BigInt64Array, "u8[]": Uint8Array, "u64[,]": BigUint64Array };
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /* The module's functions, called with numbers and typed arrays, of which the last ones are filled. */
  function opened(module, exports) {
    const memory = new WebAssembly.Memory({ initial: 64 });
    const stack = new WebAssembly.Global({ value: "i32", mutable: true }, STACK_END);
    const env = { __linear_memory: memory, __stack_pointer: stack, fmod: (a, b) => a % b };
    for (const name of ["exp", "expm1", "log", "log1p", "pow"]) env[name] = Math[name];
    const wasm = new WebAssembly.Instance(module, { env }).exports;

    function call(name, ...values) {
      const { parameters, reads } = exports[name], placed = [], words = [];
      let top = STACK_END + 64;
      parameters.forEach((kind, place) => {
        const value = values[place];
        if (kind === "integer") return words.push(BigInt(value));
        if (kind === "number") return words.push(Number(value));
        const { data, shape } = value.shape ? value : { data: value, shape: [value.length] };
        if (!(data instanceof KINDS[kind])) throw new TypeError(`${name}: parameter ${place} is no ${kind}`);
        const size = data.BYTES_PER_ELEMENT, strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, size));
        placed.push([data, top, place < reads]);
        words.push(0, 0, BigInt(data.length), BigInt(size), top, ...shape.map(BigInt), ...strides.map(BigInt));
        top += Math.ceil(data.byteLength / 32) * 32;
      });
      if (top > memory.buffer.byteLength) memory.grow(Math.ceil((top - memory.buffer.byteLength) / PAGE));
      for (const [data, start, isRead] of placed) if (isRead) new data.constructor(memory.buffer, start, data.length).set(data);
      wasm.heap(top);
      const status = wasm[name](STACK_END, STACK_END + 32, ...words);
      if (status !== 0 && status !== -2) throw new Error(`${name} failed (${status})`);
      for (const [data, start, isRead] of placed) if (!isRead) data.set(new data.constructor(memory.buffer, start, data.length));
    }
    return call;
  }

  return { opened, bytesOf };
})();
if (typeof module !== "undefined") module.exports = engine;
