// What plays a sound: an <audio>, and where that fails, as it is known to on iOS with blobs, an AudioContext.

const STILL_S = 3; // an <audio> that plays and has not moved for so long has failed

let context = null; // one for all sounds: browsers allow a few
function audioContext() {
  context ??= new (window.AudioContext ?? window.webkitAudioContext)();
  return context;
}

// Of the interface of an <audio> as much as the page uses, over an AudioContext.
class Decoded extends EventTarget {
  constructor(sound, loop, loudness) {
    super();
    Object.assign(this, { loop, paused: true, ended: false, from_s: 0, source: null });
    this.gain = audioContext().createGain();
    this.gain.connect(context.destination);
    this.volume = loudness;
    // Decoding takes the bytes away from who else needs them.
    this.buffer = context.decodeAudioData(sound.samples.buffer.slice(0));
    this.buffer.catch(() => null); // who plays it is told
  }

  get volume() {
    return this.gain.gain.value;
  }

  set volume(loudness) {
    this.gain.gain.value = loudness;
  }

  get currentTime() {
    if (this.paused) return this.from_s;
    const time_s = this.from_s + context.currentTime - this.since_s;
    return this.loop ? time_s % this.duration_s : Math.min(time_s, this.duration_s);
  }

  set currentTime(time_s) {
    this.from_s = time_s;
    this.ended = false;
    if (!this.paused) this.begin();
    this.tell("seeked");
  }

  tell(...names) {
    for (const name of names) this.dispatchEvent(new Event(name));
  }

  async play() {
    const running = context.resume();
    this.decoded = await this.buffer;
    this.duration_s = this.decoded.duration;
    await Promise.race([running, wait(1)]);
    if (context.state !== "running") throw new DOMException("", "NotAllowedError"); // it takes another click
    if (!this.paused) return;
    if (this.ended) this.from_s = 0;
    Object.assign(this, { paused: false, ended: false });
    this.begin();
    this.timer = setInterval(() => this.tell("timeupdate"), 250);
    this.tell("play", "playing");
  }

  begin() {
    this.halt();
    const source = context.createBufferSource();
    Object.assign(source, { buffer: this.decoded, loop: this.loop });
    source.connect(this.gain);
    source.onended = () => source === this.source && this.end();
    source.start(0, this.from_s);
    this.source = source;
    this.since_s = context.currentTime;
  }

  halt() {
    const { source } = this;
    this.source = null;
    source?.stop();
  }

  pause() {
    if (this.paused) return;
    this.from_s = this.currentTime;
    this.rest();
    this.tell("pause");
  }

  end() {
    this.from_s = this.duration_s;
    this.rest();
    this.ended = true;
    this.tell("pause", "ended");
  }

  rest() {
    clearInterval(this.timer);
    this.halt();
    this.paused = true;
  }
}

// A sound that can be played; `happenings` are what its events do, `failed` is called when nothing can play it.
class Voice {
  constructor(happenings, failed, loop = false) {
    Object.assign(this, { happenings, failed, loop, sound: null, wanted: false });
    this.node = make("audio", { preload: "auto", loop, volume: volume(), onerror: () => this.swap(this.node) });
    this.use(this.node);
  }

  use(audio) {
    this.audio = audio;
    for (const [name, happens] of Object.entries(this.happenings)) audio.addEventListener(name, happens);
  }

  load(sound) {
    this.sound = sound;
    this.node.src = sound.url;
  }

  toggle() {
    this.wanted = this.audio.paused;
    if (this.wanted) this.play();
    else this.audio.pause();
  }

  async play() {
    const { audio } = this;
    try {
      await audio.play();
    } catch (error) {
      if (!["NotAllowedError", "AbortError"].includes(error.name)) this.swap(audio);
      return;
    }
    const from_s = audio.currentTime;
    await wait(STILL_S);
    if (!audio.paused && audio.currentTime === from_s) this.swap(audio);
  }

  // Another plays from now on, in place of one that failed.
  swap(audio) {
    if (audio !== this.audio || !this.sound) return;
    audio.pause();
    if (audio !== this.node) return this.failed();
    try {
      this.use(new Decoded(this.sound, this.loop, audio.volume));
    } catch {
      return this.failed(); // this browser has none
    }
    if (this.wanted) this.play();
  }
}
