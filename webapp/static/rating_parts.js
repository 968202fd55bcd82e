// What the scripts of the rater's page share: elements, what the browser remembers, and calls to the server.
// All of them run once, in one scope; `element` is where they show what a rater sees.

// Elements. Text only ever becomes text: nothing here reads HTML.
function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
const button = (text, onclick, className = "me-button") =>
  make("button", { type: "button", className, onclick }, text);
const primary = (text, onclick) => button(text, onclick, "me-button me-primary");
const link = (text, onclick) => button(text, onclick, "me-link");
const key = (name) => make("kbd", { "aria-hidden": "true" }, name);
const wait = (time_s) => new Promise((resume) => setTimeout(resume, 1000 * time_s));
const clock = (time_s) => `${Math.floor(time_s / 60)}:${String(Math.floor(time_s % 60)).padStart(2, "0")}`;

// The browser keeps the visit, the volume and the language; and until its tab is closed, how many parts there are
// and what was answered and not yet sent. In a frame that may keep nothing, the page does.
class Memory {
  constructor(store) {
    this.store = store;
    this.kept = {};
  }

  get(name) {
    try {
      return window[this.store].getItem(`musiceval-${name}`);
    } catch {
      return this.kept[name] ?? null;
    }
  }

  set(name, value) {
    try {
      if (value === null) window[this.store].removeItem(`musiceval-${name}`);
      else window[this.store].setItem(`musiceval-${name}`, value);
    } catch {
      this.kept[name] = value;
    }
  }
}
const memory = new Memory("localStorage");
const ofTab = new Memory("sessionStorage");

// What was answered and not yet sent: of one trial, by its token, or about oneself.
const draft = {
  of(name) {
    const kept = JSON.parse(ofTab.get("draft"));
    return kept?.name === name ? kept.answer : null;
  },
  keep: (name, answer) => ofTab.set("draft", JSON.stringify({ name, answer })),
  forget: () => ofTab.set("draft", null),
};

// Calls. A failure is passing when the same request may well succeed later; its message is in the rater's language.
class Failure extends Error {
  constructor(status, { error = "", code = error ? "" : "unreachable", values = {} } = {}) {
    super();
    Object.assign(this, { status, code, values, sentence: error });
    this.passing = status === 0 || status === 429 || status >= 500;
  }

  get message() {
    return refusal(this.code, this.values, this.sentence);
  }
}
const PATIENCE_S = 30;
const LONGEST_WAIT_S = 20;

async function ask(path, body) {
  const visit = memory.get("visit");
  try {
    const answer = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: visit ? { Authorization: `Bearer ${visit}` } : {},
      body: body && JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(1000 * PATIENCE_S),
    });
    if (answer.headers.get("content-type") === "audio/wav") return await answer.arrayBuffer();
    const content = await answer.json();
    if (!answer.ok) throw new Failure(answer.status, content);
    return content;
  } catch (error) {
    // What is not ours (no network, a proxy's page instead of JSON) is all the same to who waits.
    throw error instanceof Failure ? error : new Failure(0);
  }
}

// Do something again and again while it fails for the time being; `tell` says so on the page, and waits.
async function insist(action, tell) {
  for (let wait_s = 1; ; wait_s = Math.min(2 * wait_s, LONGEST_WAIT_S)) {
    try {
      return await action();
    } catch (failure) {
      if (!failure.passing) throw failure;
      await tell(failure, wait_s);
    }
  }
}

function countDown(wait_s, place, sentence) {
  return new Promise((resume) => {
    const again = make("span", { "aria-hidden": "true" });
    const until = performance.now() + 1000 * wait_s;
    const tick = () => {
      const left_s = Math.ceil((until - performance.now()) / 1000);
      again.textContent = ` ${say("again.in", { seconds: left_s })} `;
      if (left_s <= 0) end();
    };
    const end = () => {
      clearInterval(timer);
      window.removeEventListener("online", end);
      place.replaceChildren(say("again.now"));
      resume();
    };
    const timer = setInterval(tick, 250);
    window.addEventListener("online", end);
    place.replaceChildren(make("span", { role: "alert" }, sentence), again, link(say("again.press"), end));
    tick();
  });
}
