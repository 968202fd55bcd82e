// The way through the test: code, about you, sound check, practice, rate, break, done. Where a rater stands
// is the server's word (`place`); the sound check alone is this device's.

const stepNames = () => [say("code.step"), say("about.title"), say("sound.title"), say("practice.title"), say("rate.step")];
const GONE_S = 0.5; // however often it happens, the server is not asked without a pause

const stage = make("div", { className: "me-stage" });
let current = {};
let demo = false;
let preview = false;

const heading = (text) => make("h2", { tabIndex: -1 }, text);
// A notice is a function, so that it is said anew in another language.
const noticeLine = (notice) => (notice ? make("p", { className: "me-notice", role: "status" }, notice()) : null);
const paragraphs = (text) => text.split("\n").filter(Boolean).map((line) => make("p", {}, line));

// Show a screen. `handlers`: key (what a key does; without it Enter goes on), stop (silence), busy (an answer is on
// its way), again (show it anew, in another language).
function show(screen, handlers = {}) {
  current.stop?.();
  current = { key: (pressed) => pressed === "Enter" && goOn(screen), ...handlers };
  dress();
  const words = preview ? say("preview.note") : demo ? say("demo.note") : "";
  const note = words ? make("p", { className: "me-demo" }, words) : "";
  const here = document.activeElement === document.body || stage.contains(document.activeElement);
  stage.replaceChildren(note, screen);
  if (here) screen.querySelector("h2")?.focus({ preventScroll: true });
  if (element.getBoundingClientRect().top < 0) element.scrollIntoView();
}

const goOn = (screen) => screen.querySelector(".me-primary")?.click();

function makeCard(step, title, ...parts) {
  const names = stepNames().map((name, index) => {
    const state = index === step ? { "aria-current": "step" } : {};
    return make("li", { className: index < step ? "me-passed" : "", ...state }, name);
  });
  const steps = step === null ? null : make("ol", { className: "me-steps", "aria-label": say("steps") }, ...names);
  return make("section", { className: "me-card" }, steps, heading(title), ...parts);
}

// Go to where the server says the rater is. On a device that has no volume yet, the sound check comes first.
function go(place, notice) {
  demo = place.demo;
  preview = place.preview;
  if (place.step === "about") return showAbout(place);
  if (place.step === "ready" && !place.batches_total) return resume(notice); // what comes is told when it is asked for
  if (place.step === "done") return showDone(place, notice);
  if (memory.get("volume") === null) return showSoundCheck(2);
  if (place.step === "ready" && place.headphones) return showHeadphones(place);
  if (place.step === "ready") return showReady(place, notice);
  return showTrial(place, notice);
}

async function resume(notice) {
  const trouble = make("p", { role: "status" }, say("moment"));
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
  if (failure.status === 404) return wait(GONE_S).then(() => resume(() => say("notice.gone")));
  if (failure.status === 410) return wait(GONE_S).then(() => resume(() => failure.message)); // its file is damaged
  if (failure.status !== 401) return showTrouble(failure);
  const wasDemo = (memory.get("visit") ?? "").startsWith("demo.");
  memory.set("visit", null);
  demo = preview = false;
  showCode(() => (wasDemo ? say("notice.demo_over") : say("notice.signed_out")));
}

function showTrouble(failure) {
  show(makeCard(null, say("trouble.title"), make("p", {}, failure.message),
    make("footer", {}, primary(say("trouble.again"), () => resume()), leaveButton(say("sign_out")))),
  { again: () => showTrouble(failure) });
}

// Do something on the server when a button is pressed; say on the page what became of it.
async function act(press, trouble, action) {
  const word = press.textContent;
  press.disabled = true;
  press.textContent = say("moment");
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

function showCode(notice, typed = "") {
  const code = make("input", {
    type: "text", id: "me-code", autocomplete: "off", autocapitalize: "characters", spellcheck: false, value: typed,
    placeholder: "XXXX-XXXX-XXXX", "aria-describedby": "me-code-trouble",
  });
  const trouble = make("p", { className: "me-reason", id: "me-code-trouble", role: "alert" });
  const enter = make("button", { type: "submit", className: "me-button me-primary" }, say("code.begin"));
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
    make("label", { htmlFor: "me-code" }, say("code.label")),
    make("div", { className: "me-row" }, code, enter), trouble);
  const demoTrouble = make("p", { className: "me-reason", role: "alert" });
  const tryIt = button(say("code.try"), () => act(tryIt, demoTrouble, () => signIn("try", {})));
  show(makeCard(0, say("code.title"), noticeLine(notice),
    make("p", {}, say("code.intro")),
    form,
    make("div", { className: "me-aside" }, make("h3", {}, say("code.none")), make("p", {}, say("code.demo")),
      tryIt, demoTrouble)),
  { again: () => showCode(notice, code.value) });
}

