"use strict";
(() => {
  const browser = document.getElementById("browser");
  if (!browser) return;
  const cases = [...browser.querySelectorAll(".case")];
  const ticks = [...browser.querySelectorAll(".strip a")];
  const buttons = [...browser.querySelectorAll("[data-filter]")];
  const kind = document.getElementById("kind");
  const outlines = document.getElementById("outlines");
  const position = document.getElementById("position");
  const empty = browser.querySelector(".empty");
  let filter = "all";
  let list = [];
  let here = -1;

  const passes = (item) =>
    (filter === "all" || item.dataset[filter] === "1") && (!kind || !kind.value || item.dataset.kind === kind.value);

  const show = (index) => {
    here = index;
    cases.forEach((item, k) => item.classList.toggle("shown", k === here));
    ticks.forEach((tick, k) => tick.classList.toggle("here", k === here));
    const place = list.indexOf(here);
    position.textContent = list.length ? `${place + 1} of ${list.length}` : "none";
    empty.hidden = list.length > 0;
  };

  const refresh = () => {
    list = cases.map((_, k) => k).filter((k) => passes(cases[k]));
    cases.forEach((item, k) => item.classList.toggle("out", !list.includes(k)));
    ticks.forEach((tick, k) => tick.classList.toggle("out", !list.includes(k)));
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.filter === filter)));
    show(list.includes(here) ? here : list.length ? list[0] : -1);
  };

  const step = (by) => {
    if (!list.length) return;
    const place = list.indexOf(here);
    show(list[(place + by + list.length) % list.length]);
  };

  const choose = (name) => {
    if (!buttons.some((button) => button.dataset.filter === name)) return;
    filter = name;
    refresh();
  };

  const outline = () => browser.classList.toggle("bare", !outlines.checked);

  buttons.forEach((button) => button.addEventListener("click", () => choose(button.dataset.filter)));
  if (kind) kind.addEventListener("change", refresh);
  outlines.addEventListener("change", outline);
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  ticks.forEach((tick, k) =>
    tick.addEventListener("click", (event) => {
      event.preventDefault();
      if (list.includes(k)) show(k);
    }),
  );
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input[type=text], textarea")) return;
    const keys = {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      a: () => choose("all"),
      f: () => choose("fixed"),
      b: () => choose("broken"),
      o: () => {
        outlines.checked = !outlines.checked;
        outline();
      },
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.addEventListener("hashchange", () => {
    const found = cases.findIndex((item) => `#${item.id}` === location.hash);
    if (found >= 0 && list.includes(found)) show(found);
  });

  document.documentElement.classList.add("js");
  const linked = cases.findIndex((item) => `#${item.id}` === location.hash);
  here = linked;
  refresh();
})();
