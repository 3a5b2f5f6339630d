// The ledger's rows with filters, sorting, search, pages and a link to each row; and a
// filter above each table of claims. Works from disk: rows come from a script beside it.
(function () {
  "use strict";
  const PAGE = window.matchMedia("(max-width: 640px)").matches ? 15 : 50;
  const FILTERS = ["table", "method", "metric", "protocol", "scale", "verdict"];
  const SHOWN = ["number", "paper", "run", "ours", "verdict"];
  const MARKS = { reproduced: "●", contradicted: "✕", inconclusive: "○", "not run": "–" };

  // as the rest of the page: apostrophes, and what no line divides
  function typeset(text) {
    return String(text).replace(/(\w)'/g, "$1’").replace(/\b([np]) ([=<]) (?=\d)/g, "$1\u00a0$2\u00a0")
      .replace(/(\d,) (?=[+−]?[\d.]+\])/g, "$1\u00a0");
  }

  function make(name, parent, text, attributes) {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = typeset(text);
    Object.entries(attributes || {}).forEach(([key, value]) => made.setAttribute(key, value));
    if (parent) parent.appendChild(made);
    return made;
  }

  function read(data) {
    return data.rows.map((row) => {
      const made = {};
      data.columns.forEach((name, i) => {
        made[name] = Array.isArray(row[i]) ? row[i][0] : data.words[row[i]];
      });
      made.number = [made.table, made.method, made.metric].join(", ");
      made.name = [made.key, made.protocol, made.scale].join("/");  // for a link to it
      made.run = made.protocol + ", " + made.scale;
      made.text = Object.values(made).join(" ").toLowerCase();
      return made;
    });
  }

  // numbers by size, words by letter; what is empty comes last
  function before(a, b, name) {
    const [x, y] = [a[name], b[name]].map((v) => String(v).replace("−", "-"));
    if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);
    const [p, q] = [x, y].map((v) => parseFloat(v.replace(/,/g, "").replace(/^[^\d+-]*/, "")));
    return Number.isNaN(p) || Number.isNaN(q) || p === q ? x.localeCompare(y) : p - q;
  }

  function ledger(home, rows) {
    const state = { text: "", row: "", sort: "", down: false, page: 0 };
    FILTERS.forEach((name) => { state[name] = ""; });
    home.textContent = "";
    const bar = make("div", home, null, { class: "ledger-filters", role: "search" });
    const fields = {};
    FILTERS.forEach((name) => {
      const label = make("label", bar, name + " ");
      fields[name] = make("select", label);
      make("option", fields[name], "any", { value: "" });
      Array.from(new Set(rows.map((row) => row[name]))).forEach((value) => {
        make("option", fields[name], value, { value });
      });
      fields[name].addEventListener("change", () => change(name, fields[name].value));
    });
    fields.text = make("input", make("label", bar, "search "), null, { type: "search" });
    fields.text.addEventListener("input", () => change("text", fields.text.value));
    const clear = make("button", bar, "clear", { type: "button" });
    clear.addEventListener("click", () => {
      [...FILTERS, "text", "row", "sort"].forEach((name) => { state[name] = ""; });
      change("page", 0);
    });
    const count = make("p", home, "", { class: "ledger-count", "aria-live": "polite" });
    const box = make("div", home, null, { class: "ledger-box rows" });
    const table = make("table", box, null, { class: "table", "aria-label": "Rows of the ledger" });
    const head = make("tr", make("thead", table));
    const heads = SHOWN.map((name) => {
      const cell = make("th", head, null, { scope: "col" });
      const button = make("button", cell, name, { type: "button", class: "ledger-sort" });
      button.addEventListener("click", () => {
        state.down = state.sort === name && !state.down;
        change("sort", name);
      });
      return cell;
    });
    const body = make("tbody", table);
    const pager = make("nav", home, null, { class: "ledger-pager", "aria-label": "Pages of rows" });

    function change(name, value) {
      state[name] = value;
      if (name !== "page") state.page = 0;
      const told = new URLSearchParams();
      [...FILTERS, "text", "row", "sort"].forEach((key) => { if (state[key]) told.set(key, state[key]); });
      if (state.sort && state.down) told.set("down", "1");
      history.replaceState(null, "", "#" + told.toString());
      draw();
    }

    function draw() {
      FILTERS.concat("text").forEach((name) => { fields[name].value = state[name]; });
      const wanted = state.text.toLowerCase().split(/\s+/).filter(Boolean);
      let found = rows.filter((row) =>
        (!state.row || row.name === state.row) &&
        FILTERS.every((name) => !state[name] || row[name] === state[name]) &&
        wanted.every((word) => row.text.includes(word)));
      if (state.sort) {
        found = found.slice().sort((a, b) => before(a, b, state.sort) * (state.down ? -1 : 1));
      }
      const tally = {};
      found.forEach((row) => { tally[row.verdict] = (tally[row.verdict] || 0) + 1; });
      const parts = Object.keys(MARKS).filter((v) => tally[v]).map((v) => tally[v].toLocaleString("en") + " " + v);
      count.textContent = found.length.toLocaleString("en") + " rows" +
        (parts.length ? ": " + parts.join(", ") : "");
      heads.forEach((cell, i) => {
        const sorted = SHOWN[i] === state.sort;
        cell.setAttribute("aria-sort", sorted ? (state.down ? "descending" : "ascending") : "none");
      });
      const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
      state.page = Math.min(state.page, last);
      body.textContent = "";
      found.slice(state.page * PAGE, (state.page + 1) * PAGE).forEach(line);
      pager.textContent = "";
      [["previous", -1], ["next", 1]].forEach(([name, step]) => {
        const button = make("button", pager, name, { type: "button" });
        button.disabled = state.page + step < 0 || state.page + step > last;
        button.addEventListener("click", () => change("page", state.page + step));
        if (step < 0) make("span", pager, "page " + (state.page + 1) + " of " + (last + 1));
      });
    }

    function line(row) {
      const made = make("tr", body);
      SHOWN.slice(0, -1).forEach((name) => {
        const text = row[name] + (name === "ours" && row.seeds ? ", n = " + row.seeds : "");
        const cell = make(name === "number" ? "th" : "td", made, text, { "data-label": name });
        if (name !== "number") return;
        cell.scope = "row";
        make("br", cell);
        make("small", cell, row.setting);
      });
      const cell = make("td", made, null, { "data-label": "verdict" });
      const kind = "verdict " + row.verdict.replace(" ", "-");
      const opened = make("details", cell, null, { class: "why" });
      make("span", make("summary", opened), MARKS[row.verdict] + " " + row.verdict, { class: kind });
      make("small", opened, row.why + " ");
      make("a", opened, "link to this row", { href: "#row=" + encodeURIComponent(row.name) });
      opened.open = Boolean(state.row);
    }

    function address() {
      const asked = new URLSearchParams(location.hash.slice(1));
      [...FILTERS, "text", "row", "sort"].forEach((name) => { state[name] = asked.get(name) || ""; });
      state.down = asked.get("down") === "1";
      state.page = 0;
      draw();
    }
    window.addEventListener("hashchange", address);
    if (!location.hash.includes("=")) {
      // open with something that was run
      const first = rows.find((r) => r.seeds && r.protocol === "controlled") || rows.find((r) => r.seeds) || rows[0];
      state.protocol = first.protocol;
      state.scale = first.scale;
      draw();
    } else address();
  }

  function claims(box) {
    const bar = make("div", null, null, { class: "ledger-filters", role: "search" });
    const text = make("input", make("label", bar, "search "), null, { type: "search" });
    const count = make("span", bar, "", { "aria-live": "polite" });
    box.parentNode.insertBefore(bar, box);
    const lines = Array.from(box.querySelectorAll("tbody tr"));
    let claim = "";
    // a claim's words stand in its first line alone
    const said = lines.map((line) => (claim = line.cells[0].textContent.trim() || claim));
    text.addEventListener("input", () => {
      const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      lines.forEach((line, i) => {
        const all = (said[i] + " " + line.textContent).toLowerCase();
        line.hidden = !wanted.every((word) => all.includes(word));
        shown += line.hidden ? 0 : 1;
      });
      count.textContent = wanted.length ? shown + " of " + lines.length + " lines" : "";
    });
  }

  function start() {
    const home = document.getElementById("rlap-ledger");
    if (home && window.rlapLedger) ledger(home, read(window.rlapLedger));
    document.querySelectorAll(".ledger-box.claims").forEach(claims);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
