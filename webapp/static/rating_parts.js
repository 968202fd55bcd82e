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
const minutes = (time_s) => (time_s < 90 ? "1 minute" : `${Math.round(time_s / 60)} minutes`);
const counted = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;

// The browser keeps the visit and the volume, nothing else. In a frame that may keep nothing, the page does.
const kept = {};
const memory = {
  get(name) {
    try {
      return localStorage.getItem(`musiceval-${name}`);
    } catch {
      return kept[name] ?? null;
    }
  },
  set(name, value) {
    try {
      if (value === null) localStorage.removeItem(`musiceval-${name}`);
      else localStorage.setItem(`musiceval-${name}`, value);
    } catch {
      kept[name] = value;
    }
  },
};

// Calls. A failure is passing when the same request may well succeed later.
class Failure extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
    this.passing = status === 0 || status === 429 || status >= 500;
  }
}
const UNREACHABLE = "The server cannot be reached.";
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
    if (!answer.ok) throw new Failure(answer.status, content.error ?? UNREACHABLE);
    return content;
  } catch (error) {
    // What is not ours (no network, a proxy's page instead of JSON) is all the same to who waits.
    throw error instanceof Failure ? error : new Failure(0, UNREACHABLE);
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
      again.textContent = ` Trying again in ${left_s} s. `;
      if (left_s <= 0) end();
    };
    const end = () => {
      clearInterval(timer);
      window.removeEventListener("online", end);
      place.replaceChildren("Trying again…");
      resume();
    };
    const timer = setInterval(tick, 250);
    window.addEventListener("online", end);
    place.replaceChildren(make("span", { role: "alert" }, sentence), again, link("Try now", end));
    tick();
  });
}
