/* A position in a page's address: written, and read again. What of a link cannot be read is said, with what is shown in
   its place; the rest of it holds. */
const explorerAddress = (() => {
  "use strict";

  const A = "A."; // before the parts of the position that is compared with
  const valuesOf = (control) => Object.assign({}, control.choices, ...Object.values(control.groups || {}));

  /* A part's value, or a problem and what is taken instead. */
  function taken(control, value, last) {
    const { label, kind } = control, instead = `${[].concat(last).join(", ") || "none"} is shown`;
    const wrong = (expected) => ({ value: last, remark: `The link's ${label} is "${value}" (expected ${expected}): ${instead}.` });
    if (kind === "number") {
      const { values } = control, number = Number(value), whole = !values && Number.isInteger(control.step);
      const [low, high] = values ? [values[0], values[values.length - 1]] : [control.low, control.high];
      if (value.trim() === "" || !(number >= low && number <= high) || (whole && !Number.isInteger(number))) return wrong(`${whole ? "a whole number, " : ""}${low} to ${high}`);
      const near = values ? explorer.nearest(values, number) : number;
      return { value: near, remark: near === number ? "" : `${label} ${value} is not on the grid: ${near}, the nearest, is shown.` };
    }
    if (kind === "text") return { value, remark: "" };
    const known = Object.keys(valuesOf(control));
    if (kind === "choice") return known.includes(value) ? { value, remark: "" } : wrong(known.join(", "));
    const asked = value.split(","), found = known.filter((one) => asked.includes(one)), unknown = asked.filter((one) => !known.includes(one));
    if (!found.length) return wrong(`some of ${known.join(", ")}`);
    const remark = `The link's ${label} has "${unknown.join(", ")}" (expected some of ${known.join(", ")}): ${found.join(", ")} is shown.`;
    return { value: found, remark: unknown.length ? remark : "" };
  }

  /* The state that an address asks for, that of a position A if it has one, and what is wrong with it; what is wrong
     stays as it was. */
  function read(address, controls, last) {
    const parts = address.replace(/^#/, "").split("&").filter(Boolean), ofA = parts.filter((part) => part.startsWith(A));
    const b = taking(parts.filter((part) => !part.startsWith(A)), controls, last);
    if (!ofA.length) return b;
    const a = taking(ofA.map((part) => part.slice(A.length)), controls, b.state);
    return { ...b, a: a.state, remarks: [...b.remarks, ...a.remarks.map((remark) => `Of A: ${remark}`)] };
  }

  function taking(parts, controls, last) {
    const state = { ...last }, remarks = [], seen = new Set();
    for (const part of parts) {
      const [name, ...rest] = part.split("="), control = controls.find((one) => one.name === name);
      if (!control) {
        remarks.push(`The link has "${part}", which is no control (there are ${controls.map((one) => one.name).join(", ")}): it is left out.`);
        continue;
      }
      let value = rest.join("=");
      try { value = decodeURIComponent(value); } catch { /* cut off: named as it stands */ }
      const { value: found, remark } = taken(control, value, state[name]);
      state[name] = found;
      if (remark) remarks.push(remark);
      if (seen.has(name)) remarks.push(`The link has ${control.label} twice: the last that can be read, ${found}, is shown.`);
      seen.add(name);
    }
    return { state, remarks };
  }

  /* All of a position and, behind it, where A differs. */
  function write(controls, state, a = null) {
    const part = (of, name) => `${name}=${encodeURIComponent(of[name]).replace(/%2C/g, ",")}`;
    const moved = a ? controls.filter(({ name }) => String(a[name]) !== String(state[name])) : [];
    return "#" + [...controls.map(({ name }) => part(state, name)), ...moved.map(({ name }) => A + part(a, name))].join("&");
  }
  const isState = (address) => /=/.test(address); // other anchors are the page's own

  return { isState, read, write };
})();
