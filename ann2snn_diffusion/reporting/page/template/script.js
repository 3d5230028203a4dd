"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(table, heads, column)));
}

/* Figures begin with the largest, words with the first; what was not measured comes last. */
function sort(table, heads, column) {
  const head = heads[column];
  const first = column === 0 || !head.classList.contains("number") ? "ascending" : "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  const sign = order === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column].dataset.value;
  const compare = (one, two) => {
    const [a, b] = [value(one), value(two)];
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return sign * (head.classList.contains("number") ? a - b : a.localeCompare(b, "en", { numeric: true }));
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  heads.forEach((one) => one.setAttribute("aria-sort", one === head ? order : "none"));
}

const slides = document.getElementById("slides");
if (slides) {
  const { titles, pictures, labels } = JSON.parse(slides.textContent);
  const slider = document.getElementById("step");
  slider.addEventListener("input", () => {
    const step = Number(slider.value);
    titles.forEach((title, number) => {
      const picture = document.getElementById(`picture-${number}`);
      picture.src = pictures[step][number];
      picture.alt = `${title}, ${labels[step]}`;
    });
    slider.setAttribute("aria-valuetext", labels[step]);
    document.getElementById("step-label").textContent = labels[step];
  });
}
