// Sound: clips as blobs, and the player. A clip comes through `ask`, which carries the visit; an <audio> that
// fetched it itself could not.

const WAV_HEADER_BYTES = 44;
const RATE_AT_BYTE = 24;

async function fetchSound(path) {
  const wav = await ask(path);
  const samples = new Int16Array(wav, WAV_HEADER_BYTES);
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / (samples.length || 1);
  return {
    url: URL.createObjectURL(new Blob([wav], { type: "audio/wav" })),
    samples,
    rate_hz: new DataView(wav).getUint32(RATE_AT_BYTE, true),
    rms: Math.sqrt(power),
  };
}

// The clips at hand: the one that is heard and the one that comes after it.
const sounds = new Map();
function soundOf(token) {
  if (!sounds.has(token)) {
    const coming = fetchSound(`clip/${token}`);
    coming.catch(() => sounds.delete(token)); // whoever asks next fetches it again
    sounds.set(token, coming);
  }
  return sounds.get(token);
}
function keepSounds(...tokens) {
  for (const [token, coming] of sounds) {
    if (tokens.includes(token)) continue;
    sounds.delete(token);
    coming.then((sound) => URL.revokeObjectURL(sound.url), () => null);
  }
}

const volume = () => Number(memory.get("volume") ?? 0.7);

// What was heard: each stretch as [start_s, end_s], in order.
const UNHEARD_S = 0.3; // less than this is not missed
const JUMP_S = 0.05;
const MOST_STRETCHES = 1000;
function unheard_s(stretches, duration_s) {
  let end_s = 0;
  let missed_s = 0;
  for (const [from_s, to_s] of [...stretches].sort((a, b) => a[0] - b[0])) {
    missed_s += Math.max(from_s - end_s, 0);
    end_s = Math.max(end_s, to_s);
  }
  return missed_s + Math.max(duration_s - end_s, 0);
}

// The player of one trial. `changed` is called when the player can do, or has heard, something new.
class Player {
  constructor(duration_s, changed, failed) {
    this.duration_s = duration_s;
    this.stretches = [];
    this.running = null; // the stretch that is being played
    this.sound = null;
    this.reachedEnd = false;
    this.voice = this.makeVoice(changed, failed);
    this.button = button("", () => this.toggle(), "me-play");
    this.canvas = make("canvas", { className: "me-moving", "aria-hidden": "true" });
    this.clock = make("span", { className: "me-clock" });
    this.seek = make("input", {
      type: "range", className: "me-seek", min: 0, max: duration_s, step: 0.01, value: 0, disabled: true,
      "aria-label": say("player.position"),
      oninput: () => this.goTo(Number(this.seek.value)),
      onkeydown: (event) => this.seekKey(event),
    });
    const middle = make("div", {}, this.canvas, this.seek);
    this.node = make("div", { className: "me-trial-player" }, this.button, middle, this.clock, this.voice.node);
    new ResizeObserver(() => this.paint()).observe(this.canvas);
    this.paint();
  }

  get audio() {
    return this.voice.audio;
  }

  makeVoice(changed, failed) {
    const happenings = {
      loadedmetadata: () => null,
      seeked: () => null,
      play: () => this.begin(),
      timeupdate: () => this.heardTo(this.audio.currentTime),
      pause: () => this.heardTo(this.audio.currentTime),
      ended: () => this.heardTo(this.duration_s),
    };
    const told = Object.entries(happenings).map(([name, happens]) => [name, () => {
      happens();
      this.reachedEnd ||= this.audio.ended;
      this.paint();
      changed();
    }]);
    return new Voice(Object.fromEntries(told), failed);
  }

  load(sound) {
    this.sound = sound;
    this.voice.load(sound);
    this.seek.disabled = false;
    this.paint();
  }

  toggle() {
    if (this.sound) this.voice.toggle();
  }

  goTo(time_s) {
    this.heardTo(this.audio.currentTime);
    this.audio.currentTime = Math.min(Math.max(time_s, 0), this.duration_s);
    this.running = null;
    if (!this.audio.paused) this.startStretch(this.audio.currentTime);
    this.paint();
  }