function showAbout(place) {
  const trouble = make("p", { className: "me-reason", role: "alert" });
  const agree = make("input", { type: "checkbox", id: "me-agree", required: true });
  const onward = make("button", { type: "submit", className: "me-button me-primary" }, say("about.go"));
  const kept = draft.of("about") ?? {};
  const questions = place.questions.map((question) => makeQuestion(question, kept[question.key] ?? ""));
  const answers = () => Object.fromEntries([...new FormData(form)].filter(([, answer]) => answer.trim()));
  const send = async () => {
    const next = await ask("about", { answers: answers(), language });
    draft.forget();
    go(next);
  };
  const onsubmit = (event) => {
    event.preventDefault();
    if (agree.checked) return act(onward, trouble, send);
    trouble.replaceChildren(say("about.agree_first"));
    agree.focus();
  };
  const open = place.questions.some(({ needed }) => !needed);
  const may = open ? make("p", { className: "me-reason" }, say("about.open")) : "";
  const oninput = () => draft.keep("about", answers());
  const form = make("form", { onsubmit, oninput, noValidate: true }, // the browser's words may be of another language
    make("div", { className: "me-consent" }, ...consentOf(place),
      make("label", { className: "me-agree" }, agree, say("about.agree"))),
    ...questions,
    make("footer", {}, onward, may, trouble));
  show(makeCard(1, say("about.title"), studyWords(place), form), { again: () => showAbout(place) });
}

// A question is answered with one of its options, as the server names it, or in the rater's own words.
function makeQuestion({ key: name, text, options, kind, needed, words: all }, kept) {
  const own = ownWords(all);
  const [asked, ...words] = own.text ? [own.text, ...(own.options ?? [])] : translated([text, ...options]);
  const title = needed ? say("about.needed", { question: asked }) : asked;
  if (!options.length) {
    const inputMode = kind === "number" ? "decimal" : "text";
    const input = make("input", { type: "text", name, id: `me-${name}`, maxLength: 200, value: kept, inputMode });
    return make("p", { className: "me-question" }, make("label", { htmlFor: `me-${name}` }, title), input);
  }
  const choices = options.map((option, index) =>
    make("label", {}, make("input", { type: "radio", name, value: option, checked: option === kept }), words[index]));
  return make("fieldset", { className: "me-question" }, make("legend", {}, title), ...choices);
}

function showSoundCheck(step) {
  const trouble = make("p", { className: "me-reason", role: "status" }, say("sound.loading"));
  const label = () => (play.textContent = voice.audio.paused ? say("sound.play") : say("sound.stop"));
  const heard = () => {
    right.disabled = false;
    trouble.replaceChildren();
  };
  const failed = () => trouble.replaceChildren(say("sound.unplayable"));
  const voice = new Voice({ play: label, pause: label, playing: heard }, failed, true);
  const slider = makeVolume((loudness) => (voice.audio.volume = loudness));
  const play = button(say("sound.play"), () => voice.toggle());
  const right = primary(say("sound.right"), () => {
    memory.set("volume", voice.audio.volume);
    resume();
  });
  play.disabled = right.disabled = true;
  const screen = makeCard(step, say("sound.title"),
    make("ol", { className: "me-advice" },
      ...[say("sound.room"), say("sound.set"), say("sound.leave")].map((advice) => make("li", {}, advice))),
    make("div", { className: "me-row" }, play, slider), voice.node,
    make("footer", {}, right, trouble));
  show(screen, {
    stop: () => voice.audio.pause(),
    key: (pressed) => (pressed === " " || right.disabled ? play : right).click(),
    again: () => showSoundCheck(step),
  });
  loadSoundCheck(screen, voice, trouble, play);
}

