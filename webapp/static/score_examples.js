// Cards of examples: one fills in clip and prompt, its ▶ lets it be heard before.
const heard = new Audio();
heard.preload = "none";

function showHeard() {
  for (const button of element.querySelectorAll("[data-hear]")) {
    const plays = !heard.paused && heard.src.endsWith(`/${button.dataset.hear}`);
    button.textContent = plays ? "❚❚" : "▶";
    button.setAttribute("aria-pressed", plays);
  }
}
for (const type of ["play", "pause", "ended", "error"]) heard.addEventListener(type, showHeard);

function hear(address) {
  if (!heard.paused && heard.src.endsWith(`/${address}`)) {
    heard.pause();
    return;
  }
  document.querySelectorAll("#result audio, #compared audio").forEach((one) => one.pause());
  document.querySelector("#clip .play-pause-button[aria-label=Pause]")?.click();
  heard.src = address;
  heard.play().catch(showHeard);
}

element.addEventListener("click", (event) => {
  const listen = event.target.closest("[data-hear]");
  if (listen) return hear(listen.dataset.hear);
  const card = event.target.closest("[data-number]");
  if (!card) return;
  heard.pause();
  trigger("select", { number: Number(card.dataset.number) });
});

// One sound at a time: another player stops this one.
document.addEventListener("play", (event) => event.target !== heard && heard.pause(), true);
