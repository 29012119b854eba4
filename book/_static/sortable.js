/* Long tables are sorted by a click on a column's name: a number by its value, everything else as text. */
(() => {
  const LONG = 12;

  // The first number of a cell, or its text: "−25.5 points" comes before "+0.3 points", "43.3 %" before "96.5 %".
  function key(cell) {
    if (cell.dataset.value !== undefined) return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
    const text = cell.textContent.trim();
    const found = text.replace(/−/g, "-").match(/^[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?/i);
    if (found) return Number(found[0].replace(/,/g, ""));
    return text === "–" ? NaN : text.toLowerCase();
  }

  function compare(a, b) {
    const known = (value) => !Number.isNaN(value);
    if (!known(a) || !known(b)) return known(b) - known(a); // what has no number stays at the end
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row.cells[column]), row]);
    rows.sort(([a], [b]) => {
      const order = compare(a, b);
      return descending && !Number.isNaN(a) && !Number.isNaN(b) ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  }

  function make(table) {
    const names = [...table.tHead.rows[0].cells];
    names.forEach((name, column) => {
      if (!name.textContent.trim() || name.textContent === "drawn") return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...name.childNodes);
      name.append(button);
      button.addEventListener("click", () => {
        const descending = name.getAttribute("aria-sort") === "ascending";
        names.forEach((other) => other.removeAttribute("aria-sort"));
        name.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
    });
  }

  // Tables of one row of names and one body, without cells that span several.
  document.addEventListener("DOMContentLoaded", () => {
    for (const table of document.querySelectorAll(".bd-article .cell_output table")) {
      const plain = table.tHead?.rows.length === 1 && table.tBodies.length === 1;
      if (plain && table.tBodies[0].rows.length >= LONG && !table.querySelector("[rowspan], td[colspan]")) make(table);
    }
  });
})();
