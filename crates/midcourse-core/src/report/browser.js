"use strict";
// The browser of rows at the foot of a page: filters, a list of things to open, pages of it.
// What models wrote reaches the page through textContent and nothing else.
const $ = (id) => document.getElementById(id);

// Characters that would be invisible or reorder the text are shown by their numbers.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const visible = (text) =>
  text.replace(HIDDEN, (c) => `[U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = visible(text);
  return made;
}

// `filters` are functions of a row by the ids of their menus; `searched` gives the texts that are searched, `summary`
// and `text` the elements of a row before and after it is opened; `what` is the word for a row.
function browse({ rows, filters, searched, summary, text, what }) {
  const PAGE = 25;
  const haystacks = new Map();
  let found = rows;
  let page = 0;

  function offer(name, of) {
    const values = [...new Set(rows.map(of))];
    values.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    $(name).append(new Option("all", "all"));
    values.forEach((value, i) => $(name).append(new Option(visible(value) || "none", String(i))));
    return (row) => $(name).value === "all" || of(row) === values[Number($(name).value)];
  }

  function haystack(row) {
    if (!haystacks.has(row)) haystacks.set(row, searched(row).join("\n").toLowerCase());
    return haystacks.get(row);
  }

  function item(row) {
    const made = element("details", "");
    made.append(summary(row));
    made.addEventListener("toggle", () => made.append(text(row)), { once: true });
    return made;
  }

  function show() {
    const from = page * PAGE;
    const shown = found.slice(from, from + PAGE);
    $("list").replaceChildren(...shown.map(item));
    const count = (n) => n.toLocaleString("en");
    const fitting = found.length === rows.length ? "" : " that fit";
    const range = `${count(from + 1)}–${count(from + shown.length)} of ${count(found.length)}${fitting}`;
    $("where").textContent = shown.length ? range : `no ${what} fits`;
    $("back").disabled = page === 0;
    $("on").disabled = from + PAGE >= found.length;
  }

  function turn(step) {
    page += step;
    show();
    $("browser").scrollIntoView();
  }

  const fits = Object.entries(filters).map(([name, of]) => offer(name, of));
  function filter() {
    const wanted = $("search").value.trim().toLowerCase();
    found = rows.filter((row) => fits.every((fit) => fit(row)) && (!wanted || haystack(row).includes(wanted)));
    page = 0;
    show();
  }

  let waiting;
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 120);
  });
  $("back").addEventListener("click", () => turn(-1));
  $("on").addEventListener("click", () => turn(1));
  $("filters").hidden = $("pages").hidden = rows.length === 0;
  // A reload may keep what was chosen; the list must agree with it.
  filter();
}
