// The way through the test: code, about you, sound check, practice, rate, break, done. Where a rater stands
// is the server's word (`place`); the sound check alone is this device's.

const STEPS = ["Code", "About you", "Sound check", "Practice", "Rate"];
const SIGNED_OUT = "Your visit has ended. Enter your access code to go on where you were.";
const DEMO_NOTE = "Demo: composed clips, and nothing that you answer counts.";
const DEMO_OVER = "The demo was started anew meanwhile. Nothing of it is kept.";
const LEFT = "You have signed out. Your ratings are saved; your code brings you back to where you were.";
const LEFT_DEMO = "You have left the demo.";
const GONE = "That clip is not yours to rate any more. Here is where you are.";
const GONE_S = 0.5; // however often it happens, the server is not asked without a pause

const stage = make("div", { className: "me-stage" });
let current = {};
let demo = false;
let preview = false;

const heading = (text) => make("h2", { tabIndex: -1 }, text);
const noticeLine = (text) => (text ? make("p", { className: "me-notice", role: "status" }, text) : null);
const paragraphs = (text) => text.split("\n").filter(Boolean).map((line) => make("p", {}, line));

// Show a screen. `handlers`: key (what a key does), stop (silence), busy (an answer is on its way).
function show(screen, handlers = {}) {
  current.stop?.();
  current = handlers;
  const words = preview ? PREVIEW_NOTE : demo ? DEMO_NOTE : "";
  const note = words ? make("p", { className: "me-demo" }, words) : "";
  const here = document.activeElement === document.body || stage.contains(document.activeElement);
  stage.replaceChildren(note, screen);
  if (here) screen.querySelector("h2")?.focus({ preventScroll: true });
  if (element.getBoundingClientRect().top < 0) element.scrollIntoView();
}

function makeCard(step, title, ...parts) {
  const names = STEPS.map((name, index) => {
    const state = index === step ? { "aria-current": "step" } : {};
    return make("li", { className: index < step ? "me-passed" : "", ...state }, name);
  });
  const steps = step === null ? null : make("ol", { className: "me-steps", "aria-label": "Steps" }, ...names);
  return make("section", { className: "me-card" }, steps, heading(title), ...parts);
}

// Go to where the server says the rater is. On a device that has no volume yet, the sound check comes first.
function go(place, notice = "") {
  demo = place.demo;
  preview = place.preview;
  if (place.step === "about") return showAbout(place);
  if (place.step === "done") return showDone(place, notice);
  if (memory.get("volume") === null) return showSoundCheck(2);
  if (place.step === "ready") return showReady(place, notice);
  return showTrial(place, notice);
}

async function resume(notice = "") {
  const trouble = make("p", { role: "status" }, "One moment…");
  show(make("section", { className: "me-card" }, trouble));
  try {
    const tell = (failure, wait_s) => countDown(wait_s, trouble, failure.message);
    go(await insist(() => ask("place"), tell), notice);
  } catch (failure) {
    recover(failure);
  }
}

// What to do when the server will not have it: sign in again, or ask where the rater stands.
async function recover(failure) {
  if (failure.status === 404) return wait(GONE_S).then(() => resume(GONE));
  if (failure.status === 410) return wait(GONE_S).then(() => resume(failure.message)); // its file is damaged
  if (failure.status !== 401) return showTrouble(failure);
  const wasDemo = (memory.get("visit") ?? "").startsWith("demo.");
  memory.set("visit", null);
  demo = preview = false;
  showCode(wasDemo ? DEMO_OVER : SIGNED_OUT);
}

function showTrouble(failure) {
  show(makeCard(null, "This did not work", make("p", {}, failure.message),
    make("footer", {}, primary("Try again", () => resume()), leaveButton("Sign out"))));
}

// Do something on the server when a button is pressed; say on the page what became of it.
async function act(press, trouble, action) {
  const word = press.textContent;
  press.disabled = true;
  press.textContent = "One moment…";
  trouble.replaceChildren();
  try {
    await action();
  } catch (failure) {
    trouble.replaceChildren(failure.message);
    if (failure.status === 401 && memory.get("visit")) recover(failure);
  }
  press.textContent = word;
  press.disabled = false;
}

