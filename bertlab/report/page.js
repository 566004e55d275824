"use strict";
(() => {
  const table = document.getElementById("misclassified-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({
    row,
    split: row.dataset.split,
    true: JSON.parse(row.dataset.true),
    predicted: JSON.parse(row.dataset.predicted),
    text: row.cells[row.cells.length - 1].textContent.toLowerCase(),
  }));
  const form = document.getElementById("filters");
  const control = (name) => document.getElementById(`filter-${name}`);
  // So many rows are shown until all are asked for.
  const FIRST = 20;
  const more = document.getElementById("show-all");
  let all = rows.length <= FIRST;
  const value = (name) => (control(name) ? control(name).value : "");

  function filter() {
    const [split, actual, predicted] = ["split", "true", "predicted"].map(value);
    const text = value("text").trim().toLowerCase();
    let matching = 0;
    for (const item of rows) {
      const matches =
        (!split || item.split === split) &&
        (!actual || item.true.includes(actual)) &&
        (!predicted || item.predicted.includes(predicted)) &&
        item.text.includes(text);
      matching += matches;
      item.row.hidden = !matches || (!all && matching > FIRST);
    }
    const shown = all ? matching : Math.min(matching, FIRST);
    document.getElementById("shown").textContent = `${shown} of ${rows.length} examples`;
    more.hidden = shown === matching;
    more.textContent = `Show all ${matching}`;
  }

  const number = (cell) => {
    const found = parseFloat(cell.textContent);
    return Number.isNaN(found) ? -Infinity : found;
  };

  function sort(header) {
    // Numbers start from the largest, names from the start of the alphabet.
    const numeric = header.dataset.sort === "number";
    const now = header.getAttribute("aria-sort");
    const down = now === "descending" ? false : now === "ascending" ? true : numeric;
    for (const other of header.parentNode.cells) {
      if (other.dataset.sort) other.setAttribute("aria-sort", "none");
    }
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const column = header.cellIndex;
    rows.sort((left, right) => {
      const [a, b] = [left.row.cells[column], right.row.cells[column]];
      const order = numeric ? number(a) - number(b) : a.textContent.localeCompare(b.textContent);
      return down ? -order : order;
    });
    body.append(...rows.map((item) => item.row));
    filter();
  }

  for (const header of table.tHead.rows[0].cells) {
    if (!header.dataset.sort) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    if (!header.hasAttribute("aria-sort")) header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(header));
  }
  form.hidden = false;
  // Text changes as it is typed; assistive tools that set a select may announce the change alone.
  for (const event of ["input", "change"]) form.addEventListener(event, filter);
  more.addEventListener("click", () => {
    all = true;
    filter();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();
})();
