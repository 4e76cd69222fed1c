"use strict";
(() => {
  const cases = [...document.querySelectorAll(".audit .case")];
  const done = document.getElementById("done");
  const name = document.getElementById("name").textContent;
  let here = 0;
  let unsaved = false;

  const verdict = (item) => item.querySelector("input[type=radio]:checked")?.value ?? "";
  const comment = (item) => item.querySelector("input[type=text]");

  const go = (index, move = true) => {
    if (!cases.length) return;
    here = Math.max(0, Math.min(cases.length - 1, index));
    cases.forEach((item, k) => item.classList.toggle("here", k === here));
    if (move) {
      cases[here].focus({ preventScroll: true });
      cases[here].scrollIntoView({ block: "start" });
    }
  };

  const refresh = (item) => {
    item.classList.remove("accept", "reject", "unsure");
    if (verdict(item)) item.classList.add(verdict(item));
    done.textContent = `${cases.filter(verdict).length} of ${cases.length} judged`;
    unsaved = true;
  };

  const judge = (value) => {
    const item = cases[here];
    if (!item) return;
    item.querySelector(`input[value=${value}]`).checked = true;
    refresh(item);
    go(here + 1);
  };

  const open = () => {
    const order = cases.map((_, k) => (here + 1 + k) % cases.length);
    const next = order.find((k) => !verdict(cases[k]));
    if (next !== undefined) go(next);
  };

  // As the program writes it: no cell that a spreadsheet could take for a formula, a number or a date.
  const text = (value) => (/^\s*[=+\-@＝＋－＠]|^[\t\r\n]/.test(value) ? `'${value}` : value);
  const id = (value) => (/^[A-Za-z]/.test(value) ? value : `'${value}`);
  const cell = (value) => `"${value.replaceAll('"', '""')}"`;
  const table = () =>
    [
      ["id", "kind", "verdict", "comment", "digest"],
      ...cases.map((item) => [id(item.dataset.id), item.dataset.kind, verdict(item), text(comment(item).value), item.dataset.digest]),
    ]
      .map((row) => `${row.map(cell).join(",")}\r\n`)
      .join("");

  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", table()], { type: "text/csv;charset=utf-8" }));
    link.download = `${name}.reviewed.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
    unsaved = false;
  };

  cases.forEach((item, k) => {
    item.addEventListener("change", () => refresh(item));
    item.addEventListener("focusin", () => go(k, false));
  });
  document.getElementById("open").addEventListener("click", open);
  document.getElementById("save").addEventListener("click", save);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input[type=text]")) {
      if (event.key === "Escape" || event.key === "Enter") cases[here].focus();
      return;
    }
    const keys = {
      ArrowDown: () => go(here + 1),
      ArrowUp: () => go(here - 1),
      a: () => judge("accept"),
      r: () => judge("reject"),
      u: () => judge("unsure"),
      c: () => cases[here] && comment(cases[here]).focus(),
      s: save,
    };
    if (!keys[event.key] || (event.target.matches("input[type=radio]") && event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });

  document.documentElement.classList.add("js");
  go(0, false);
})();
