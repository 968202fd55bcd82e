// What was scored stays at its address for a day, and in a list that this browser alone has.
const LIST = "musiceval-results";
const MOST = 50;
const RESULT = /[?&]r=([\w-]+)/;

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

const named = () => location.search.match(RESULT)?.[1] ?? "";
const here = () => find(".me-result[data-r]");
const address = (r) => `${location.pathname}${r ? `?r=${r}` : ""}`;

function go(to) {
  history.pushState(null, "", to);
  window.musicEvalCompare?.();
}

// The list has what is shown, and the address names what was scored `anew`.
function note(anew) {
  const shown = here();
  if (!shown?.dataset.r) return;
  const r = shown.dataset.r;
  if (anew && named() !== r) go(address(r));
  if (entries().some((one) => one.r === r)) return;
  const name = shown.querySelector(".me-lead bdi").textContent;
  const said = shown.querySelector(".me-announce").textContent;
  save([{ r, name, said, prompt: shown.dataset.prompt, at: Date.now() }, ...entries()]);
}

// Shows the result that the address names, or none.
function recall() {
  if (/[?&](compare|job)=/.test(location.search)) return; // what is shown stays beside it
  if (named() !== (here()?.dataset.r ?? "")) trigger("recall", { r: named() });
}

function forget(r) {
  save(entries().filter((one) => one.r !== r));
  trigger("forget", { r, shown: here()?.dataset.r === r });
  if (named() === r) history.replaceState(null, "", address(""));
}

function made(tag, text, given = {}) {
  const part = Object.assign(document.createElement(tag), given);
  part.textContent = text;
  return part;
}

function row(one) {
  const line = document.createElement("li");
  const open = made("a", one.name, { href: address(one.r), title: one.prompt });
  open.dataset.open = one.r;
  const remove = made("button", "Delete", { type: "button", ariaLabel: `Delete the result of ${one.name}` });
  remove.dataset.forget = one.r;
  const tick = Object.assign(document.createElement("input"), { type: "checkbox", value: one.r });
  tick.ariaLabel = `Compare ${one.name}`;
  line.append(tick, open, made("span", one.said), made("time", new Date(one.at).toLocaleString()), remove);
  return line;
}

function showList() {
  const box = document.querySelector("#history .me-history");
  if (!box) return;
  box.hidden = entries().length === 0;
  box.querySelector("summary").textContent = `Your earlier results (${entries().length})`;
  box.querySelector("ul").replaceChildren(...entries().map(row));
  count();
}

const ticked = () => [...document.querySelectorAll("#history input:checked")].map((tick) => tick.value);

function count() {
  document.querySelector("#history [data-compare]").disabled = ticked().length < 2 || ticked().length > 8;
}

document.addEventListener("change", (event) => event.target.closest("#history") && count());
document.addEventListener("click", (event) => {
  if (!event.target.closest("#history")) return;
  const { open, forget: gone, compare } = event.target.dataset;
  if (compare !== undefined) go(`${location.pathname}?compare=${ticked().reverse().join(",")}`);
  if (gone) forget(gone);
  if (!open || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (open !== named()) go(address(open));
  recall();
});

element.addEventListener("click", async (event) => {
  const { copy, forget: gone, card } = event.target.dataset;
  if (gone !== undefined) forget(here().dataset.r);
  if (card !== undefined) saveCard(here());
  if (copy === undefined) return;
  const whole = new URL(address(here().dataset.r), location.href).href;
  const done = await navigator.clipboard?.writeText(whole).then(() => true, () => false);
  event.target.textContent = done ? "Copied" : whole; // where nothing may be copied, it can be selected
});

window.addEventListener("popstate", recall);
window.addEventListener("storage", showList);
window.musicEvalNote = note;
window.musicEvalList = showList;
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
showList();
recall();
