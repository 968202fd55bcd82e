// What was scored stays at its address for a day, and in a list that this browser alone has.
const RESULT = /[?&]r=([\w-]+)/;

const named = () => location.search.match(RESULT)?.[1] ?? "";
const here = () => find(".me-result[data-r]");
const address = (r) => `${location.pathname}${r ? `?r=${r}` : ""}`;

function go(to) {
  history.pushState(null, "", to);
  window.musicEvalCompare?.();
}

const own = window.musicEvalOwnList({
  key: "musiceval-results",
  id: "r",
  box: "#history",
  title: "Your earlier results",
  describe(one) {
    const tick = Object.assign(document.createElement("input"), { type: "checkbox", value: one.r });
    tick.ariaLabel = `Compare ${one.name}`;
    const remove = `Delete the result of ${one.name}`;
    return { text: one.name, href: address(one.r), hint: one.prompt, remove, before: [tick] };
  },
  open(r) {
    if (r !== named()) go(address(r));
    recall();
  },
  forget,
  shown: count,
});

// The list has what is shown, and the address names what was scored `anew`.
function note(anew) {
  const shown = here();
  if (!shown?.dataset.r) return;
  const r = shown.dataset.r;
  if (anew && named() !== r) go(address(r));
  if (own.entries().some((one) => one.r === r)) return;
  const name = shown.querySelector(".me-lead bdi").textContent;
  const said = shown.querySelector(".me-announce").textContent;
  own.save([{ r, name, said, prompt: shown.dataset.prompt, at: Date.now() }, ...own.entries()]);
}

// Shows the result that the address names, or none.
function recall() {
  if (/[?&](compare|job)=/.test(location.search)) return; // what is shown stays beside it
  if (named() !== (here()?.dataset.r ?? "")) trigger("recall", { r: named() });
}

function forget(r) {
  own.drop(r);
  trigger("forget", { r, shown: here()?.dataset.r === r });
  if (named() === r) history.replaceState(null, "", address(""));
}

const ticked = () => [...document.querySelectorAll("#history input:checked")].map((tick) => tick.value);

function count() {
  document.querySelector("#history [data-compare]").disabled = ticked().length < 2 || ticked().length > 8;
}

document.addEventListener("change", (event) => event.target.closest("#history") && count());
document.addEventListener("click", (event) => {
  const compare = event.target.closest("#history [data-compare]");
  if (compare) go(`${location.pathname}?compare=${ticked().reverse().join(",")}`);
});

element.addEventListener("click", (event) => {
  const { copy, forget: gone, card } = event.target.dataset;
  if (gone !== undefined) forget(here().dataset.r);
  if (card !== undefined) saveCard(here());
  if (copy !== undefined) window.musicEvalCopy(event.target, address(here().dataset.r));
});

window.addEventListener("popstate", recall);
window.musicEvalNote = note;
window.musicEvalList = own.show;
window.musicEvalRecall = recall;

// Gradio lays out the prompt later than the result.
function fill(prompt) {
  const box = document.querySelector("#prompt textarea");
  if (!box) return requestAnimationFrame(() => fill(prompt));
  box.value = prompt;
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

const asked = new URLSearchParams(location.search).get("prompt");
if (asked) fill(asked);
own.show();
recall();
