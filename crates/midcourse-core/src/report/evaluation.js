// The paths of an evaluation: those of one fork share prompt and prefix.
(() => {
  const forks = JSON.parse($("rows").textContent);
  const rows = forks.flatMap((fork) => fork.paths.map((path) => ({ fork, path })));
  const filters = {
    set: (row) => row.fork.set,
    k: (row) => String(row.fork.k),
    verdict: (row) => row.path.verdict,
    category: (row) => row.fork.category ?? "",
  };
  const searched = ({ fork, path }) => [fork.sample, fork.prompt, fork.prefix + path.before + (path.after ?? "")];

  function summary({ fork, path }) {
    const made = element("summary", "");
    const about = [fork.set, `path ${path.path}`, fork.category, fork.sample].filter(Boolean).join(" · ");
    const turn = path.turn === null ? "" : `, token ${path.turn}`;
    const verdict = path.verdict === "corrected" ? "verdict" : "verdict not";
    made.append(element("span", verdict, path.verdict + turn), element("span", "", `k = ${fork.k}`), element("span", "about", about));
    return made;
  }

  function text({ fork, path }) {
    const made = element("div", "text");
    const answer = element("p", "");
    if (fork.prefix) answer.append(element("span", "prefix", fork.prefix));
    answer.append(element("span", "", path.before));
    if (path.after !== null) answer.append(element("span", "turn", " ↪ turns here "), element("span", "after", path.after));
    const heading = fork.prefix ? "answer (shaded: the forced prefix)" : "answer";
    made.append(element("h3", "", "prompt"), element("p", "", fork.prompt));
    made.append(element("h3", "", `${heading}, ended by: ${path.finish}`), answer);
    return made;
  }

  browse({ rows, filters, searched, summary, text, what: "path" });
})();
