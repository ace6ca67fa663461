// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const at = Object.fromEntries(data.columns.map((name, index) => [name, index]));
  const nodes = data.nodes;
  const SPARE = 12; // rows kept beyond those in sight
  const TALLEST = 720; // pixels, as in the style sheet
  const MOST_PRINTED = 200;
  const FLAGS = {
    differs: "Differ", above: "Above capacity", "not-ready": "Not ready",
    unused: "Unused", busy: "Busy", idle: "Idle",
  };
  const COLUMNS = [
    ["cluster", "Cluster"], ["node", "Node"], ["group", "Group"], ["profile", "Profile"], ["product", "GPU"],
    ["physical", "GPUs", "n"], ["expected", "Expected", "n"], ["actual", "Slots", "n"], ["used", "Used", "n"],
    ["free", "Free", "n"], ["share", "Occupancy"], ["gpu", "GPU time %", "n"], ["memory", "Memory %", "n"],
    ["problem", "State"],
  ];

  // What a column holds, for sorting and for a cell
  const share = (row) => (row[at.used] === null ? null : row[at.actual] ? row[at.used] / row[at.actual] : row[at.used] ? Infinity : 0);
  const value = (row, column) => {
    if (column === "share") return share(row);
    if (column === "problem") return row[at.problem] || row[at.flags].join(" ");
    return row[at[column]];
  };
  const known = (value) => value !== null && value !== "";
  const shownColumns = COLUMNS.filter(([column]) =>
    column === "node" || column === "problem" ||
    (column === "cluster" ? new Set(nodes.map((row) => row[at.cluster])).size > 1 : nodes.some((row) => known(value(row, column)))));

  // State
  const state = { sort: "", down: false, words: [], picks: {}, flags: new Set(), only: null, rows: nodes.map((_row, index) => index) };
  const hay = nodes.map((row) => [row[at.cluster], row[at.node], row[at.group], row[at.profile], row[at.product], row[at.problem], ...row[at.flags]].join("\n").toLowerCase());

  const element = (name, text, ...classes) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    made.classList.add(...classes);
    return made;
  };
  const drawn = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, text] of Object.entries(attributes)) made.setAttribute(key, text);
    return made;
  };
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

  function select() {
    const picks = Object.entries(state.picks).filter(([, wanted]) => wanted !== "");
    const chosen = [];
    for (let index = 0; index < nodes.length; index += 1) {
      const row = nodes[index];
      if ((!state.only || state.only.has(index)) &&
          picks.every(([column, wanted]) => row[at[column]] === wanted) &&
          state.words.every((word) => hay[index].includes(word)) &&
          (!state.flags.size || row[at.flags].some((flag) => state.flags.has(flag)))) chosen.push(index);
    }
    if (state.sort) chosen.sort(compare);
    state.rows = chosen;
    byId("shown").textContent = `${whole.format(chosen.length)} of ${whole.format(nodes.length)} nodes`;
    byId("table").setAttribute("aria-rowcount", chosen.length + 1);
    box.scrollTop = 0;
    draw();
  }

  const collator = new Intl.Collator("en", { numeric: true });
  function compare(one, other) {
    const a = value(nodes[one], state.sort), b = value(nodes[other], state.sort);
    if (!known(a) || !known(b)) return known(b) - known(a) || one - other; // what is not known comes last
    const order = typeof a === "number" ? a - b : collator.compare(a, b);
    return (state.down ? -order : order) || one - other;
  }

  // The table: only rows in sight, and some beyond, are there; the padding above and below stands for the others
  const box = byId("box"), body = byId("body");
  let height = 30, first = -1, last = -1;

  function cell(row, column, kind) {
    if (column === "share") {
      const made = element("td", undefined, "share");
      const part = share(row);
      if (part === null) return made;
      const bar = drawn("svg", { class: "bar", width: "74", height: "8", "aria-hidden": "true" });
      const width = 74 * Math.min(part, 1);
      bar.append(drawn("rect", { class: part > 1 ? "above" : "used", width, height: 8 }));
      made.append(bar, element("span", part === Infinity ? "no slots" : `${Math.round(100 * part)} %`, "sr"));
      return made;
    }
    if (column === "problem") {
      const made = element("td", undefined, "why");
      for (const flag of row[at.flags]) {
        if (flag !== "differs" || !row[at.problem]) made.append(element("span", FLAGS[flag].toLowerCase(), "tag", flag === "above" || flag === "not-ready" ? "error" : "none-of"));
      }
      if (row[at.problem]) made.append(document.createTextNode(row[at.problem]));
      return made;
    }
    const found = row[at[column]];
    const text = found === null || found === "" ? "-" : kind ? whole.format(found) : found;
    const made = element(column === "node" ? "th" : "td", text);
    if (kind) made.classList.add(kind);
    if (column === "node") made.scope = "row";
    return made;
  }

  function line(position) {
    const row = nodes[state.rows[position]];
    const made = element("tr");
    made.setAttribute("aria-rowindex", position + 2);
    for (const [column, , kind] of shownColumns) made.append(cell(row, column, kind));
    return made;
  }

  function padding(rows) {
    const made = element("tr", undefined, "pad");
    made.setAttribute("aria-hidden", "true");
    const inner = element("td");
    inner.colSpan = shownColumns.length;
    inner.style.height = `${rows * height}px`;
    made.append(inner);
    return made;
  }

  function fill(from, to) {
    first = from;
    last = to;
    const rows = [];
    if (from) rows.push(padding(from));
    for (let position = from; position < to; position += 1) rows.push(line(position));
    if (to < state.rows.length) rows.push(padding(state.rows.length - to));
    body.replaceChildren(...rows);
  }

  function range() {
    const from = Math.max(0, Math.floor(box.scrollTop / height) - SPARE);
    return [from, Math.min(state.rows.length, from + Math.ceil(Math.max(box.clientHeight, TALLEST) / height) + 2 * SPARE)];
  }

  function draw() {
    fill(...range());
    const real = body.querySelector("tr:not(.pad)");
    const seen = real ? real.getBoundingClientRect().height : 0;
    if (seen && Math.abs(seen - height) > 0.1) { // of this font, at this zoom
      height = seen;
      fill(...range());
    }
  }

  let asked = false;
  box.addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      const [from, to] = range();
      if (from !== first || to !== last) fill(from, to);
    });
  }, { passive: true });
  addEventListener("resize", draw);

  // Heads that sort
  function sortBy(column) {
    const numeric = COLUMNS.find(([name]) => name === column)[2] || column === "share";
    state.down = state.sort === column ? !state.down : Boolean(numeric);
    state.sort = column;
    for (const head of byId("head").children) head.removeAttribute("aria-sort");
    byId(`sort-${column}`).setAttribute("aria-sort", state.down ? "descending" : "ascending");
    select();
  }
  for (const [column, name, kind] of shownColumns) {
    const head = element("th");
    const button = element("button", name);
    head.scope = "col";
    head.id = `sort-${column}`;
    if (kind) head.classList.add(kind);
    button.type = "button";
    button.addEventListener("click", () => sortBy(column));
    head.append(button);
    byId("head").append(head);
  }

  // Filters
  const filter = byId("filter");
  const search = () => {
    state.words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    select();
  };
  filter.addEventListener("input", search);
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  for (const [column, all] of [["cluster", "All clusters"], ["group", "All groups"], ["profile", "All profiles"]]) {
    const list = byId(`by-${column}`);
    const names = [...new Set(nodes.map((row) => row[at[column]]))].sort(collator.compare);
    if (names.length < 2) list.parentElement.hidden = true;
    list.append(new Option(all, ""), ...names.filter(Boolean).map((name) => new Option(name, name)));
    list.addEventListener("change", () => {
      state.picks[column] = list.value;
      select();
    });
  }
  for (const [flag, name] of Object.entries(FLAGS)) {
    const count = nodes.reduce((sum, row) => sum + row[at.flags].includes(flag), 0);
    if (!count) continue;
    const chip = element("button", `${name} ${whole.format(count)}`);
    chip.type = "button";
    chip.dataset.flag = flag;
    chip.setAttribute("aria-pressed", "false");
    chip.addEventListener("click", () => {
      const on = !state.flags.has(flag);
      state.flags[on ? "add" : "delete"](flag);
      chip.setAttribute("aria-pressed", String(on));
      select();
    });
    byId("chips").append(chip);
  }

  // Nodes of a finding: a chip says so, and takes it back
  const only = element("button");
  only.type = "button";
  only.hidden = true;
  only.id = "only";
  only.setAttribute("aria-pressed", "true");
  only.addEventListener("click", () => {
    state.only = null;
    only.hidden = true;
    select();
    filter.focus();
  });
  byId("chips").prepend(only);
  for (const button of document.querySelectorAll("[data-finding]")) {
    const members = data.findings[button.dataset.finding];
    if (!members.length) button.parentElement.remove();
    button.addEventListener("click", () => {
      state.only = new Set(members);
      only.textContent = `${button.dataset.code} ${whole.format(members.length)}`;
      only.hidden = false;
      select();
      byId("nodes").scrollIntoView();
      only.focus({ preventScroll: true });
    });
  }

  // Cells of the strips
  const told = byId("cell");
  function under(event, strip) {
    const place = strip.getBoundingClientRect();
    const columns = Number(strip.dataset.columns);
    const side = place.width / columns;
    const index = Math.floor((event.clientY - place.top) / side) * columns + Math.floor((event.clientX - place.left) / side);
    return data.strips[strip.dataset.strip][index];
  }
  for (const strip of document.querySelectorAll(".cells")) {
    strip.addEventListener("mousemove", (event) => {
      const row = nodes[under(event, strip)];
      told.textContent = row ? `${row[at.node]}: ${row[at.used] === null ? "use not known" : `${row[at.used]} of ${row[at.actual]} slots used`}` : "";
    });
    strip.addEventListener("mouseleave", () => { told.textContent = ""; });
    strip.addEventListener("click", (event) => {
      const row = nodes[under(event, strip)];
      if (!row) return;
      filter.value = row[at.node];
      search();
      byId("nodes").scrollIntoView();
    });
  }

  // Theme
  const theme = byId("theme"), THEMES = ["system", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("gpu-sharing-theme"); } catch { return null; } };
  function use(name) {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.textContent = `Theme: ${name}`;
    theme.value = name;
  }
  theme.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
    use(next);
    try { localStorage.setItem("gpu-sharing-theme", next); } catch { /* not kept, then */ }
  });
  use(THEMES.includes(stored()) ? stored() : "system");
  theme.hidden = false;

  // On paper all rows of the filter are there, and findings are open
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const finding of closed) finding.open = true;
    const rows = state.rows.length;
    const printed = Math.min(rows, MOST_PRINTED);
    body.replaceChildren(...Array.from({ length: printed }, (_none, position) => line(position)));
    const cut = byId("cut");
    cut.hidden = printed === rows;
    cut.textContent = `The first ${whole.format(printed)} of ${whole.format(rows)} nodes; the JSON file has all.`;
  });
  addEventListener("afterprint", () => {
    for (const finding of closed) finding.open = false;
    byId("cut").hidden = true;
    draw();
  });

  for (const part of document.querySelectorAll(".scripted")) part.hidden = false;
  select();
  document.documentElement.dataset.ready = Math.round(performance.now());
})();
