// Gradio runs this once for the result's component; `element` is its root, and a new result replaces what is
// inside it.

// A file over the limit is turned away before it is sent; the server gives the sentence that says so.
function check(event, files) {
  const file = [...files].find((one) => one.size > props.max_bytes);
  if (!file) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (event.type === "change") event.target.value = "";
  trigger("too_large", { name: file.name, bytes: file.size });
}
const given = (event) => (event.type === "drop" ? event.dataTransfer.files : event.target.files) ?? [];
for (const type of ["change", "drop"]) {
  const checkClip = (event) => event.target.closest("#clip") && check(event, given(event));
  document.addEventListener(type, checkClip, true);
}

// The player: one <audio>, its button, and the plot as a slider over the clip's time.
const UNPLAYABLE = "This browser cannot play clips of this format.";
const find = (selector) => element.querySelector(selector);
const clock = (time_s) => `${Math.floor(time_s / 60)}:${String(Math.floor(time_s % 60)).padStart(2, "0")}`;
const duration = () => Number(find(".me-plot").dataset.duration);

function show() {
  const audio = find("audio");
  const plot = find(".me-plot");
  if (!audio || !plot) return;
  const time_s = Math.min(audio.currentTime, duration());
  plot.style.setProperty("--at", `${(100 * time_s) / duration()}%`);
  plot.setAttribute("aria-valuenow", time_s.toFixed(1));
  plot.setAttribute("aria-valuetext", `${clock(time_s)} of ${clock(duration())}`);
  find(".me-clock").textContent = `${clock(time_s)} / ${clock(duration())}`;
  find(".me-play").textContent = audio.paused ? "▶" : "❚❚";
  find(".me-play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
}

function seek(time_s) {
  find("audio").currentTime = Math.min(Math.max(time_s, 0), duration());
  show();
}

// A start that is refused or cut short leaves the player paused, and `show` says so.
const toggle = () => (find("audio").paused ? find("audio").play().catch(show) : find("audio").pause());

element.addEventListener("click", (event) => {
  const plot = event.target.closest(".me-plot");
  const row = event.target.closest("[data-seek]");
  if (event.target.closest(".me-play")) toggle();
  if (row) seek(Number(row.dataset.seek));
  if (plot) {
    const box = plot.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * duration());
  }
});

element.addEventListener("keydown", (event) => {
  if (!event.target.classList.contains("me-plot")) return;
  const now = find("audio").currentTime;
  const moves = {
    ArrowLeft: () => seek(now - 1),
    ArrowDown: () => seek(now - 1),
    ArrowRight: () => seek(now + 1),
    ArrowUp: () => seek(now + 1),
    PageDown: () => seek(now - 10),
    PageUp: () => seek(now + 10),
    Home: () => seek(0),
    End: () => seek(duration()),
    " ": toggle,
  };
  if (!moves[event.key]) return;
  event.preventDefault();
  moves[event.key]();
});

// One sound at a time: the input's own player stops when this one starts.
function stopOthers() {
  document.querySelector("#clip .play-pause-button[aria-label=Pause]")?.click();
  document.querySelectorAll("#compared audio").forEach((audio) => audio.pause());
}
element.addEventListener("play", stopOthers, true);

// Media events do not bubble, but they can be caught on the way down.
element.addEventListener("error", () => (find(".me-hint").textContent = UNPLAYABLE), true);
for (const type of ["timeupdate", "play", "pause", "ended", "seeked", "emptied"]) {
  element.addEventListener(type, show, true);
}