function showCode(notice = "", given = "") {
  const code = make("input", {
    type: "text", id: "me-code", value: given, autocomplete: "off", autocapitalize: "characters", spellcheck: false,
    placeholder: "XXXX-XXXX-XXXX", "aria-describedby": "me-code-trouble",
  });
  const trouble = make("p", { className: "me-reason", id: "me-code-trouble", role: "alert" });
  const enter = make("button", { type: "submit", className: "me-button me-primary" }, "Begin");
  const signIn = async (path, body) => {
    const { visit } = await ask(path, body);
    memory.set("visit", visit);
    resume();
  };
  const onsubmit = (event) => {
    event.preventDefault();
    if (code.value.trim()) act(enter, trouble, () => signIn("enter", { code: code.value }));
    else code.focus();
  };
  const form = make("form", { className: "me-entry", onsubmit },
    make("label", { htmlFor: "me-code" }, "Access code"),
    make("div", { className: "me-row" }, code, enter), trouble);
  const demoTrouble = make("p", { className: "me-reason", role: "alert" });
  const tryIt = button("Try the demo", () => act(tryIt, demoTrouble, () => signIn("try", {})));
  show(makeCard(0, "Rate music by ear", noticeLine(notice),
    make("p", {}, "You hear short clips and rate each on two scales. Your place is kept: you can stop at " +
      "any time and go on later, also on another device."),
    form,
    make("div", { className: "me-aside" }, make("h3", {}, "No code?"),
      make("p", {}, "Look around in a small demo with composed clips. Nothing that you answer there counts."),
      tryIt, demoTrouble)));
}

function showAbout(place) {
  const trouble = make("p", { className: "me-reason", role: "alert" });
  const agree = make("input", { type: "checkbox", id: "me-agree", required: true });
  const onward = make("button", { type: "submit", className: "me-button me-primary" }, "Continue");
  const questions = place.questions.map(({ key: name, text, options }) => {
    if (!options.length) {
      const input = make("input", { type: "text", name, id: `me-${name}`, maxLength: 200 });
      return make("p", { className: "me-question" }, make("label", { htmlFor: `me-${name}` }, text), input);
    }
    const choices = options.map((option) =>
      make("label", {}, make("input", { type: "radio", name, value: option }), option));
    return make("fieldset", { className: "me-question" }, make("legend", {}, text), ...choices);
  });
  const send = (event) => {
    event.preventDefault();
    const answers = Object.fromEntries([...new FormData(form)].filter(([, answer]) => answer.trim()));
    act(onward, trouble, async () => go(await ask("about", { answers })));
  };
  const may = make("p", { className: "me-reason" }, "You may leave a question open.");
  const form = make("form", { onsubmit: send },
    make("div", { className: "me-consent" }, ...paragraphs(place.consent),
      make("label", { className: "me-agree" }, agree, "I agree and take part.")),
    ...questions,
    make("footer", {}, onward, may, trouble));
  show(makeCard(1, "About you", studyWords(place), form));
}

function showSoundCheck(step) {
  const audio = make("audio", { loop: true, volume: volume() });
  const trouble = make("p", { className: "me-reason", role: "status" }, "The music is loading.");
  const slider = makeVolume((loudness) => (audio.volume = loudness));
  const play = button("Play the music", () => (audio.paused ? audio.play().catch(label) : audio.pause()));
  const right = primary("It sounds right", () => {
    memory.set("volume", audio.volume);
    resume();
  });
  const label = () => (play.textContent = audio.paused ? "Play the music" : "Stop the music");
  play.disabled = right.disabled = true;
  for (const event of ["play", "pause"]) audio.addEventListener(event, label);
  audio.addEventListener("playing", () => {
    right.disabled = false;
    trouble.replaceChildren();
  });
  const screen = makeCard(step, "Sound check",
    make("ol", { className: "me-advice" },
      make("li", {}, "Sit in a quiet room and put on headphones if you have them."),
      make("li", {}, "Play the music, and set the volume so that it is pleasant and clear."),
      make("li", {}, "Then leave the volume as it is for the whole test.")),
    make("div", { className: "me-row" }, play, slider), audio,
    make("footer", {}, right, trouble));
  show(screen, { stop: () => audio.pause(), key: (pressed) => pressed === " " && play.click() });
  loadSoundCheck(screen, audio, trouble, play);
}

function makeVolume(changed) {
  const shown = make("output");
  const slider = make("input", {
    type: "range", className: "me-volume", min: 0, max: 100, step: 1, value: Math.round(100 * volume()),
    oninput: () => {
      shown.textContent = `${slider.value} %`;
      changed(slider.value / 100);
    },
  });
  shown.textContent = `${slider.value} %`;
  return make("label", { className: "me-row" }, "Volume", slider, shown);
}

