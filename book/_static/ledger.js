// Shows and filters the ledger's rows on the page that holds them. No network.
(function () {
  "use strict";
  const SHOWN = 500; // rows at once; more are counted, not drawn
  const FILTERS = ["table", "protocol", "tier", "method", "metric", "verdict"];
  const MARKS = { "reproduced": "●", "contradicted": "✕", "inconclusive": "○", "not run": "–" };

  function element(name, text, parent, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    if (parent) parent.appendChild(made);
    return made;
  }

  function read() {
    const data = JSON.parse(document.getElementById("rlap-ledger-data").textContent);
    return data.rows.map((row) => {
      const made = {};
      data.names.forEach((name, i) => {
        made[name] = Array.isArray(row[i]) ? data.words[row[i][0]] : row[i];
      });
      return made;
    });
  }

  function shownNumber(value) {
    if (value === null) return "";
    return String(Number(value.toPrecision(value < 1 ? 3 : 4)));
  }

  function ours(row) {
    if (row.ours === null) return "";
    const bounds = row.low === null ? "" :
      " [" + shownNumber(row.low) + ", " + shownNumber(row.high) + "]";
    return shownNumber(row.ours) + bounds + ", n = " + row.n;
  }

  function draw(rows, body, count) {
    body.textContent = "";
    const tally = {};
    rows.forEach((row) => { tally[row.verdict] = (tally[row.verdict] || 0) + 1; });
    const parts = Object.keys(MARKS).filter((v) => tally[v]).map((v) => tally[v] + " " + v);
    count.textContent = rows.length + " rows" + (parts.length ? ": " + parts.join(", ") : "") +
      (rows.length > SHOWN ? " (the first " + SHOWN + " are shown)" : "");
    rows.slice(0, SHOWN).forEach((row) => {
      const line = element("tr", undefined, body);
      const variant = row.variant === "ours" ? "" : " (" + row.variant + ")";
      [row.table, row.setting_value, row.method.replace("_", "-").toUpperCase()
        .replace("INITIAL", "initial").replace("RETRAIN", "retrain").replace("PRUNED", "pruned") + variant,
      row.metric, shownNumber(row.paper), row.protocol + ", " + row.tier, ours(row)]
        .forEach((text) => element("td", text, line));
      const cell = element("td", undefined, line);
      element("span", MARKS[row.verdict] + " " + row.verdict, cell,
        "verdict " + row.verdict.replace(" ", "-"));
      const notes = [row.reason, row.note, row.copy_of ? "copy of " + row.copy_of : ""];
      element("small", notes.filter(Boolean).join("; "), cell, "ledger-reason");
    });
  }

  function start() {
    const home = document.getElementById("rlap-ledger");
    if (!home) return;
    const rows = read();
    home.textContent = "";
    const bar = element("div", undefined, home, "ledger-filters");
    const chosen = {};
    // open with something that was run, under the careful protocol if there is a choice
    const run = rows.filter((row) => row.n > 0);
    const first = run.find((row) => row.protocol === "controlled") || run[0] || rows[0];
    const begin = { protocol: first.protocol, tier: first.tier };
    const fields = {};
    FILTERS.forEach((name) => {
      const label = element("label", name + " ", bar);
      const field = element("select", undefined, label);
      fields[name] = field;
      element("option", "any", field).value = "";
      Array.from(new Set(rows.map((row) => String(row[name])))).forEach((value) => {
        element("option", value, field).value = value;
      });
      field.value = begin[name] || "";
      chosen[name] = field.value;
    });
    const label = element("label", "text ", bar);
    const text = element("input", undefined, label);
    text.type = "search";
    const clear = element("button", "clear", bar);
    clear.type = "button";
    const count = element("p", "", home, "ledger-count");
    count.setAttribute("aria-live", "polite");
    const box = element("div", undefined, home, "ledger-box");
    box.tabIndex = 0;
    const table = element("table", undefined, box, "table");
    const head = element("tr", undefined, element("thead", undefined, table));
    ["table", "setting", "method", "metric", "paper", "run", "ours", "verdict"]
      .forEach((name) => { element("th", name, head).scope = "col"; });
    const body = element("tbody", undefined, table);

    function update() {
      FILTERS.forEach((name) => { chosen[name] = fields[name].value; });
      const wanted = text.value.toLowerCase();
      draw(rows.filter((row) =>
        FILTERS.every((name) => !chosen[name] || String(row[name]) === chosen[name]) &&
        (!wanted || Object.values(row).join(" ").toLowerCase().includes(wanted))
      ), body, count);
    }
    FILTERS.forEach((name) => fields[name].addEventListener("change", update));
    text.addEventListener("input", update);
    clear.addEventListener("click", () => {
      FILTERS.forEach((name) => { fields[name].value = ""; });
      text.value = "";
      update();
    });
    // an address such as ledger.html#table=2&verdict=contradicted sets the filters
    new URLSearchParams(location.hash.slice(1)).forEach((value, name) => {
      if (fields[name]) fields[name].value = value;
    });
    update();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
