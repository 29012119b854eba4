/* A user's file of requests, read where it lies: the account that `simlib inspect --json` gives, and its refusals.

   Knows neither page nor controls, and asks nothing of a network: in a page, in a worker or in node. Names of formats and
   columns come from formats.js, which is loaded before it. The order of the checks is simlib's, whose sentences these are
   (`simlib.reading`, `simlib.requests.formats`, `simlib.requests.account`). */
const reader = (() => {
  "use strict";
  const MOST_BYTES = 50e6, MAX_TOKENS = 2 ** 31, MOST_NESTED = 100, LONGEST_TICKS = 1e18;
  const TICKS_PER_S = { s: 1, ms: 1e3, us: 1e6, ns: 1e9 }, UNITS = Object.keys(TICKS_PER_S);
  const NAMES = { s: "seconds", ms: "milliseconds", us: "microseconds", ns: "nanoseconds" };
  const WHAT = "a trace or a benchmark's result", MORE = "`simlib inspect` in Python reads it";
  const { formats, layouts } = readerFormats, OURS = [...Object.keys(layouts), "serving_benchmark"];
  const READS = formats.filter(([name]) => OURS.includes(name)).map(([, about]) => about).join(", ").replace(/, ([^,]*)$/, " or $1");

  const refuse = (sentence) => { throw Object.assign(new Error(sentence), { name: "InputError" }); };
  const has = (record, name) => Object.hasOwn(record, name);
  const get = (record, name) => (has(record, name) ? record[name] ?? null : null);

  /* Numbers and values as Python writes them. A float without fraction is a Number object, as JSON's 5.0 is not its 5. */
  const isNumber = (value) => typeof value === "number" || typeof value === "bigint" || value instanceof Number;
  const isFloat = (value) => value instanceof Number || (typeof value === "number" && !Number.isInteger(value));
  const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  const power = (exponent) => `e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;

  function float(value) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
    const size = Math.abs(value), [digits, exponent] = value.toExponential().split("e");
    if (size && (size < 1e-4 || size >= 1e16)) return digits + power(Number(exponent));
    return (Object.is(value, -0) ? "-0" : String(value)) + (Number.isInteger(value) ? ".0" : "");
  }

  /* So many significant digits, halves to even. */
  function rounded(value, digits) {
    const [all, places] = Math.abs(value).toExponential(100).split("e"), long = all.replace(".", "");
    if (/^50*$/.test(long.slice(digits)) && long[digits - 1] % 2 === 0) return Number(`${long.slice(0, digits)}e${places - digits + 1}`);
    return Number(Math.abs(value).toPrecision(digits));
  }

  function general(value, digits) {
    if (!Number.isFinite(value) || value === 0) return float(value).replace(".0", "");
    const [short, exponent] = rounded(value, digits).toExponential().split("e"), sign = value < 0 ? "-" : "";
    return sign + (exponent < -4 || exponent >= digits ? short + power(Number(exponent)) : plain(Number(`${short}e${exponent}`)));
  }

  /* Without an exponent, of which JavaScript writes small numbers. */
  const plain = (value) => (value < 1e-6 ? value.toFixed(20).replace(/0+$/, "") : String(value));

  function quoted(text) {
    const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", [mark]: `\\${mark}` };
    return mark + text.replace(/[\\'"\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (sign) => {
      const code = sign.codePointAt(0), hex = code.toString(16);
      return short[sign] ?? (/['"]/.test(sign) ? sign : code < 256 ? `\\x${hex.padStart(2, "0")}` : code < 65536 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`);
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

  function shown(value) {
    if (isNothing(value)) return "nothing";
    const isText = typeof value === "string";
    const text = (isText && /^([-+]?[.\d]|[-+]?(nan|inf))/i.test(value) ? value : repr(value)).replace(/\s+/g, " ");
    return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
  }

  const isNothing = (value) => value === null || value === undefined || Number.isNaN(value);

  function three(value) {
    const near = rounded(value, 3);
    return Number.isInteger(near) ? count(near) : near.toFixed(2 - Number(near.toExponential().split("e")[1]));
  }

  function span(value_s) {
    const units = [["days", 86400, 172800], ["h", 3600, 7200], ["min", 60, 600], ["s", 1, 1], ["ms", 1e-3, 1e-3], ["µs", 1e-6, 1e-6], ["ns", 1e-9, 0]];
    const [unit, unit_s] = value_s ? units.find(([, , least]) => rounded(value_s, 3) >= least) : units[3];
    return `${value_s ? three(value_s / unit_s) : 0} ${unit}`;
  }

  /* Sums in numpy's order, to the last bit. */
  function sum(a, from = 0, n = a.length) {
    let total = 0;
    if (n > 128) {
      const half = (n >> 1) - ((n >> 1) % 8);
      return sum(a, from, half) + sum(a, from + half, n - half);
    }
    let i = 0;
    if (n >= 8) {
      const r = a.slice(from, from + 8);
      for (i = 8; i < n - (n % 8); i += 8) for (let j = 0; j < 8; j++) r[j] += a[from + i + j];
      total = r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
    }
    for (; i < n; i++) total += a[from + i];
    return total;
  }

  const mean = (values) => sum(values) / values.length;
  const middle = (sorted) => { const half = sorted.length >> 1; return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2; };
  const median = (values) => middle(values.filter((value) => !Number.isNaN(value)).sort());
  const variation = (values) => { const at = mean(values); return sum(values.map((value) => (value - at) ** 2)) / (values.length - 1); };

  function spread(values) {
    values = values.filter(Number.isFinite);
    if (!values.length) return null;
    const sorted = values.slice().sort(), place = (sorted.length - 1) * 0.99, low = Math.floor(place), part = place - low;
    const a = sorted[low], b = sorted[Math.min(low + 1, sorted.length - 1)];
    const p99 = part >= 0.5 ? b - (b - a) * (1 - part) : a + (b - a) * part;
    return { mean: mean(values), median: middle(sorted), p99, min: sorted[0], max: sorted[sorted.length - 1] };
  }

  function joined(arrays) {
    const all = new Float64Array(arrays.reduce((size, each) => size + each.length, 0));
    arrays.reduce((at, each) => (all.set(each, at), at + each.length), 0);
    return all;
  }

  /* The bytes of a file as text. */
  function decoded(source, bytes) {
    const start = String.fromCharCode(...bytes.subarray(0, 8));
    const foreign = Object.entries(readerFormats.foreign).find(([mark]) => start.startsWith(mark));
    if (foreign) refuse(`${source}: ${foreign[1]} (expected ${WHAT} as UTF-8 text, packed by gzip or zstd or not)`);
    if (start.startsWith("\x28\xb5\x2f\xfd")) refuse(`${source}: packed by zstd (expected gzip or none; ${MORE})`);
    if (bytes.includes(0)) refuse(`${source}: a binary file (expected ${WHAT} as UTF-8 text)`);
    if (bytes.length > MOST_BYTES) refuse(`${source}: more than 50 MB (expected at most as many in a page; ${MORE})`);
    if (start.startsWith("\xef\xbb\xbf")) bytes = bytes.subarray(3);
    if (bytes.every((byte) => byte === 32 || (byte >= 9 && byte <= 13))) refuse(`${source}: the file is empty (expected ${WHAT})`);
    const decode = (part) => { try { return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(part); } catch { return null; } };
    const text = decode(bytes);
    if (text !== null) return text;
    let from = 0, line = 1, end;
    for (; (end = bytes.indexOf(10, from)) >= 0 && decode(bytes.subarray(from, end)) !== null; line++) from = end + 1;
    for (let at = from; at < bytes.length; at++) // the longest beginning that is whole
      if (decode(bytes.subarray(from, at)) !== null) from = at;
      else if (at - from > 4) break;
    return refuse(`${source}, line ${line}: not UTF-8 text (expected UTF-8; byte ${from})`);
  }

  /* JSON as Python's: with NaN, no key twice, floats apart from integers; every fault by line and column. */
  function json(text, source, i = 0, end = text.length) {
    const WORDS = { n: ["null", null], t: ["true", true], f: ["false", false], N: ["NaN", NaN], I: ["Infinity", Infinity], "-": ["-Infinity", -Infinity] };
    const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y, LETTERS = /[^"\\\x00-\x1f]*/y, HEX = /[\da-fA-F]{4}/y;
    const ESCAPED = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
    let depth = 0;
    const lineOf = (at) => text.slice(0, at).split("\n").length;
    const wrong = (what, at) => refuse(`${source}, line ${lineOf(at)}, column ${at - text.lastIndexOf("\n", at - 1)}: ${what} (expected JSON)`);
    const blank = () => { for (let c; i < end && ((c = text.charCodeAt(i)) === 32 || (c >= 9 && c <= 13 && c !== 11 && c !== 12)); i++); };
    const is = (sign) => i < end && text[i] === sign;

    function string() {
      const begin = i++;
      for (let found = ""; ; ) {
        LETTERS.lastIndex = i;
        LETTERS.test(text);
        const part = text.slice(i, Math.min(LETTERS.lastIndex, end));
        found = found ? found + part : part;
        i += part.length;
        if (i >= end) wrong("Unterminated string starting at", begin);
        if (text[i] === '"') return i++, found;
        if (text[i] !== "\\") wrong("Invalid control character at", i);
        if (++i >= end) wrong("Unterminated string starting at", begin);
        if (text[i] === "u") {
          HEX.lastIndex = i + 1;
          if (!HEX.test(text)) wrong("Invalid \\uXXXX escape", i);
          found += String.fromCharCode(parseInt(text.slice(i + 1, i + 5), 16));
          i += 5;
        } else found += ESCAPED[text[i]] ?? wrong("Invalid \\escape", i - 1), i++;
      }
    }

    function value() {
      const sign = i < end ? text[i] : "";
      if (sign === '"') return string();
      if (sign === "{" || sign === "[") {
        if (++depth > MOST_NESTED) refuse(`${source}, JSON: more than ${MOST_NESTED} lists or objects in one another (expected a few)`);
        const found = sign === "{" ? object() : array();
        depth--;
        return found;
      }
      NUMBER.lastIndex = i;
      if (sign && NUMBER.test(text)) {
        const part = text.slice(i, NUMBER.lastIndex), number = Number(part);
        i = NUMBER.lastIndex;
        if (!Number.isInteger(number)) return number;
        if (/[.eE]/.test(part)) return new Number(number);
        return Number.isSafeInteger(number) ? number : BigInt(part);
      }
      const word = WORDS[sign];
      if (!word || !text.startsWith(word[0], i)) wrong("Expecting value", i);
      i += word[0].length;
      return word[1];
    }

    function array() {
      const found = [];
      for (i++, blank(); !is("]"); blank()) {
        found.push(value());
        blank();
        if (is("]")) break;
        if (!is(",")) wrong("Expecting ',' delimiter", i);
        i++;
      }
      i++;
      return found;
    }

    function object() {
      const found = {}, twice = new Set();
      for (i++, blank(); !is("}") || Object.keys(found).length; blank()) {
        if (!is('"')) wrong("Expecting property name enclosed in double quotes", i);
        const key = string();
        blank();
        if (!is(":")) wrong("Expecting ':' delimiter", i);
        i++;
        blank();
        if (has(found, key)) twice.add(key);
        found[key] = value();
        blank();
        if (is("}")) break;
        if (!is(",")) wrong("Expecting ',' delimiter", i);
        i++;
      }
      const key = twice.size && Object.keys(found).find((name) => twice.has(name));
      if (twice.size) refuse(`${source}, line ${lineOf(i)}: ${quoted(key)} twice in one object (expected once)`);
      i++;
      return found;
    }

    blank();
    const found = value();
    blank();
    if (i < end) wrong("Extra data", i);
    return found;
  }

  const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Number);

  /* The objects of a JSON text: one, an array of them, or one a line. */
  function records(text, source) {
    const check = (value, place) => isObject(value) ? value
      : refuse(`${source}, ${place}: ${(typeof value === "string" ? value : repr(value)).slice(0, 60)} (expected a JSON object)`);
    const alone = (line) => { try { return line.startsWith("{") && isObject(JSON.parse(line)); } catch { return false; } };
    const first = /\S[^\n]*/.exec(text), second = /\S[^\n]*/.exec(text.slice(first.index + first[0].length, first.index + first[0].length + 50e6));
    if (second && (alone(first[0]) || alone(second[0]))) {
      const found = [];
      for (let from = 0, number = 1, end; from < text.length; from = end + 1, number++) {
        end = text.indexOf("\n", from);
        if (end < 0) end = text.length;
        if (/\S/.test(text.slice(from, end))) found.push(check(json(text, source, from, end), `line ${number}`));
      }
      return found;
    }
    const whole = json(text, source), found = Array.isArray(whole) ? whole : [whole];
    if (!found.length) refuse(`${source}: an empty array (expected at least 1 object)`);
    return found.map((record, row) => check(record, `row ${row}`));
  }

  /* A table with separators: where each cell begins and ends in its text; cells that are spelled otherwise stand apart. */
  function table(source, text) {
    let from = 0, to = text.length;
    while (" \r\n".includes(text[from])) from++;
    while (" \r\n".includes(text[to - 1])) to--;
    text = `${text.slice(from, to)}\n`;
    const comments = /^(#[^\r\n]*[\r\n]+)+(?=.)/.exec(text);
    if (comments) text = text.slice(comments[0].length);
    const [mark, names] = header(source, text), width = names.length, hasSpace = text.includes(`${mark} `);
    if (hasSpace) text = text.replace(new RegExp(`${mark} +"`, "g"), `${mark}"`);
    const code = mark.charCodeAt(0), spelled = new Map(), length = text.length;
    let ends = new Int32Array(1 << 16), cells = 0, inRow = 0, open = false;
    for (let i = /[\r\n]/.exec(text).index; i < length; ) {
      let c = text.charCodeAt(i);
      if (inRow === 0 && (c === 10 || c === 13)) { i++; continue; }
      let start = i, stop = -1;
      if (c === 34) { // a quote; what stands behind the closing one belongs to the cell
        let words = "";
        while (c === 34) {
          const close = text.indexOf('"', ++i);
          open = close < 0;
          const end = open ? length : close;
          words += text.slice(i, end);
          i = end + 1;
          c = text.charCodeAt(i);
          if (c === 34) words += '"';
        }
        start++;
        stop = Math.min(i - 1, length);
        if (words.length !== stop - start || (i < length && c !== code && c !== 10 && c !== 13)) spelled.set(cells, words);
      }
      const rest = i;
      while (i < length && (c = text.charCodeAt(i)) !== code && c !== 10 && c !== 13) i++;
      if (spelled.has(cells)) spelled.set(cells, spelled.get(cells) + text.slice(rest, i));
      if (2 * cells === ends.length) { const more = new Int32Array(4 * cells); more.set(ends); ends = more; }
      ends[2 * cells] = start;
      ends[2 * cells + 1] = stop < 0 ? i : stop;
      cells++;
      inRow++;
      if (i >= length || c !== code) {
        if (inRow !== width) refuse(`${source}, row ${(cells - inRow) / width}: ${inRow} cells (expected ${width}, as the header has)`);
        inRow = 0;
      }
      i++;
    }
    const rows = cells / width;
    if (open) refuse(`${source}, row ${rows - 1}: a quote that is not closed (expected a second one)`);
    if (!rows) refuse(`${source}: a header and no rows (expected at least 1 row)`);
    const isPlain = mark === "," && !spelled.size;

    function column(name) {
      const place = names.indexOf(name);
      const cell = (row) => {
        const at = row * width + place, raw = spelled.get(at) ?? text.slice(ends[2 * at], ends[2 * at + 1]);
        const trimmed = hasSpace ? raw.trimStart() : raw;
        return (mark === "," ? trimmed : trimmed.replace(/^([+-]?\d+),(\d+)$/, "$1.$2")) || null;
      };
      return { size: rows, cell, numbers: () => Float64Array.from({ length: rows }, (_, row) => {
        const at = 2 * (row * width + place), quick = isPlain ? decimal(text, ends[at], ends[at + 1]) : NaN;
        return Number.isNaN(quick) ? numberOf(cell(row)) : quick;
      }) };
    }
    return { source, columns: names, rows, column, notes: comments ? [`${source}: lines before the header that begin with # are skipped`] : [] };
  }

  function header(source, text) {
    const first = text.slice(0, 16 << 20).split(/[\r\n]/, 1)[0];
    const rows = [...",\t;"].map((mark) => [mark, cellsOf(first, mark).map((name) => name.trim())]);
    const [mark, names] = rows.reduce((best, row) => (row[1].length > best[1].length ? row : best));
    if (!names.some(Boolean)) refuse(`${source}: no header (expected the names of columns in the first line)`);
    const twice = names.find((name, place) => names.indexOf(name, place + 1) > 0);
    if (twice !== undefined) refuse(`${source}, ${twice || "no name"}: ${names.filter((name) => name === twice).length} columns of that name (expected one)`);
    return [mark, names];
  }

  function cellsOf(line, mark) {
    const cells = [""];
    let isQuoted = false, isNew = true;
    for (let i = 0; i < line.length; i++) {
      const sign = line[i];
      if (isQuoted && sign === '"' && line[i + 1] === '"') cells[cells.length - 1] += line[i++];
      else if (sign === '"' && (isQuoted || isNew)) isQuoted = !isQuoted, isNew = false;
      else if (!isQuoted && sign === mark) cells.push(""), isNew = true;
      else if (!(isNew && sign === " ")) cells[cells.length - 1] += sign, isNew = false;
    }
    return cells;
  }

  /* The number that a cell spells with at most 15 digits, which is exact; NaN where another reader has to look. */
  function decimal(text, i, end) {
    let whole = 0, digits = 0, point = 0;
    const minus = text.charCodeAt(i) === 45;
    for (i += minus; i < end; i++) {
      const c = text.charCodeAt(i) - 48;
      if (c >= 0 && c <= 9) whole = 10 * whole + c, digits++;
      else if (c === -2 && !point) point = digits + 1;
      else return NaN;
    }
    if (!digits || digits > 15) return NaN;
    return (minus ? -whole : whole) / (point ? 10 ** (digits + 1 - point) : 1);
  }

  function numberOf(value) {
    if (isNumber(value)) return Number(value);
    const isOne = typeof value === "string" && /^[ \t-\r\x1c-\x1f]*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?[ \t-\r\x1c-\x1f]*$/i.test(value);
    return isOne ? Number(value.trim()) : NaN;
  }

  const listed = (values) => ({ size: values.length, cell: (row) => values[row], numbers: () => Float64Array.from(values, numberOf) });

  /* A list as pandas holds it: integers among floats and gaps are floats. */
  function series(values) {
    const mixed = values.some((value) => value === null || isFloat(value)) && values.every((value) => value === null || isNumber(value));
    return mixed ? listed(values.map((value) => (Number.isInteger(value) ? new Number(value) : value))) : listed(values);
  }

  /* A file taken apart: source, names of its columns, rows, and what a column holds. */
  function document(source, text) {
    const yaml = /^(---\s*\n|\s*#[^\n]*\n)*[A-Za-z_]\w*:( [^,;\t\n]*)?\r?\n/, metric = /^\s*(# (HELP|TYPE) |[A-Za-z_:][\w:]*(\{[^\n]*\})? ([-+]?[.\d]|NaN|[-+]?Inf)\S*( \d+)?\s*\n)/;
    if (yaml.test(text)) {
      const what = text.startsWith("trace_version:") ? "BLIS's header of a trace (expected the table" : "YAML (expected the JSON or the table";
      refuse(`${source}: ${what} that its writer puts beside it)`);
    }
    if (metric.test(text)) return { source, columns: [...new Set([...text.matchAll(/^([A-Za-z_:][\w:]*)[{ ]/gm)].map((found) => found[1]))] };
    if (/^\s*[{[]/.test(text.slice(0, 1000))) {
      const found = records(text, source), columns = new Set();
      for (const record of found) for (const name in record) columns.add(name);
      return { source, records: found, columns: [...columns], rows: found.length, column: (name) => listed(found.map((record) => get(record, name))), notes: [] };
    }
    if (/^\d+,[\d.]+,[\d.]*,[A-Z]?[a-z]*,[-+.\de]+,[-+.\de]+\r?\n/.test(text)) text = `${readerFormats.windows.join()}\n${text}`;
    return table(source, text);
  }

  function formatOf(found) {
    const names = new Set(found.columns), common = (marks) => marks.filter((name) => names.has(name)).length;
    const sets = formats.flatMap(([name, , all]) => all.map((marks) => [name, marks]));
    let complete = sets.filter(([, marks]) => common(marks) === marks.length);
    const within = (marks, other) => marks.length < other.length && marks.every((name) => other.includes(name));
    complete = complete.filter(([, marks]) => !complete.some(([, other]) => within(marks, other)));
    const best = new Set(complete.map(([name]) => name));
    if (best.size > 1) {
      const which = complete.map(([name, marks]) => `${name}: ${[...marks].sort().join(", ")}`).join("; ");
      refuse(`${found.source}: columns of ${best.size} formats (${which}; expected the option --format)`);
    }
    const [near, marks] = sets.reduce((a, b) => (common(b[1]) - common(a[1]) || a[1].length - b[1].length) > 0 ? b : a);
    if (best.size || common(marks) >= 2) return best.size ? [...best][0] : near;
    if (readerFormats.texts.some((name) => names.has(name)))
      refuse(`${found.source}: conversations as texts, such as ShareGPT's (expected numbers of tokens: session_id, input_length, output_length and delay of each turn, as AIPerf has them in Mooncake's form)`);
    const columns = found.columns.slice(0, 12).map(shown).join(", ") || "none";
    return refuse(`${found.source}: columns ${columns} (expected arrival_s, prompt_tokens and output_tokens, or those of another format: ${formats.map(([name]) => name).join(", ")})`);
  }

  const refuseFirst = (source, name, given, isBad, expected) => {
    for (let row = 0; row < given.size; row++)
      if (isBad(row)) refuse(`${source}, row ${row}, ${name}: ${shown(given.cell(row))} (${expected})`);
  };

  function tokenCounts(source, name, given) {
    const found = given.numbers();
    refuseFirst(source, name, given, (row) => !(found[row] >= 0 && found[row] <= MAX_TOKENS && Number.isInteger(found[row])), "expected an integer >= 0");
    return found;
  }

  /* In which unit a clock counts, as `simlib.requests.formats.clocks` tells it. */
  function told(place, clock, convention, sure) {
    const EPOCH_S = [1.5e9, 2.6e9], FEW = 3, ENOUGH = 8;
    const name = place.slice(place.lastIndexOf(", ") + 2), { ticks } = clock, seen = see(clock);
    const suffix = /(?:_|\b)(?:(s|secs?|seconds)|(ms|msecs?|millis(?:econds)?)|(us|micros(?:econds)?)|(ns|nanos(?:econds)?))[)\]]?$/.exec(name.toLowerCase());
    const named = suffix && UNITS[suffix.slice(1).findIndex(Boolean)], own = named ?? (sure ? convention : null);

    function see({ ticks, whole }) {
      const sorted = whole ? whole.slice().sort() : ticks.slice().sort();
      const gaps = new Float64Array(sorted.length - 1).map((_, row) => Number(sorted[row + 1] - sorted[row])).filter((gap) => gap > 0);
      return {
        gap: gaps.length ? sum(gaps) / (ticks.length - 1) : null, middle: gaps.length ? middle(gaps.sort()) : 0,
        most: Number(sorted[sorted.length - 1]), fractions: ticks.reduce((n, tick) => n + !Number.isInteger(tick), 0) / ticks.length > 0.05,
      };
    }
    const gap_s = (unit, of = seen) => of.gap / TICKS_PER_S[unit];
    const fits = (unit) => {
      const began_s = seen.most / TICKS_PER_S[unit];
      return gap_s(unit) >= 2e-3 && gap_s(unit) <= 60 && (began_s < 1e8 || began_s > EPOCH_S[0]);
    };
    const isUsual = (unit) => gap_s(unit) >= 1e-2 && gap_s(unit) <= 10;
    const rates = (units, of = seen) => {
      if (of.gap === null) return "all are at one instant";
      const rate = (unit) => 1 / gap_s(unit, of), within = units.filter((unit) => rate(unit) >= 1e-4 && rate(unit) <= 1e4);
      return (within.length ? within : units).map((unit) => `${general(rate(unit), 3)}/s if ${NAMES[unit]}`).join(", ");
    };
    const unclear = (by, of = seen) => refuse(`${place}: ${by}; ${rates(UNITS, of)} (expected the option --time-unit, time_unit= in Python, to say which of ${UNITS.join(", ")}, as the values do not)`);
    const as = (unit, why, isEpoch = false, doubt = "") => ({ unit, ticks_per_s: TICKS_PER_S[unit], isEpoch, doubt, text: `${NAMES[unit]}${isEpoch ? " since 1970" : ""} (${why})` });

    function sinceEpoch() {
      for (const unit of UNITS) {
        const [low, high] = EPOCH_S.map((bound) => bound * TICKS_PER_S[unit]), isIn = (tick) => tick >= low && tick <= high;
        const inside = ticks.filter(isIn);
        if (2 * inside.length <= ticks.length) continue;
        const those = inside.length === ticks.length ? seen : see({ ticks: inside, whole: clock.whole?.filter((tick) => isIn(Number(tick))) });
        if (those.gap !== null && gap_s(unit, those) > (unit === own ? 1000 : 60)) {
          if (own === null && gap_s(unit, those) <= 1e4) unclear(`${NAMES[unit]} since 1970 by size, and not by the spacing`, those);
          return null; // large, and spread over years: a finer clock that began anywhere
        }
        const row = ticks.findIndex((tick) => !isIn(tick));
        if (row >= 0) refuse(`${place.replace(/, ([^,]*)$/, `, row ${row}, $1`)}: ${general(ticks[row], 16)} (expected ${NAMES[unit]} since 1970, as in most other rows)`);
        return unit;
      }
      return null;
    }

    const since = sinceEpoch();
    if (named && since && since !== named) unclear(`${general(ticks[0], 16)}, ${NAMES[named]} by the name, ${NAMES[since]} since 1970 by size`);
    const why = named ? "by its name" : "the format's", few = ticks.length < FEW;
    if (seen.gap === null)
      return as(since ?? own ?? convention, why, since !== null, ticks.length > 1 ? "all are at one instant: too coarse for their gaps, unless all were sent at once" : "");
    if (since) {
      if (convention !== since && !few && fits(convention)) unclear(`the format counts in ${NAMES[convention]}, ${NAMES[since]} since 1970 by size`);
      return as(since, named ? why : "by their size", true, convention === since ? "" : `the format counts in ${NAMES[convention]}`);
    }
    if (few || fits(own) || (own === "s" && gap_s(own) < 2e-3)) return as(own, why);
    if (own === "s" && gap_s(own) <= 1e4 && ticks.length >= ENOUGH) return as(own, why, false, `these are rare rates: ${rates(["s", "ms"])}`);
    return unclear(named ? `${NAMES[own]} by the name, and not by the spacing` : `the format counts in ${NAMES[own]}`);
  }

  /* Whole ticks too large for floats to hold each, or nothing. */
  function exact(given, ticks) {
    if (!ticks.some((tick) => tick > 2 ** 53)) return null;
    const cells = Array.from(ticks, (_, row) => given.cell(row));
    try { return cells.every((cell) => BigInt.asIntN(64, BigInt(cell)) === BigInt(cell)) ? BigInt64Array.from(cells, BigInt) : null; } catch { return null; }
  }

  /* Rows with columns: the plain table's and BurstGPT's. */
  function rowsOf(layout, found) {
    const { source, columns: present } = found, columns = {}, frame = {}, warnings = [];
    const tokens = { prompt_tokens: layout.prompt, output_tokens: layout.output, ...Object.fromEntries(Object.entries(layout.tokens).filter(([, theirs]) => present.includes(theirs))) };
    for (const name of [...Object.values(tokens), layout.arrival])
      if (!present.includes(name)) refuse(`${source}, ${name}: missing column (found ${present.slice(0, 12).map(shown).join(", ") || "none"}; expected a ${layout.format} file's)`);
    const given = found.column(layout.arrival), ticks = given.numbers(), unit = layout.unit;
    refuseFirst(source, layout.arrival, given, (row) => !(Number.isFinite(ticks[row]) && ticks[row] >= 0), `expected ${NAMES[unit]} >= 0`);
    if (!layout.starts_at_0)
      refuseFirst(source, layout.arrival, given, (row) => ticks[row] >= 1e8 * TICKS_PER_S[unit], `expected ${NAMES[unit]} from the start; this looks like a clock since 1970, which the option --time-unit, time_unit= in Python, takes`);
    frame.clock = { ticks, whole: exact(given, ticks) };
    const clock = told(`${source}, ${layout.arrival}`, frame.clock, unit, layout.sure);
    columns[layout.arrival] = `arrival, ${clock.text}`;
    if (clock.doubt) warnings.push(`${layout.arrival}: taken for ${clock.text}, though ${clock.doubt}`);
    for (const [ours, theirs] of Object.entries(tokens)) {
      frame[ours] = tokenCounts(source, theirs, found.column(theirs));
      columns[theirs] = ours.replace("_tokens", ", tokens").replaceAll("_", " ");
    }
    if (frame.cached_prompt_tokens)
      refuseFirst(source, tokens.cached_prompt_tokens, found.column(tokens.cached_prompt_tokens), (row) => frame.cached_prompt_tokens[row] > frame.prompt_tokens[row], "expected at most the row's prompt tokens");
    for (const [ours, theirs] of Object.entries(layout.labels).filter(([, theirs]) => present.includes(theirs))) {
      const cells = found.column(theirs);
      if (ours === "model" || ours === "log_type") refuseFirst(source, theirs, cells, (row) => isNothing(cells.cell(row)), "expected a name");
      let absent = 0;
      for (let row = 0; row < cells.size; row++) absent += isNothing(cells.cell(row));
      const none = `none in ${count(absent)} of ${count(cells.size)} rows`;
      columns[theirs] = absent ? `${ours}, ${none}` : ours;
      if (absent && found.records && absent < cells.size) warnings.push(`${theirs}: ${none}`);
      if (ours === "client") frame.client = cells;
    }
    return {
      source, format: layout.format, version: "", frame, size: found.rows, columns, clock, arrival: layout.arrival, warnings,
      starts_at_0: layout.starts_at_0 || clock.isEpoch, starts: "recorded", runs: [],
    };
  }

  function plainTable(found) {
    const { source, columns: present } = found, unit = UNITS.find((one) => present.includes(`arrival_${one}`)) ?? "s";
    const beyond = { ...readerFormats.beyond, ...(present.includes("session_id") ? { [`delay_${unit}`]: readerFormats.beyond.previous } : {}) };
    const log = rowsOf({ ...layouts.plain, arrival: `arrival_${unit}`, unit }, found);
    if (present.includes("priority")) {
      const given = found.column("priority"), values = given.numbers();
      refuseFirst(source, "priority", given, (row) => !Number.isInteger(values[row]), "expected an integer");
      log.columns.priority = readerFormats.priority;
    }
    const other = Object.keys(beyond).find((name) => present.includes(name));
    if (other) refuse(`${source}, ${other}: ${beyond[other]} (expected none in a page; ${MORE})`);
    return log;
  }

  /* The result of a serving benchmark, each of its loads; or means alone. */
  const isReal = (value) => isNumber(value) && Math.abs(Number(value)) < 1e15;

  function engine(result) {
    const backend = get(result, "backend");
    if ((typeof backend === "string" && backend.includes("sglang")) || has(result, "random_range_ratio") || has(result, "accept_length")) return "SGLang";
    return ["endpoint_type", "num_prompts", "tokenizer_id", "burstiness"].some((name) => has(result, name)) ? "vLLM" : "";
  }

  function details(result) {
    const sglang = "SGLang records them with --output-details", vllm = "vLLM records them with --save-result --save-detailed";
    return { SGLang: sglang, vLLM: vllm }[engine(result)] ?? `${vllm}, ${sglang}`;
  }

  function loadName(result) {
    const limit = get(result, "max_concurrency");
    return `rate ${shown(get(result, "request_rate"))}${limit === null ? "" : `, ${shown(limit)} in flight`}`;
  }

  function benchmark(found) {
    const isDetailed = (result) => ["input_lens", "output_lens", "ttfts", "itls"].some((name) => get(result, name) !== null);
    if (!found.records?.some(isDetailed)) return means(found);
    const logs = found.records.map((result) => detailed(found.source, result));
    return logs.length === 1 ? logs[0] : together(logs, found.records.map(loadName));
  }

  function times(source, name, given) {
    const found = given.numbers();
    refuseFirst(source, name, given, (row) => !isNothing(given.cell(row)) && !(found[row] >= 0 && found[row] < LONGEST_TICKS), "expected a time >= 0 or nothing");
    return found;
  }

  function gaps(source, values) {
    return values.map((value, row) => {
      if (!Array.isArray(value)) refuse(`${source}, row ${row}, itls: ${shown(value)} (expected an array of times >= 0)`);
      const found = Float64Array.from(value, numberOf), entry = found.findIndex((gap) => !(gap >= 0 && gap < LONGEST_TICKS));
      if (entry >= 0) refuse(`${source}, row ${row}, itls, entry ${entry}: ${shown(value[entry])} (expected a time >= 0)`);
      return found;
    });
  }

  function detailed(source, result) {
    const { arrays, contents } = readerFormats, isList = (name) => Array.isArray(get(result, name)), columns = {}, frame = {};
    for (const name of ["input_lens", "output_lens"])
      if (!isList(name)) refuse(`${source}, ${name}: ${shown(get(result, name))} (expected an array: ${details(result)})`);
    const size = result.input_lens.length;
    if (!size) refuse(`${source}, input_lens: no values (expected at least 1 request)`);
    for (const name of [...Object.keys(arrays), "start_times"]) {
      const value = get(result, name);
      if (value !== null && !isList(name)) refuse(`${source}, ${name}: ${shown(value)} (expected an array)`);
      if (value !== null && value.length !== size) refuse(`${source}, ${name}: ${value.length} entries (expected ${size}, as in input_lens)`);
      if (value !== null && name in arrays) columns[name] = arrays[name];
    }
    frame.prompt_tokens = tokenCounts(source, "input_lens", series(result.input_lens));
    frame.output_tokens = tokenCounts(source, "output_lens", series(result.output_lens));
    if (columns.ttfts) frame.ttft_s = times(source, "ttfts", series(result.ttfts));
    if (columns.itls) frame.itl_s = gaps(source, result.itls);
    if (columns.ttfts && columns.itls) frame.latency_s = frame.ttft_s.map((ttft_s, row) => ttft_s + sum(frame.itl_s[row]));
    frame.failed = Uint8Array.from({ length: size }, (_, row) =>
      frame.output_tokens[row] === 0 || (columns.errors && Boolean(result.errors[row])) || (columns.ttfts && !(frame.ttft_s[row] > 0)));
    const content = contents.find((name) => isList(name) && result[name].length === size);
    if (content) columns[content] = "what prompts contain";
    const { ticks, clock, starts } = isList("start_times") ? recorded(source, result, frame.failed) : rebuilt(source, result, frame);
    if (ticks) frame.clock = { ticks };
    if (isList("start_times")) columns.start_times = `arrival, ${clock.text}`;
    const unused = Object.keys(result).filter((name) => isList(name) && !has(columns, name));
    const log = { source, format: "serving_benchmark", version: engine(result), frame, size, columns, unused, clock, arrival: "start_times", warnings: [], starts_at_0: true, starts, runs: [] };
    checkTimes(log, result);
    return log;
  }

  function checkTimes(log, result) {
    const { source, frame, clock } = log, served = (values) => values?.filter((_, row) => !frame.failed[row]);
    const itls = served(frame.itl_s), known = [["ttfts", "mean_ttft_ms", served(frame.ttft_s)], ["itls", "mean_itl_ms", itls && joined(itls)]];
    for (const [column, name, values] of known) {
      const own_ms = get(result, name);
      if (!values?.length || !isReal(own_ms) || own_ms <= 0) continue;
      const mean_s = mean(values.filter((value) => !Number.isNaN(value)));
      if (mean_s * 1e3 > 300 * own_ms) refuse(`${source}, ${column}: a mean of ${general(mean_s, 4)} s, where ${name} is ${general(Number(own_ms), 4)} (expected seconds; these look like milliseconds)`);
    }
    const own_ms = get(result, "mean_ttft_ms"), most_s = { ttfts: isReal(own_ms) && own_ms > 0 ? 3600 : 60, itls: 5 };
    for (const [column, , values] of known)
      if (values && median(values) > most_s[column]) refuse(`${source}, ${column}: a median of ${general(median(values), 4)} s (expected seconds, below ${most_s[column]}; these look like milliseconds)`);
    if (clock?.doubt) log.warnings.push(`start_times: taken for ${clock.text}, though ${clock.doubt}`);
  }

  function recorded(source, result, failed) {
    const given = listed(result.start_times), ticks = given.numbers(), isUnsent = ticks.map((tick, row) => failed[row] && !(tick > 0));
    const seconds = { unit: "s", ticks_per_s: 1, doubt: "", text: "seconds (the format's)" }, unsent = isUnsent.reduce((a, b) => a + b, 0);
    refuseFirst(source, "start_times", given, (row) => !isUnsent[row] && !(ticks[row] >= 0), "expected seconds >= 0");
    if (unsent === ticks.length) return { ticks: ticks.fill(0), clock: seconds, starts: "recorded for none: no request was sent" };
    let last = ticks[isUnsent.indexOf(0)], low = last, high = last;
    ticks.forEach((tick, row) => { ticks[row] = last = isUnsent[row] ? last : tick; low = Math.min(low, last); high = Math.max(high, last); });
    const duration = get(result, "duration"), known = isReal(duration) && duration > 0;
    if (known && high - low > 300 * duration)
      refuse(`${source}, start_times: ${general(high - low, 4)} from first to last, where duration is ${general(Number(duration), 4)} (expected seconds, and at most as many; the option --time-unit, time_unit= in Python, says what they are)`);
    const clock = known && high - low <= 1.01 * duration ? { ...seconds, text: "seconds (as its duration)" } : told(`${source}, start_times`, { ticks }, "s", true);
    return { ticks, clock, starts: `recorded${unsent ? `, for all but ${unsent} that failed` : ""}` };
  }

  function rebuilt(source, result, frame) {
    const limit = get(result, "max_concurrency"), rate = get(result, "request_rate");
    if (!["inf", "Infinity", Infinity, null].includes(rate)) {
      const limited = limit === null ? "" : ` with max_concurrency ${shown(limit)}`;
      const saved = engine(result) === "SGLang" ? "" : "vLLM saves them since January 2026 with --save-detailed, and ";
      return { clock: null, starts: `start_times: missing, and request_rate ${shown(rate)}${limited} does not say when each request was sent; ${saved}--request-rate inf needs none` };
    }
    const size = frame.failed.length;
    if (limit === null) return { ticks: new Float64Array(size), clock: null, starts: "rebuilt: all were sent at once" };
    const text = typeof limit === "string" ? limit : repr(limit), range = "number in [1, 1e+06]";
    if (!frame.latency_s) refuse(`${source}, start_times: missing (expected them, or ttfts and itls, as ${text} were in flight)`);
    if (!isNumber(limit)) refuse(`${source}, max_concurrency: ${repr(limit)} (expected a ${range})`);
    if (!(limit >= 1 && limit <= 1e6)) refuse(`${source}, max_concurrency: ${text} (expected a finite ${range})`);
    const free_s = new Float64Array(Math.floor(Number(limit))); // a heap: the first place is free first
    const ticks = frame.latency_s.map((latency_s, row) => {
      const start_s = free_s[0], end_s = start_s + (frame.failed[row] ? 0 : latency_s || 0);
      let at = 0;
      for (let below; (below = 2 * at + 1) < free_s.length; at = below) {
        if (below + 1 < free_s.length && free_s[below + 1] < free_s[below]) below++;
        if (free_s[below] >= end_s) break;
        free_s[at] = free_s[below];
      }
      free_s[at] = end_s;
      return end_s;
    });
    return { ticks, clock: null, starts: `rebuilt: each when one of ${text} in flight had ended` };
  }

  function together(logs, names) {
    const union = (lists) => [...new Set(lists.flat())], clocks = logs.map((log) => log.clock).filter(Boolean), frame = {};
    if (new Set(clocks.map((clock) => clock.unit)).size > 1) refuse(`${logs[0].source}: loads with clocks in several units (expected the option --time-unit)`);
    for (const name of Object.keys(logs[0].frame))
      if (logs.every((log) => log.frame[name])) {
        const parts = logs.map((log) => log.frame[name]);
        frame[name] = name === "itl_s" ? parts.flat() : name === "clock" ? { ticks: joined(parts.map((part) => part.ticks)) } : joined(parts);
      }
    return {
      ...logs[0], frame, size: frame.prompt_tokens.length, columns: Object.assign({}, ...logs.map((log) => log.columns)), clock: clocks[0] ?? null,
      unused: union(logs.map((log) => log.unused)), warnings: union(logs.map((log) => log.warnings)), starts: union(logs.map((log) => log.starts)).join("; "), runs: names,
    };
  }

  /* A benchmark's result without its requests. */
  function means(found) {
    const { source, columns: present } = found, { meant, times: measured } = readerFormats;
    if (!found.records && !present.includes("completed")) refuse(`${source}: a table (expected a JSON object, or a sweep's summary with the column completed)`);
    const cells = found.records ? null : present.map((name) => [name, found.column(name)]);
    const runs = found.records ?? Array.from({ length: found.rows }, (_, row) => Object.fromEntries(cells.map(([name, column]) => [name, column.cell(row)])
      .filter(([, cell]) => cell !== null).map(([name, cell]) => [name, Number.isFinite(numberOf(cell)) ? new Number(numberOf(cell)) : cell])));
    const loads = runs.map((run, row) => {
      const [served, duration, input, output] = ["completed", "duration", "total_input_tokens", "total_output_tokens"].map((name) => {
        const value = get(run, name);
        if (value !== null && !(isReal(value) && value >= 0)) refuse(`${source}, row ${row}, ${name}: ${shown(value)} (expected a number >= 0)`);
        return value === null ? null : Number(value);
      });
      const failed = isReal(get(run, "failed")) ? Math.trunc(Number(run.failed)) : null, spreads = {};
      if (served && input !== null) spreads.prompt_tokens = { mean: input / served };
      if (served && output !== null) spreads.output_tokens = { mean: output / served };
      for (const [ours, theirs] of served ? Object.entries(measured) : []) {
        const values = {};
        for (const statistic of ["mean", "median", "p99"]) {
          const name = theirs.map((short) => `${statistic}_${short}_ms`).find((one) => has(run, one));
          if (name && isReal(run[name])) values[statistic] = Number(run[name]) / 1e3;
        }
        if (Object.keys(values).length) spreads[ours] = values;
      }
      const number = isReal(get(run, "run_number")) ? `, run ${Math.trunc(Number(run.run_number))}` : "";
      const rate_rps = duration && served !== null ? (served + (failed ?? 0)) / duration : null;
      return { name: loadName(run) + number, served: served === null ? null : Math.trunc(served), failed, span_s: duration, rate_rps, spreads };
    });
    const columns = Object.fromEntries(Object.entries(meant).filter(([name]) => present.includes(name)));
    for (const [ours, theirs] of Object.entries(measured))
      for (const short of theirs) for (const statistic of ["mean", "median", "p99"])
        if (present.includes(`${statistic}_${short}_ms`)) columns[`${statistic}_${short}_ms`] = `${statistic} ${ours.replace(/_s$/, "")}, milliseconds`;
    const kind = runs.some((run) => has(run, "run_number")) ? "means of a sweep's runs" : "means";
    const missing = `${kind} and no row a request (expected the arrays input_lens and output_lens: ${details(runs[0])})`;
    return accountOfMeans(source, loads, columns, missing, engine(runs[0]), present.filter((name) => name && !has(columns, name)));
  }

  function accountOfMeans(source, loads, columns, missing, version, unused) {
    const load = loads.length === 1 ? loads[0] : { spreads: {} }, total = (name) => loads.reduce((all, each) => all + (each[name] ?? 0), 0);
    const failed = total("failed"), served = total("served"), { prompt_tokens = null, output_tokens = null, ...measured } = load.spreads;
    const said = (each) => [each.name, ...(each.served === null ? [] : [`${count(each.served)} requests`]), ...(each.failed ? [`${count(each.failed)} failed`] : []),
      ...(each.span_s === null ? [] : [span(each.span_s)]), ...(each.rate_rps === null ? [] : [`${three(each.rate_rps)}/s`])].join(", ");
    const lacks = Object.fromEntries(["simulate", "plan", "calibrate", "validate"].map((verb) => [verb, missing]));
    return account({
      source, format: "serving_benchmark", version, failed, requests: served, columns, unused, arrivals: "none in the file", lacks, instead: instead(loads),
      warnings: failed ? [`${count(failed)} of ${count(failed + served)} requests failed`] : [], span_s: load.span_s ?? null, rate_rps: load.rate_rps ?? null,
      prompt_tokens, output_tokens, loads: loads.length > 1 ? loads.map(said) : [], times: measured,
    });
  }

  function instead(loads) {
    const known = loads.filter((load) => load.served !== 0), from = known.length ? known : loads;
    const load = from.reduce((a, b) => ((b.rate_rps ?? 0) - (a.rate_rps ?? 0) || (b.served ?? 0) - (a.served ?? 0)) > 0 ? b : a);
    const [prompt, output] = ["prompt_tokens", "output_tokens"].map((name) => load.spreads[name]?.mean).map((mean) => (mean > 0 ? `${general(mean, 4)},SIGMA` : null));
    if (!prompt || !output) return "simlib plan --rate RPS --prompt MEDIAN,SIGMA --output MEDIAN,SIGMA plans for what you know of them";
    const rate = load.rate_rps === null ? "RPS" : general(load.rate_rps, 3), shell = /[^\w@%+=:,./-]/.test(load.name) ? `'${load.name.replaceAll("'", `'"'"'`)}'` : load.name;
    return `simlib plan --rate ${rate} --prompt ${prompt} --output ${output} plans with its means${loads.length > 1 ? ` (the load ${shell})` : ""}, SIGMA being how the lengths spread`;
  }

  /* The account as JSON has it, simlib's keys first. */
  function account({ times = {}, lacks, ...found }) {
    const all = {
      rows: 0, failed: 0, time_unit: null, dropped: {}, burstiness: { gap_cv: null, dispersion_10s: null }, prefix: null, clients: null, sessions: null,
      loads: [], state: {}, instead: "", ...found, ...times, version: found.version || null, verbs: Object.keys(lacks).filter((verb) => !lacks[verb]),
      lacks: Object.fromEntries(Object.entries(lacks).filter(([, lacking]) => lacking)),
    };
    return Object.fromEntries([...readerFormats.keys, ...Object.keys(all)].map((name) => [name, all[name]]));
  }

  function accountOf(log, kept, arrival_s) {
    const { frame, size, clock, source } = log, failed = size - kept.served, pick = (values) => (kept.rows ? values.filter((_, row) => kept.rows[row]) : values);
    const prompts = pick(frame.prompt_tokens), empty = prompts.reduce((n, tokens) => n + (tokens === 0), 0), n = arrival_s.length, warnings = [];
    if (failed) warnings.push(failed < size ? `${count(failed)} of ${count(size)} requests failed: dropped` : `all ${count(failed)} requests failed: none was served`);
    if (empty) warnings.push(`prompts of 0 tokens: ${count(empty)} of ${count(prompts.length)}, which an engine refuses; served as they stand`);
    if (kept.moved) warnings.push(`${count(kept.moved)} of ${count(size)} rows stand behind a later one: refused by simulate and plan, but for --unsorted sort`);
    const measured = {};
    for (const name of ["ttft_s", "itl_s", "tpot_s", "latency_s"]) {
      const served = frame[name]?.filter((_, row) => !kept.failed[row]), values = served && spread(name === "itl_s" ? joined(served) : served);
      if (values) measured[name] = values;
    }
    const clients = frame.client && new Set();
    for (let row = 0; clients && row < size; row++)
      if ((!kept.rows || kept.rows[row]) && !isNothing(frame.client.cell(row)) && frame.client.cell(row) !== "") clients.add(repr(frame.client.cell(row)));
    const cached = frame.cached_prompt_tokens, share = cached && sum(pick(cached)) / Math.max(sum(prompts), 1);
    const apart_s = n ? arrival_s[n - 1] - arrival_s[0] : null;
    return account({
      source, format: log.format, version: log.version, rows: size, failed, requests: prompts.length, warnings: [...warnings, ...log.warnings], columns: log.columns, unused: log.unused,
      arrivals: !frame.clock ? (log.starts === "recorded" ? "none in the file" : log.starts) : clock ? `${log.arrival}, ${clock.text}` : log.starts,
      time_unit: clock?.unit ?? null, dropped: failed ? { failed } : {}, span_s: apart_s, rate_rps: apart_s ? (n - 1) / apart_s : null, burstiness: burstiness(arrival_s),
      prompt_tokens: spread(prompts), output_tokens: spread(pick(frame.output_tokens)), times: measured,
      prefix: cached ? { block_tokens: null, engine_block_tokens: null, cached_share: share, shared_in_part: 0 } : null,
      clients: clients ? clients.size : null, loads: log.runs, lacks: lacks(log, kept.served, arrival_s),
    });
  }

  function burstiness(arrival_s) {
    const n = arrival_s.length, span_s = n > 2 ? arrival_s[n - 1] - arrival_s[0] : 0, windows = span_s / 10;
    if (!span_s) return { gap_cv: null, dispersion_10s: null };
    const gaps_s = new Float64Array(n - 1).map((_, row) => arrival_s[row + 1] - arrival_s[row]), cv = Math.sqrt(variation(gaps_s)) / mean(gaps_s);
    if (windows < 20 || windows > 1e6) return { gap_cv: cv > 1e-9 ? cv : 0, dispersion_10s: null };
    const counts = new Float64Array(Math.floor(windows));
    for (const time_s of arrival_s) { const at = Math.floor((time_s - arrival_s[0]) / 10); if (at < counts.length) counts[at]++; }
    return { gap_cv: cv > 1e-9 ? cv : 0, dispersion_10s: variation(counts) / mean(counts) };
  }

  function lacks(log, served, arrival_s) {
    const { frame } = log, n = arrival_s.length, rows = served ? "" : "needs a request that was served";
    const simulate = rows || (log.runs.length ? "holds several loads: --run says which" : "") || (n ? "" : "needs times of arrival, or --rate to draw them at");
    const calibrate = rows || (frame.ttft_s && frame.itl_s ? "" : "needs each request's time to its first token and gaps between tokens") || (frame.clock ? "" : "needs the start of each request");
    const isShort = served < 20 || !(arrival_s[n - 1] > arrival_s[0]), { stamps } = readerFormats;
    const plan = calibrate ? simulate || (isShort ? `needs 20 requests over some time (these are ${served})` : "") : "";
    const isStamped = stamps.every((name) => has(log.columns, name) || log.unused.includes(name));
    return { simulate, plan, calibrate, validate: rows || (isStamped ? "" : `needs an engine's log with ${stamps.join(", ")}`) };
  }

  /* Which rows are kept, in which order they arrive and when. */
  function chosen(log) {
    const { frame, size, runs } = log, failed = frame.output_tokens.map((tokens, row) => tokens === 0 || frame.failed?.[row] === 1);
    const failures = sum(failed), rows = failures && failures < size ? failed.map((is) => !is) : null;
    const kept = { failed, served: size - failures, rows, moved: 0 }, { clock } = frame;
    if (!clock || runs.length) return [kept, new Float64Array(0), null];
    let latest = -Infinity, isSorted = true;
    const order = new Uint32Array(size).map((_, row) => row).filter((row) => !rows || rows[row]), ticks = clock.whole ?? clock.ticks;
    for (const row of order) {
      if (ticks[row] < latest) isSorted = false, kept.moved += !failed[row];
      else latest = ticks[row];
    }
    if (!isSorted) order.sort((a, b) => (ticks[a] < ticks[b] ? -1 : ticks[a] > ticks[b] ? 1 : a - b));
    const per_s = log.clock?.ticks_per_s ?? 1, zero = log.starts_at_0 ? ticks[order[0]] : clock.whole ? 0n : 0;
    return [kept, Float64Array.from(order, (row) => Number(ticks[row] - zero) / per_s), order];
  }

  /* What a file is: its account, and its requests in order of arrival, but the failed ones, where it can be simulated.

     name: without its folder; data: an ArrayBuffer, or text. Throws an Error whose message is the refusal. */
  function read(name, data) {
    const found = document(name, decoded(name, typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data)));
    const format = formatOf(found);
    if (!OURS.includes(format)) refuse(`${name}: ${formats.find(([one]) => one === format)[1]} (expected ${READS}, which the page reads; ${MORE})`);
    const log = format === "plain" ? plainTable(found) : format === "burstgpt" ? rowsOf(layouts.burstgpt, found) : benchmark(found), notes = found.notes;
    if (!log.frame) return { table: null, account: log, notes };
    log.unused ??= found.columns.filter((column) => !has(log.columns, column));
    const [kept, arrival_s, order] = chosen(log), known = accountOf(log, kept, arrival_s);
    if (known.lacks.simulate) return { table: null, account: known, notes };
    const table = { arrival_s };
    for (const column of ["prompt_tokens", "output_tokens", "predicted_output_tokens"])
      if (log.frame[column]) table[column] = Float64Array.from(order, (row) => log.frame[column][row]);
    return { table, account: known, notes };
  }

  /* The same of what may be packed by gzip, which a browser unpacks in its own time. */
  async function open(name, buffer) {
    const start = new Uint8Array(buffer, 0, Math.min(2, buffer.byteLength));
    if (start[0] !== 0x1f || start[1] !== 0x8b) return read(name, buffer);
    const parts = [];
    try {
      let size = 0;
      const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
      for (let part; !(part = await stream.read()).done && size <= MOST_BYTES; size += part.value.length) parts.push(part.value);
    } catch (problem) {
      refuse(`${name}: broken packing (${problem.message}; expected a whole gzip or zstd file)`);
    }
    return read(name, await new Blob(parts).arrayBuffer());
  }

  return { read, open, MOST_BYTES };
})();
if (typeof module !== "undefined") module.exports = reader;
