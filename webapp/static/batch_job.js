// A list of clips that is scored has an address, and stands in a list that this browser alone has.
(() => {
  const LIST = "musiceval-jobs";
  const MOST = 50;
  const EACH_MS = 1000;
  const shown = () => element.querySelector("[data-job]");
  const named = () => new URLSearchParams(location.search).get("job") ?? "";
  const address = (job) => `${location.pathname}${job ? `?job=${job}` : ""}#several`;

  function entries() {
    try {
      return JSON.parse(localStorage.getItem(LIST)) ?? [];
    } catch {
      return []; // no storage here
    }
  }

  function save(list) {
    try {
      localStorage.setItem(LIST, JSON.stringify(list.slice(0, MOST)));
    } catch {} // the list is not kept
    showList();
  }

  // The list has what is shown, and the address names what was begun `anew`.
  function note(anew) {
    const box = shown();
    if (!box) return;
    const { job, title } = box.dataset;
    if (anew && named() !== job) history.pushState(null, "", address(job));
    const said = box.querySelector("h2").textContent;
    const before = entries().find((one) => one.job === job);
    if (before?.said === said) return;
    if (before) save(entries().map((one) => (one.job === job ? { ...one, said } : one)));
    else save([{ job, title, said, at: Date.now() }, ...entries()]);
  }

  // Shows the job that the address names, or none.
  function recall() {
    if (/[?&](r|compare)=/.test(location.search)) return; // another tab's
    if (named() !== (shown()?.dataset.job ?? "")) trigger("recall", { job: named() });
  }

  function act(action, job) {
    trigger("act", { action, job, shown: shown()?.dataset.job === job });
    if (action !== "forget") return;
    save(entries().filter((one) => one.job !== job));
    if (named() === job) history.replaceState(null, "", address(""));
  }

  function made(tag, text, given = {}) {
    const part = Object.assign(document.createElement(tag), given);
    part.textContent = text;
    return part;
  }

  function row(one) {
    const line = document.createElement("li");
    const open = made("a", one.title, { href: address(one.job) });
    open.dataset.open = one.job;
    const remove = made("button", "Delete", { type: "button", ariaLabel: `Delete ${one.title}` });
    remove.dataset.forget = one.job;
    line.append(open, made("span", one.said), made("time", new Date(one.at).toLocaleString()), remove);
    return line;
  }

  function showList() {
    const box = document.querySelector("#jobs .me-history");
    if (!box) return;
    box.hidden = entries().length === 0;
    box.querySelector("summary").textContent = `Your earlier lists (${entries().length})`;
    box.querySelector("ul").replaceChildren(...entries().map(row));
  }

  async function copy(button) {
    const whole = new URL(address(shown().dataset.job).replace("#several", ""), location.href).href;
    const done = await navigator.clipboard?.writeText(whole).then(() => true, () => false);
    button.textContent = done ? "Copied" : whole; // where nothing may be copied, it can be selected
  }

  // A row's result stands under the tab One clip, at an address of its own.
  function show(r) {
    history.pushState(null, "", `${location.pathname}?r=${r}`);
    window.musicEvalOpen();
    window.musicEvalRecall?.(); // where that tab was not opened yet, it reads the address
    document.querySelector("#result")?.scrollIntoView();
  }

  element.addEventListener("click", (event) => {
    const { act: action, copy: copied } = event.target.dataset;
    if (action) {
      event.target.disabled = true;
      act(action, shown().dataset.job);
    }
    if (copied !== undefined) copy(event.target);
  });
  document.addEventListener("click", (event) => {
    const opened = event.target.closest("#batch-rows [data-row]");
    if (opened) trigger("reveal", { job: shown().dataset.job, row: Number(opened.dataset.row) });
    if (!event.target.closest("#jobs")) return;
    const { open, forget } = event.target.dataset;
    if (forget) act("forget", forget);
    if (!open || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (open !== named()) history.pushState(null, "", address(open));
    recall();
  });
  setInterval(() => {
    const box = element.querySelector("[data-running]");
    if (box && !document.hidden) trigger("follow", { job: box.dataset.job, seen: box.dataset.seen });
  }, EACH_MS);
  window.addEventListener("popstate", recall);
  window.addEventListener("storage", showList);
  window.musicEvalJob = { note, show, list: showList };
  showList();
  recall();
})();
