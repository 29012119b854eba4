/* A file taken apart, before anybody knows what it is about: a table with separators, or records of JSON.

   As `simlib.reading` and `simlib.requests.formats.document` do it, in the order of their checks and by their sentences. */
const readerDocuments = (() => {
  "use strict";
  const { refuse, quoted, repr, numberOf, stripped, START } = readerTexts;
  const MOST_BYTES = 50e6, MOST_NESTED = 100, WHAT = "a trace or a benchmark's result", MORE = "`simlib inspect` in Python reads it";
  const YAML = /^(---\s*\n|\s*#[^\n]*\n)*[A-Za-z_]\w*:( [^,;\t\n]*)?\r?\n/;
  const METRIC = /^\s*(# (HELP|TYPE) |[A-Za-z_:][\w:]*(\{[^\n]*\})? ([-+]?[.\d]|NaN|[-+]?Inf)\S*( \d+)?\s*\n)/;
  const HEADLESS = /^\d+,[\d.]+,[\d.]*,[A-Z]?[a-z]*,[-+.\de]+,[-+.\de]+\r?\n/; // ServeGen's windows
  const has = (record, name) => Object.hasOwn(record, name);

  function decoded(source, bytes) {
    const start = String.fromCharCode(...bytes.subarray(0, 8));
    const foreign = Object.entries(readerFormats.foreign).find(([mark]) => start.startsWith(mark));
    if (foreign) refuse(`${source}: ${foreign[1]} (expected ${WHAT} as UTF-8 text, packed by gzip or zstd or not)`);
    if (start.startsWith("\x28\xb5\x2f\xfd")) refuse(`${source}: packed by zstd (expected gzip or none in a page; ${MORE})`);
    if (bytes.includes(0)) refuse(`${source}: a binary file (expected ${WHAT} as UTF-8 text)`);
    if (bytes.length > MOST_BYTES) refuse(`${source}: more than ${MOST_BYTES / 1e6} MB (expected at most as many in a page; ${MORE})`);
    if (start.startsWith("\xef\xbb\xbf")) bytes = bytes.subarray(3);
    if (bytes.every((byte) => byte === 32 || (byte >= 9 && byte <= 13))) refuse(`${source}: the file is empty (expected ${WHAT})`);
    const decode = (from, to) => { try { return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(from, to)); } catch { return null; } };
    const text = decode(0);
    if (text !== null) return text;
    let from = 0, line = 1, end;
    for (; (end = bytes.indexOf(10, from)) >= 0 && decode(from, end) !== null; line++) from = end + 1;
    for (let to = from; to <= bytes.length && to - from < 5; to++) if (decode(from, to) !== null) from = to; // a character more
    return refuse(`${source}, line ${line}: not UTF-8 text (expected UTF-8; byte ${from})`);
  }

  /* JSON as Python's: with NaN, no key twice, floats apart from integers; faults by line and column. */
  function json(source, text, i = 0, end = text.length) {
    const WORDS = { n: ["null", null], t: ["true", true], f: ["false", false], N: ["NaN", NaN], I: ["Infinity", Infinity], "-": ["-Infinity", -Infinity] };
    const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y, LETTERS = /[^"\\\x00-\x1f]*/y, HEX = /[\da-fA-F]{4}/y;
    const ESCAPED = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
    let depth = 0;
    const lineOf = (at) => text.slice(0, at).split("\n").length;
    const wrong = (what, at = i) => refuse(`${source}, line ${lineOf(at)}, column ${at - text.lastIndexOf("\n", at - 1)}: ${what} (expected JSON)`);
    const is = (sign) => i < end && text[i] === sign;
    const blank = () => { while (is(" ") || is("\n") || is("\t") || is("\r")) i++; };
    const take = (sign, what) => { if (!is(sign)) wrong(what); i++; blank(); };

    function string() {
      const begin = i++;
      for (let found = ""; ; ) {
        LETTERS.lastIndex = i;
        LETTERS.test(text);
        found += text.slice(i, LETTERS.lastIndex);
        i = LETTERS.lastIndex;
        if (i >= end) wrong("Unterminated string starting at", begin);
        if (is('"')) return i++, found;
        if (!is("\\")) wrong("Invalid control character at");
        if (++i >= end) wrong("Unterminated string starting at", begin);
        if (is("u")) {
          HEX.lastIndex = i + 1;
          if (!HEX.test(text)) wrong("Invalid \\uXXXX escape");
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
        i++;
        blank();
        const found = sign === "{" ? object() : array();
        depth--;
        i++;
        return found;
      }
      NUMBER.lastIndex = i;
      if (sign && NUMBER.test(text)) {
        const part = text.slice(i, NUMBER.lastIndex), number = Number(part);
        i = NUMBER.lastIndex;
        if (Number.isSafeInteger(number)) return /[.eE]/.test(part) ? new Number(number) : number;
        return !/[.eE]/.test(part) ? BigInt(part) : Number.isInteger(number) ? new Number(number) : number;
      }
      const word = WORDS[sign];
      if (!word || !text.startsWith(word[0], i)) wrong("Expecting value");
      i += word[0].length;
      return word[1];
    }

    function array() {
      const found = [];
      while (found.length || !is("]")) {
        found.push(value());
        blank();
        if (is("]")) break;
        take(",", "Expecting ',' delimiter");
      }
      return found;
    }

    function object() {
      const found = {}, twice = [];
      for (let isFirst = true; !isFirst || !is("}"); isFirst = false) {
        if (!is('"')) wrong("Expecting property name enclosed in double quotes");
        const key = string();
        blank();
        take(":", "Expecting ':' delimiter");
        if (has(found, key)) twice.push(key);
        found[key] = value();
        blank();
        if (is("}")) break;
        take(",", "Expecting ',' delimiter");
      }
      if (twice.length) refuse(`${source}, line ${lineOf(i)}: ${quoted(Object.keys(found).find((key) => twice.includes(key)))} twice in one object (expected once)`);
      return found;
    }

    blank();
    const found = value();
    blank();
    if (i < end) wrong("Extra data");
    return found;
  }

  const isObject = (value) => Object.prototype.toString.call(value) === "[object Object]";

  /* The objects of a JSON text: one, an array of them, or one a line. */
  function records(source, text) {
    const check = (value, place) => isObject(value) ? value
      : refuse(`${source}, ${place}: ${(typeof value === "string" ? value : repr(value)).slice(0, 60)} (expected a JSON object)`);
    const isAlone = (line) => { try { return isObject(JSON.parse(line)); } catch { return false; } };
    const line = /\S[^\n]*/g, first = line.exec(text)[0], second = line.exec(text)?.[0];
    if (second && (isAlone(first) || isAlone(second))) {
      const found = [];
      for (let from = 0, number = 1, end; from < text.length; from = end + 1, number++) {
        end = text.indexOf("\n", from);
        if (end < 0) end = text.length;
        if (/\S/.test(text.slice(from, end))) found.push(check(json(source, text, from, end), `line ${number}`));
      }
      return found;
    }
    const whole = json(source, text), found = Array.isArray(whole) ? whole : [whole];
    if (!found.length) refuse(`${source}: an empty array (expected at least 1 object)`);
    return found.map((record, row) => check(record, `row ${row}`));
  }

  /* The cells of a table's first line, which says what separates them and names the columns. */
  function header(source, line) {
    const cellsOf = (mark) => {
      const cells = [""];
      let isQuoted = false, isNew = true;
      for (let i = 0; i < line.length; i++) {
        const sign = line[i];
        if (isQuoted && sign === '"' && line[i + 1] === '"') cells[cells.length - 1] += line[i++];
        else if (sign === '"' && (isQuoted || isNew)) isQuoted = !isQuoted, isNew = false;
        else if (!isQuoted && sign === mark) cells.push(""), isNew = true;
        else if (!isNew || sign !== " ") cells[cells.length - 1] += sign, isNew = false;
      }
      return cells.map(stripped);
    };
    const rows = [...",\t;"].map((mark) => [mark, cellsOf(mark)]);
    const [mark, names] = rows.reduce((best, row) => (row[1].length > best[1].length ? row : best));
    if (!names.some(Boolean)) refuse(`${source}: no header (expected the names of columns in the first line)`);
    const twice = names.find((name, place) => names.indexOf(name, place + 1) > 0);
    if (twice !== undefined) refuse(`${source}, ${twice || "no name"}: ${names.filter((name) => name === twice).length} columns of that name (expected one)`);
    return [mark, names];
  }

  /* A table: where each cell begins and ends in its text; cells that are spelled otherwise stand apart. */
  function table(source, text) {
    let from = 0, to = text.length;
    while (" \r\n".includes(text[from])) from++;
    while (" \r\n".includes(text[to - 1])) to--;
    text = `${text.slice(from, to)}\n`;
    const comments = /^(#[^\r\n]*[\r\n]+)+(?=.)/.exec(text);
    if (comments) text = text.slice(comments[0].length);
    const begin = /[\r\n]/.exec(text).index, [mark, names] = header(source, text.slice(0, begin));
    const code = mark.charCodeAt(0), width = names.length, hasSpace = text.includes(`${mark} `, begin), spelled = new Map();
    if (hasSpace) text = text.slice(0, begin) + text.slice(begin).replace(new RegExp(`${mark} +"`, "g"), `${mark}"`);
    let ends = new Int32Array(1 << 16), cells = 0, inRow = 0, isOpen = false;
    for (let i = begin, c; i < text.length; i++) {
      c = text.charCodeAt(i);
      if (inRow === 0 && (c === 10 || c === 13)) continue;
      let start = i, stop = -1, words = null;
      if (c === 34) { // a quote; what stands behind the closing one belongs to the cell
        for (words = ""; c === 34; c = text.charCodeAt(i)) {
          const close = text.indexOf('"', ++i);
          isOpen = close < 0;
          words += (words || i > start + 1 ? '"' : "") + text.slice(i, isOpen ? text.length : close);
          i = isOpen ? text.length : close + 1;
        }
        stop = i - 1;
      }
      const rest = i;
      while (i < text.length && (c = text.charCodeAt(i)) !== code && c !== 10 && c !== 13) i++;
      if (words !== null && (i > rest || isOpen || words.length < stop - start - 1)) spelled.set(cells, words + text.slice(rest, i));
      if (2 * cells === ends.length) { const more = new Int32Array(4 * cells); more.set(ends); ends = more; }
      ends[2 * cells] = words === null ? start : start + 1;
      ends[2 * cells + 1] = words === null ? i : stop;
      cells++;
      inRow++;
      if (c === code && i < text.length) continue;
      if (inRow !== width) refuse(`${source}, row ${(cells - inRow) / width}: ${inRow} cells (expected ${width}, as the header has)`);
      inRow = 0;
    }
    const rows = cells / width;
    if (isOpen) refuse(`${source}, row ${rows - 1}: a quote that is not closed (expected a second one)`);
    if (!rows) refuse(`${source}: a header and no rows (expected at least 1 row)`);

    function column(name) {
      const place = names.indexOf(name), isPlain = mark === "," && !spelled.size;
      const cell = (row) => {
        const at = row * width + place, raw = spelled.get(at) ?? text.slice(ends[2 * at], ends[2 * at + 1]);
        const trimmed = hasSpace ? raw.replace(START, "") : raw;
        return (mark === "," ? trimmed : trimmed.replace(/^([+-]?\d+),(\d+)$/, "$1.$2")) || null;
      };
      const number = (row) => {
        const at = 2 * (row * width + place), quick = isPlain ? decimal(text, ends[at], ends[at + 1]) : NaN;
        return Number.isNaN(quick) ? numberOf(cell(row)) : quick;
      };
      return { size: rows, cell, numbers: () => { const found = new Float64Array(rows); for (let row = 0; row < rows; row++) found[row] = number(row); return found; } };
    }
    return { source, columns: names, rows, column, notes: comments ? [`${source}: lines before the header that begin with # are skipped`] : [] };
  }

  /* The number that a cell spells with at most 15 digits, which is exact; NaN where `numberOf` has to look. */
  function decimal(text, i, end) {
    let whole = 0, digits = 0, point = 0;
    for (; i < end; i++) {
      const c = text.charCodeAt(i) - 48;
      if (c >= 0 && c <= 9) whole = 10 * whole + c, digits++;
      else if (c === -2 && !point) point = digits + 1;
      else return NaN;
    }
    if (!digits || digits > 15) return NaN;
    return point ? whole / 10 ** (digits + 1 - point) : whole;
  }

  const list = (values) => ({ size: values.length, cell: (row) => values[row], numbers: () => Float64Array.from(values, numberOf) });

  /* Source, names of the columns, number of rows, and what a column holds: cells and their numbers. */
  function document(source, bytes) {
    const text = decoded(source, bytes);
    if (YAML.test(text)) {
      const what = text.startsWith("trace_version:") ? "BLIS's header of a trace (expected the table" : "YAML (expected the JSON or the table";
      refuse(`${source}: ${what} that its writer puts beside it)`);
    }
    if (METRIC.test(text)) return { source, columns: [...new Set([...text.matchAll(/^([A-Za-z_:][\w:]*)[{ ]/gm)].map((found) => found[1]))] };
    if (HEADLESS.test(text)) return { source, columns: readerFormats.windows };
    if (!/^\s*[{[]/.test(text.slice(0, 1000))) return table(source, text);
    const found = records(source, text), columns = new Set();
    for (const record of found) for (const name in record) columns.add(name);
    return { source, records: found, columns: [...columns], rows: found.length, column: (name) => list(found.map((record) => (has(record, name) ? record[name] : null))), notes: [] };
  }

  return { MOST_BYTES, MORE, document, has, list };
})();
