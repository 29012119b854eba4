/* Values and numbers as Python writes them, sums to numpy's last bit, and refusals: what simlib's sentences are made of. */
const readerTexts = (() => {
  "use strict";
  const refuse = (sentence) => { throw Object.assign(new Error(sentence), { name: "InputError" }); };

  /* JSON's 5.0 is not its 5: a float without a fraction is a Number object, an integer that no float holds a bigint. */
  const isNumber = (value) => typeof value === "number" || typeof value === "bigint" || value instanceof Number;
  const isFloat = (value) => value instanceof Number || (typeof value === "number" && !Number.isInteger(value));
  const isNothing = (value) => value === null || value === undefined || Number.isNaN(value);
  const BLANK = "[\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+", BLANKS = new RegExp(BLANK, "g"), START = new RegExp(`^${BLANK}`), END = new RegExp(`${BLANK}$`);
  const stripped = (text) => text.replace(START, "").replace(END, "");
  const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  const power = (exponent) => `e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;

  function float(value) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
    const size = Math.abs(value), [digits, exponent] = value.toExponential().split("e");
    if (size && (size < 1e-4 || size >= 1e16)) return digits + power(Number(exponent));
    return (Object.is(value, -0) ? "-0" : String(value)) + (Number.isInteger(value) ? ".0" : "");
  }

  /* With so many significant digits, halves to even. */
  function general(value, digits) {
    if (!Number.isFinite(value) || value === 0) return float(value).replace(".0", "");
    const [all, places] = Math.abs(value).toExponential(100).split("e"), long = all.replace(".", "");
    const isHalf = /^50*$/.test(long.slice(digits)) && long[digits - 1] % 2 === 0;
    const near = isHalf ? Number(`${long.slice(0, digits)}e${places - digits + 1}`) : Number(Math.abs(value).toPrecision(digits));
    const [short, exponent] = near.toExponential().split("e"), isSmall = exponent >= -4 && exponent < digits;
    return (value < 0 ? "-" : "") + (isSmall ? String(near) : short + power(Number(exponent)));
  }

  function quoted(text) {
    const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", [mark]: `\\${mark}` };
    return mark + text.replace(/[\\'"\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (sign) => {
      const code = sign.codePointAt(0), [letter, width] = code < 256 ? ["x", 2] : code < 65536 ? ["u", 4] : ["U", 8];
      return short[sign] ?? (/['"]/.test(sign) ? sign : `\\${letter}${code.toString(16).padStart(width, "0")}`);
    }) + mark;
  }

  function repr(value) {
    if (value === null || value === undefined) return "None";
    if (typeof value === "boolean") return value ? "True" : "False";
    if (typeof value === "string") return quoted(value);
    if (isNumber(value)) return isFloat(value) ? float(Number(value)) : String(value);
    if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
    return `{${Object.entries(value).map(([key, each]) => `${quoted(key)}: ${repr(each)}`).join(", ")}}`;
  }

  /* A value in a message: short, on one line. */
  function shown(value) {
    if (isNothing(value)) return "nothing";
    const isCell = typeof value === "string" && /^([-+]?[.\p{Nd}]|[-+]?(nan|inf))/iu.test(value);
    const text = (isCell ? value : repr(value)).replace(BLANKS, " ");
    return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
  }

  /* The number that a value is or spells; NaN where it is none. */
  function numberOf(value) {
    if (isNumber(value)) return Number(value);
    const spells = typeof value === "string" && /^[ \t-\r\x1c-\x1f]*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?[ \t-\r\x1c-\x1f]*$/i.test(value);
    return spells ? Number(value.trim()) : NaN;
  }

  function sum(values, from = 0, size = values.length) {
    if (size > 128) {
      const half = (size >> 1) - ((size >> 1) % 8);
      return sum(values, from, half) + sum(values, from + half, size - half);
    }
    let total = 0, at = 0;
    if (size >= 8) {
      const r = values.slice(from, from + 8);
      for (at = 8; at < size - (size % 8); at += 8) for (let lane = 0; lane < 8; lane++) r[lane] += values[from + at + lane];
      total = r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
    }
    for (; at < size; at++) total += values[from + at];
    return total;
  }

  const mean = (values) => sum(values) / values.length;
  const variance = (values) => { const at = mean(values); return sum(values.map((value) => (value - at) ** 2)) / (values.length - 1); };

  function middle(sorted) {
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  function spread(values) {
    values = values.filter(Number.isFinite);
    if (!values.length) return null;
    const sorted = values.slice().sort(), last = sorted.length - 1, low = Math.floor(last * 0.99), part = last * 0.99 - low;
    const a = sorted[low], b = sorted[Math.min(low + 1, last)], p99 = part >= 0.5 ? b - (b - a) * (1 - part) : a + (b - a) * part;
    return { mean: mean(values), median: middle(sorted), p99, min: sorted[0], max: sorted[last] };
  }

  return { refuse, isNumber, isFloat, isNothing, count, general, quoted, repr, shown, numberOf, stripped, START, sum, mean, variance, middle, spread };
})();
