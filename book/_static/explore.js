// Pictures to play with: choose a state by its keys and see its numbers as bars. All states
// were computed ahead and stand in the page; without JavaScript the first is a table.
(function () {
  "use strict";

  function make(name, parent, text, className) {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    if (className) made.className = className;
    if (parent) parent.appendChild(made);
    return made;
  }

  function explorer(box) {
    const keys = box.dataset.keys.split("|");
    const areas = box.dataset.areas.split("|");  // shown from 0 to 1
    const { columns, data } = JSON.parse(box.dataset.states);
    const rows = data.map((line) => Object.fromEntries(line.map((v, i) => [columns[i], v])));
    box.textContent = "";
    const bar = make("div", box, null, "ledger-filters");
    const fields = keys.map((key) => {
      const field = make("select", make("label", bar, key + " "));
      field.addEventListener("change", draw);
      return field;
    });
    const table = make("table", box, null, "table explorer-bars");
    table.setAttribute("aria-live", "polite");
    const beside = rows.some((row) => row.beside !== null);

    // the values of a key that go with what was chosen before it
    function fill() {
      let left = rows;
      fields.forEach((field, i) => {
        const before = field.value;
        const values = Array.from(new Set(left.map((row) => String(row[keys[i]]))));
        field.textContent = "";
        values.forEach((value) => { make("option", field, value).value = value; });
        field.value = values.includes(before) ? before : values[0];
        left = left.filter((row) => String(row[keys[i]]) === field.value);
      });
      return left;
    }

    function draw() {
      const shown = fill();
      const compared = beside && shown.some((row) => row.beside !== null);
      table.textContent = "";
      const head = make("tr", make("thead", table));
      ["", box.dataset.unit].forEach((text) => { make("th", head, text || "what").scope = "col"; });
      if (compared) make("th", head, box.dataset.beside || "beside").scope = "col";
      const body = make("tbody", table);
      shown.forEach((row) => {
        const line = make("tr", body);
        make("th", line, row.what).scope = "row";
        const cell = make("td", line);
        const track = make("div", cell, null, "explorer-track");
        make("div", track, null, "explorer-bar").style.width = Math.max(0, row.value) + "%";
        if (row.beside !== null) make("div", track, null, "explorer-mark").style.left = row.beside + "%";
        make("span", cell, areas.includes(row.what) ? (row.value / 100).toFixed(2) : row.value.toFixed(1));
        if (compared) {
          const told = make("td", line, row.beside === null ? "" : row.beside.toFixed(1), "explorer-beside");
          told.dataset.label = box.dataset.beside || "beside";
        }
      });
    }
    draw();
  }

  function start() { document.querySelectorAll(".explorer").forEach(explorer); }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
