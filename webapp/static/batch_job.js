// A list of clips that is scored has an address, and stands in a list that this browser alone has.
(() => {
  const EACH_MS = 1000;
  const shown = () => element.querySelector("[data-job]");
  const named = () => new URLSearchParams(location.search).get("job") ?? "";
  const address = (job) => `${location.pathname}${job ? `?job=${job}` : ""}#several`;

  const own = window.musicEvalOwnList({
    key: "musiceval-jobs",
    id: "job",
    box: "#jobs",
    title: "Your earlier lists",
    describe: (one) => ({ text: one.title, href: address(one.job), remove: `Delete ${one.title}` }),
    open(job) {
      if (job !== named()) history.pushState(null, "", address(job));
      recall();
    },
    forget: (job) => act("forget", job),
  });

  // The list has what is shown, and the address names what was begun `anew`.
  function note(anew) {
    const box = shown();
    if (!box) return;
    const { job, title } = box.dataset;
    if (anew && named() !== job) history.pushState(null, "", address(job));
    const said = box.querySelector("h2").textContent;
    const before = own.entries().find((one) => one.job === job);
    if (before?.said === said) return;
    if (before) own.save(own.entries().map((one) => (one.job === job ? { ...one, said } : one)));
    else own.save([{ job, title, said, at: Date.now() }, ...own.entries()]);
  }

  // Shows the job that the address names, or none.
  function recall() {
    if (/[?&](r|compare)=/.test(location.search)) return; // another tab's
    if (named() !== (shown()?.dataset.job ?? "")) trigger("recall", { job: named() });
  }

  function act(action, job) {
    trigger("act", { action, job, shown: shown()?.dataset.job === job });
    if (action !== "forget") return;
    own.drop(job);
    if (named() === job) history.replaceState(null, "", address(""));
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
    if (copied !== undefined) window.musicEvalCopy(event.target, address(shown().dataset.job).replace("#several", ""));
  });
  document.addEventListener("click", (event) => {
    const opened = event.target.closest("#batch-rows [data-row]");
    if (opened) trigger("reveal", { job: shown().dataset.job, row: Number(opened.dataset.row) });
  });
  setInterval(() => {
    const box = element.querySelector("[data-running]");
    if (box && !document.hidden) trigger("follow", { job: box.dataset.job, seen: box.dataset.seen });
  }, EACH_MS);
  window.addEventListener("popstate", recall);
  window.musicEvalJob = { note, show, list: own.show };
  own.show();
  recall();
})();