async function loadSoundCheck(screen, audio, trouble, play) {
  try {
    const tell = (failure, wait_s) => countDown(wait_s, trouble, failure.message);
    audio.src = (await insist(() => fetchSound("sound-check"), tell)).url;
    play.disabled = false;
    trouble.replaceChildren("Play the music first.");
  } catch (failure) {
    if (screen.isConnected) recover(failure);
  }
}

function readyWords(place) {
  const takes = `about ${minutes(place.estimate_s)}`;
  if (place.practice_next) {
    return [3, "Practice", "Start practice",
      `First a few clips to get used to the scales, ${takes}. After each answer you see what was expected, ` +
        "and why.",
      "Read the prompt, then listen. You can play a clip again as often as you like."];
  }
  if (!place.batches_done) {
    return [4, "Now the clips that count", "Start",
      `The first part takes ${takes}. You can pause at any time, and a break is offered after each part.`,
      "Trust your ear. There is no going back to a clip."];
  }
  return [null, "Time for a break", "Go on",
    `Thank you: ${counted(place.batches_done, "part")} done, ${counted(place.clips_rated, "clip")} rated, ` +
      "all saved.",
    `Rest your ears for a few minutes. The next part takes ${takes}. You can also leave, and come back ` +
      "another day."];
}

function showReady(place, notice) {
  const [step, title, word, ...lines] = readyWords(place);
  const trouble = make("p", { className: "me-reason", role: "status" });
  const start = () => act(press, trouble, async () => go(await ask("start", {})));
  const press = primary(word, start);
  const sound = link("Check the sound again", () => showSoundCheck(step));
  show(makeCard(step, title, noticeLine(notice), studyWords(place), ...lines.map((line) => make("p", {}, line)),
    make("footer", {}, press, sound, leaveButton("Leave for now"), trouble)));
}

function showPause(trial) {
  trial.player.audio.pause();
  const handlers = current;
  const back = () => {
    pane.remove();
    trial.node.hidden = false;
    current = handlers;
    trial.node.querySelector("h2").focus();
  };
  const pane = makeCard(null, "Paused",
    make("p", {}, "Everything up to this clip is saved. What you chose for this clip stays on this page."),
    makeVolume((loudness) => {
      memory.set("volume", loudness);
      trial.player.audio.volume = loudness;
    }),
    make("footer", {}, primary("Go on", back), leaveButton("Leave for now")));
  trial.node.hidden = true;
  stage.append(pane);
  current = { key: (pressed) => pressed === "Enter" && back() };
  pane.querySelector("h2").focus();
}

function showDone(place, notice) {
  if (NOT_OPEN[place.message]) return showNotOpen(place);
  const rated = place.clips_rated ? `You rated ${counted(place.clips_rated, "clip")}, all saved.` : "";
  const words = [noticeLine(notice), rated ? make("p", {}, rated) : null];
  if (place.message === "complete") {
    show(makeCard(null, "Done. Thank you!", ...words, make("p", {}, "There is nothing left to rate for you."),
      make("footer", {}, leaveButton("Sign out"))));
    return;
  }
  show(makeCard(null, "Nothing to rate right now", ...words,
    make("p", {}, "The clips that are left are with other listeners. Some may come free: look again later."),
    make("footer", {}, primary("Look again", () => resume()), leaveButton("Leave for now"))));
}

const leaveButton = (text) => link(text, async () => {
  await ask("leave", {}).catch(() => null); // without the server, this device at least forgets the visit
  const words = demo ? LEFT_DEMO : LEFT;
  memory.set("visit", null);
  demo = preview = false;
  showCode(words);
});

// Keys: only on this page, never while someone types, and a button keeps its own.
document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
  if (!current.key) return;
  if (!element.contains(target) && target !== document.body) return;
  if (target.matches("textarea, input[type=text]")) return;
  const onButton = target.matches("button, a, input[type=checkbox]");
  if (!/^[1-5]$/.test(event.key) && (onButton || ![" ", "Enter"].includes(event.key))) return;
  event.preventDefault();
  current.key(event.key);
});
window.addEventListener("beforeunload", (event) => current.busy?.() && event.preventDefault());

element.replaceChildren(stage);
const invited = codeOfLink();
if (invited) showCode("", invited);
else if (memory.get("visit")) resume();
else showCode();
window.addEventListener("hashchange", () => {
  const code = codeOfLink();
  if (code) showCode("", code);
});