function makeVolume(changed) {
  const shown = make("output");
  const slider = make("input", {
    type: "range", className: "me-volume", min: 0, max: 100, step: 1, value: Math.round(100 * volume()),
    oninput: () => {
      shown.textContent = say("volume.is", { percent: slider.value });
      changed(slider.value / 100);
    },
  });
  shown.textContent = say("volume.is", { percent: slider.value });
  return make("label", { className: "me-row" }, say("volume"), slider, shown);
}

async function loadSoundCheck(screen, voice, trouble, play) {
  try {
    const tell = (failure, wait_s) => countDown(wait_s, trouble, failure.message);
    voice.load(await insist(() => fetchSound("sound-check"), tell));
    play.disabled = false;
    trouble.replaceChildren(say("sound.first"));
  } catch (failure) {
    if (screen.isConnected) recover(failure);
  }
}

function readyWords(place) {
  const takes = { minutes: minutes(place.estimate_s) };
  if (place.practice_next) {
    return [3, say("practice.title"), say("practice.go"), say("practice.about", takes), say("practice.how")];
  }
  const part = progress(place);
  if (!place.batches_done) {
    return [4, say("rate.title"), say("rate.go"), part, say("rate.about", takes), say("rate.how")];
  }
  const parts = say("parts", { count: place.batches_done });
  const clips = say("clips", { count: place.clips_rated });
  return [null, say("break.title"), say("go_on"), say("break.thanks", { parts, clips }), part, say("break.about", takes)];
}

function showReady(place, notice) {
  const [step, title, word, ...lines] = readyWords(place);
  const trouble = make("p", { className: "me-reason", role: "status" });
  const start = () => act(press, trouble, async () => go(await ask("start", {})));
  const press = primary(word, start);
  const sound = link(say("sound.again"), () => showSoundCheck(step));
  show(makeCard(step, title, noticeLine(notice), studyWords(place), ...lines.map((line) => make("p", {}, line)),
    completionOf(place), make("footer", {}, press, sound, leaveButton(say("leave")), trouble)),
  { again: () => showReady(place, notice) });
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
  const pane = makeCard(null, say("pause.title"),
    make("p", {}, say("pause.about")),
    makeVolume((loudness) => {
      memory.set("volume", loudness);
      trial.player.audio.volume = loudness;
    }),
    make("footer", {}, primary(say("go_on"), back), leaveButton(say("leave"))));
  trial.node.hidden = true;
  stage.append(pane);
  current = {
    key: (pressed) => pressed === "Enter" && back(),
    again: () => showPause(showTrial(trial.place)),
  };
  pane.querySelector("h2").focus();
}

function showDone(place, notice) {
  if (place.message in NOT_OPEN) return showNotOpen(place);
  const rated = place.clips_rated ? say("done.rated", { clips: say("clips", { count: place.clips_rated }) }) : "";
  const again = () => showDone(place, notice);
  const words = [noticeLine(notice), rated ? make("p", {}, rated) : null];
  if (place.message === "complete") {
    show(makeCard(null, say("done.title"), ...words, make("p", {}, say("done.complete")), completionOf(place),
      make("footer", {}, leaveButton(say("sign_out")))), { again });
    return;
  }
  show(makeCard(null, say("wait.title"), ...words, make("p", {}, say("wait.about")), completionOf(place),
    make("footer", {}, primary(say("wait.look"), () => resume()), leaveButton(say("leave")))), { again });
}

const leaveButton = (text) => link(text, async () => {
  await ask("leave", {}).catch(() => null); // without the server, this device at least forgets the visit
  const wasDemo = demo;
  memory.set("visit", null);
  ofTab.set("parts", null);
  draft.forget();
  demo = preview = false;
  showCode(() => (wasDemo ? say("notice.left_demo") : say("notice.left")));
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
const keyOfLink = joinOfLink();
if (invited) showCode(null, invited);
else if (keyOfLink) showJoin();
else if (memory.get("visit")) (ofTab.get("code") ? showOwnCode() : resume());
else showCode();
window.addEventListener("hashchange", () => {
  const code = codeOfLink();
  if (code) showCode(null, code);
  else if (joinOfLink()) showJoin();
});
