// Results side by side: one of the clips is heard, and the others wait at the same moment.
const lanes = () => [...element.querySelectorAll(".me-lane")];
const sound = () => lanes()[heard].querySelector("audio");
const length = (lane) => Number(lane.querySelector(".me-plot").dataset.duration);
const clock = (time_s) => `${Math.floor(time_s / 60)}:${String(Math.floor(time_s % 60)).padStart(2, "0")}`;
const wanted = () => new URLSearchParams(location.search).get("compare") ?? "";
let heard = 0;
let shown = "";

function show() {
  if (!lanes()[heard]) return;
  const time_s = sound().currentTime;
  for (const [number, lane] of lanes().entries()) {
    const plot = lane.querySelector(".me-plot");
    const at_s = Math.min(time_s, length(lane));
    plot.style.setProperty("--at", `${(100 * at_s) / length(lane)}%`);
    plot.setAttribute("aria-valuenow", at_s.toFixed(1));
    plot.setAttribute("aria-valuetext", `${clock(at_s)} of ${clock(length(lane))}`);
    lane.querySelector(".me-hear").setAttribute("aria-pressed", String(number === heard));
  }
  const play = element.querySelector(".me-play");
  play.textContent = sound().paused ? "▶" : "❚❚";
  play.setAttribute("aria-label", sound().paused ? "Play" : "Pause");
  element.querySelector(".me-clock").textContent = `${clock(time_s)} / ${clock(length(lanes()[heard]))}`;
}

const start = () => sound().play().catch(show);

function hear(number) {
  if (number === heard || !lanes()[number]) return;
  const before = sound();
  const goesOn = !before.paused;
  before.pause();
  heard = number;
  seek(before.currentTime);
  if (goesOn) start();
}

function seek(time_s) {
  sound().currentTime = Math.min(Math.max(time_s, 0), length(lanes()[heard]));
  show();
}

function compare() {
  if (wanted() === shown) return;
  shown = wanted();
  heard = 0;
  trigger("compare", { names: shown });
}

function moves(event) {
  const now = sound().currentTime;
  return {
    ArrowLeft: () => seek(now - 1),
    ArrowRight: () => seek(now + 1),
    Home: () => seek(0),
    End: () => seek(length(lanes()[heard])),
    " ": () => (sound().paused ? start() : sound().pause()),
  }[event.key];
}

element.addEventListener("click", (event) => {
  const name = event.target.closest("[data-hear]");
  const plot = event.target.closest(".me-plot");
  if (name) hear(Number(name.dataset.hear));
  if (event.target.closest(".me-play")) sound().paused ? start() : sound().pause();
  if (plot) {
    const box = plot.getBoundingClientRect();
    const lane = plot.closest(".me-lane");
    hear(lanes().indexOf(lane));
    seek(((event.clientX - box.left) / box.width) * length(lane));
  }
  if (event.target.closest("[data-close]")) {
    history.pushState(null, "", location.pathname);
    compare();
  }
});

element.addEventListener("keydown", (event) => {
  if (!lanes().length) return;
  const move = event.target.classList.contains("me-plot") && moves(event);
  if (move) {
    event.preventDefault();
    move();
  } else if (/^[1-8]$/.test(event.key)) hear(Number(event.key) - 1);
});

// One sound at a time.
function stopOthers() {
  document.querySelector("#result audio")?.pause();
  document.querySelector("#clip .play-pause-button[aria-label=Pause]")?.click();
}
element.addEventListener("play", stopOthers, true);
for (const type of ["timeupdate", "play", "pause", "ended", "seeked", "loadedmetadata"]) {
  element.addEventListener(type, show, true);
}
window.addEventListener("popstate", compare);
window.musicEvalCompare = compare;
compare();
