// Click a column's heading to sort its table, each group of rows under its own heading. Nothing on these pages needs this script to be read.
for (const table of document.querySelectorAll("main table")) {
  const body = table.tBodies[0];
  if (!body || body.rows.length < 3) continue;
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column]?.dataset.order ?? row.cells[column]?.textContent ?? "";
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const numbers = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
        return numbers ? x - y : x.localeCompare(y, "en", { numeric: true });
      };
      const groups = [[]];
      for (const row of body.rows) {
        if (row.classList.contains("group")) groups.push([row], []);
        else groups.at(-1).push(row);
      }
      for (const rows of groups) {
        if (rows.length > 1) rows.sort(compare);
        body.append(...(up ? rows : rows.reverse()));
      }
    });
  }
}
