// Tables that sort by a click on a header; a second click turns the order round. Without this script they stand in the
// order of the command line.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];

  function sort(column) {
    const head = heads[column];
    const { first } = head.dataset;
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((one) => one.setAttribute("aria-sort", one === head ? order : "none"));
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => Number.parseFloat(row.cells[column].dataset.value);
    // What has no value stands last either way.
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    };
    body.append(...[...body.rows].sort(compare));
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(column));
  });
}
