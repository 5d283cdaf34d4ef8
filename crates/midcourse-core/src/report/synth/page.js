// The rankings of a synthesis, best answer first.
(() => {
  const rows = JSON.parse($("rows").textContent);
  const filters = { set: (row) => row.set, category: (row) => row.category ?? "" };
  const whole = (answer) => answer.prefix + answer.forced + answer.written;
  const searched = (row) => [row.sample, row.prompt, ...row.answers.map(whole)];

  function summary(row) {
    const made = element("summary", "");
    const about = [row.category, row.sample].filter(Boolean).join(" · ");
    made.append(element("span", "verdict not", row.set), element("span", "", `${row.answers.length} ranks`));
    made.append(element("span", "about", about));
    return made;
  }

  function answer({ rank, name, verdict, about, prefix, forced, written }) {
    const made = element("p", "");
    if (prefix) made.append(element("span", "prefix", prefix));
    if (forced) made.append(element("span", "forced", forced));
    made.append(element("span", "", written));
    const heading = element("h3", "");
    heading.append(element("b", "", `${rank} · ${name}`), element("span", "", ["", verdict, ...about].filter((fact) => fact !== null).join(" · ")));
    return [heading, made];
  }

  function text(row) {
    const made = element("div", "text");
    made.append(element("h3", "", "prompt"), element("p", "", row.prompt));
    made.append(element("h3", "", "answers, best first (shaded: from the response; underlined: given)"));
    made.append(...row.answers.flatMap(answer));
    if (row.lost.length) made.append(element("h3", "", "lost"), element("p", "", row.lost.join("\n")));
    return made;
  }

  browse({ rows, filters, searched, summary, text, what: "ranking" });
})();