  seekKey(event) {
    const steps_s = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 };
    if (!(event.key in steps_s)) return;
    event.preventDefault();
    this.goTo(this.audio.currentTime + steps_s[event.key]);
  }

  startStretch(time_s) {
    this.running = [time_s, time_s];
    this.stretches.push(this.running);
  }

  heardTo(time_s) {
    if (!this.running) return;
    if (time_s < this.running[1] - JUMP_S) this.startStretch(time_s); // after its end a clip begins again
    this.running[1] = Math.min(Math.max(this.running[1], time_s), this.duration_s);
  }

  begin() {
    this.startStretch(this.audio.currentTime);
    const follow = () => {
      this.heardTo(this.audio.currentTime);
      this.paint();
      if (!this.audio.paused && !calm.matches) requestAnimationFrame(follow);
    };
    follow();
  }

  unheard_s() {
    return unheard_s(this.stretches, this.duration_s);
  }

  played() {
    return this.stretches.filter(([from_s, to_s]) => to_s > from_s).slice(-MOST_STRETCHES);
  }

  paint() {
    const now_s = Math.min(this.audio.currentTime, this.duration_s);
    const label = this.audio.paused ? say("player.play") : say("player.pause");
    if (this.button.getAttribute("aria-label") !== label) {
      this.button.textContent = this.audio.paused ? "▶" : "❚❚";
      this.button.setAttribute("aria-label", label);
    }
    this.clock.textContent = `${clock(now_s)} / ${clock(this.duration_s)}`;
    this.seek.value = now_s;
    this.seek.setAttribute("aria-valuetext", say("player.at", { at: clock(now_s), whole: clock(this.duration_s) }));
    this.seek.style.setProperty("--heard", heardGradient(this.stretches, this.duration_s));
    if (this.sound && this.stretches.length) drawAround(this.canvas, this.sound, now_s);
    else drawStill(this.canvas);
  }
}

function heardGradient(stretches, duration_s) {
  const bars = stretches.map(([from_s, to_s]) => {
    const [from, to] = [from_s, to_s].map((time_s) => `${(100 * time_s) / duration_s}%`);
    return `linear-gradient(90deg, transparent ${from}, var(--me-accent) ${from} ${to}, transparent ${to})`;
  });
  return bars.join(",") || "none";
}

// The picture shows only the seconds around the hand, and nothing before the clip was played: a picture of
// the whole clip would show that it comes a second time. It is scaled by the clip's own loudness.
const SHOWN_S = 4;
const RMS_HEIGHT = 0.11; // of the height
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function fit(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale].map(Math.round);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  return { pen, width, height, scale, colour: (name) => getComputedStyle(canvas).getPropertyValue(name) };
}

function drawStill(canvas) {
  const { pen, width, height, scale, colour } = fit(canvas);
  pen.fillStyle = colour("--me-line");
  pen.fillRect(0, height / 2 - scale / 2, width, scale);
}

function drawAround(canvas, sound, now_s) {
  const { pen, width, height, scale, colour } = fit(canvas);
  const column = 3 * scale;
  const perColumn = (SHOWN_S * sound.rate_hz * column) / width;
  const unit = (RMS_HEIGHT * height) / (sound.rms || 1);
  const behind = colour("--me-accent");
  const ahead = colour("--me-control");
  // Columns stand on a grid of the clip, so that the picture moves and does not flicker.
  const first = Math.floor(((now_s - SHOWN_S / 2) * sound.rate_hz) / perColumn);
  for (let number = first; number <= first + width / column + 1; number++) {
    const from = Math.floor(number * perColumn);
    const x = width / 2 + ((from / sound.rate_hz - now_s) / SHOWN_S) * width;
    let peak = 0;
    for (let at = Math.max(from, 0); at < Math.min(from + perColumn, sound.samples.length); at++) {
      peak = Math.max(peak, Math.abs(sound.samples[at]));
    }
    const half = Math.max(Math.min(peak * unit, height / 2), scale / 2);
    if (from <= -perColumn || from >= sound.samples.length) continue; // before the clip, or after it
    pen.fillStyle = x < width / 2 ? behind : ahead;
    pen.fillRect(x, height / 2 - half, 2 * scale, 2 * half);
  }
  pen.fillStyle = colour("--me-ink");
  pen.fillRect(width / 2 - scale, 0, 2 * scale, height);
}
