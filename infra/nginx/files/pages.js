"use strict";
// A filter box for a long list. The page is complete without it: the box is hidden until we run.
for (const box of document.querySelectorAll("[data-filter]")) {
  const input = box.querySelector("input");
  const shown = box.querySelector("[role=status]");
  const rows = Array.from(document.getElementById(box.dataset.filter).children, (row) => ({
    row,
    text: row.textContent.toLowerCase(),
  }));
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let count = 0;
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = input.value ? `${count} / ${rows.length}` : "";
  };
  input.addEventListener("input", apply);
  box.hidden = false;
  apply();
}
