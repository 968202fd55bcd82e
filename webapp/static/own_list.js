// A list that this browser alone has, of what the server keeps for a day at an address: `id` names an entry in it.
window.musicEvalOwnList = ({ key, id, box, title, describe, open, forget, shown = () => {} }) => {
  const MOST = 50;

  function entries() {
    try {
      return JSON.parse(localStorage.getItem(key)) ?? [];
    } catch {
      return []; // no storage here
    }
  }

  function save(list) {
    try {
      localStorage.setItem(key, JSON.stringify(list.slice(0, MOST)));
    } catch {} // the list is not kept
    show();
  }

  const drop = (name) => save(entries().filter((one) => one[id] !== name));

  function made(tag, text, given = {}) {
    const part = Object.assign(document.createElement(tag), given);
    part.textContent = text;
    return part;
  }

  function row(one) {
    const { text, href, hint = "", remove, before = [] } = describe(one);
    const opens = made("a", text, { href, title: hint });
    opens.dataset.open = one[id];
    const removes = made("button", "Delete", { type: "button", ariaLabel: remove });
    removes.dataset.forget = one[id];
    const line = document.createElement("li");
    line.append(...before, opens, made("span", one.said), made("time", new Date(one.at).toLocaleString()), removes);
    return line;
  }

  function show() {
    const place = document.querySelector(`${box} .me-history`);
    if (!place) return;
    place.hidden = entries().length === 0;
    place.querySelector("summary").textContent = `${title} (${entries().length})`;
    place.querySelector("ul").replaceChildren(...entries().map(row));
    shown();
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest(box)) return;
    const { open: opened, forget: gone } = event.target.dataset;
    if (gone) forget(gone);
    if (!opened || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(opened);
  });
  window.addEventListener("storage", show);
  return { entries, save, drop, show };
};

window.musicEvalCopy = async (button, address) => {
  const whole = new URL(address, location.href).href;
  const done = await navigator.clipboard?.writeText(whole).then(() => true, () => false);
  button.textContent = done ? "Copied" : whole; // where nothing may be copied, it can be selected
};
