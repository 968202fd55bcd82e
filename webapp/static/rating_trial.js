// One trial: the prompt, the player, the two scales, and Next. What is said and heard lives here until the
// server has it; everything else is the server's.

const SAVED_S = 0.7; // how long "Saved" stands before the next clip
const NOT_NEEDED = "The last clip needs no rating any more, so your answer was not stored. Go on here.";
const ANSWERED = "The last clip had an answer already, perhaps from another window: the first one counts.";
const REPORTED = "Thank you: the clip was reported. Here is the next one.";
const NOT_HERE = "The clip is not here yet.";
const UNPLAYABLE = "This browser cannot play the clip. Reload the page, or report it below.";
const LEGEND = [
  ["Space", "play"],
  ["1 to 5", "rate the framed scale"],
  ["Tab", "move on"],
  ["Enter", "next"],
];

function makeScale({ key: name, title, question, labels }, changed) {
  const points = labels.map((word, index) => {
    const input = make("input", { type: "radio", name: `me-${name}`, value: index + 1, onchange: changed });
    const number = make("b", {}, `${index + 1}`);
    return make("label", { className: "me-point" }, input, number, make("span", {}, word));
  });
  const inputs = points.map((point) => point.querySelector("input"));
  const node = make(
    "fieldset",
    { className: "me-likert" },
    make("legend", {}, title),
    make("p", {}, question),
    make("div", { className: "me-points" }, ...points),
  );
  return {
    name,
    title,
    node,
    value: () => Number(inputs.find((input) => input.checked)?.value ?? 0),
    choose(point) {
      inputs[point - 1].checked = true;
      inputs[point - 1].focus({ preventScroll: true });
      changed();
    },
  };
}

class Trial {
  constructor(place) {
    this.task = place.task;
    this.state = "open"; // then busy while an answer is on its way, then over
    const failed = () => this.trouble.replaceChildren(UNPLAYABLE);
    this.player = new Player(this.task.duration_s, () => this.refresh(), failed);
    this.scales = place.scales.map((scale) => makeScale(scale, () => this.refresh()));
    this.framed = this.scales[0];
    this.comment = make("textarea", { id: "me-comment", rows: 1, maxLength: 2000 });
    this.pause = button("Pause", () => showPause(this));
    this.broken = link("This clip does not play", () => this.openReport());
    this.report = this.makeReport();
    this.trouble = make("div", { className: "me-trouble", role: "status" });
    this.reason = make("p", { className: "me-reason", id: "me-reason", role: "status" });
    this.next = primary("Next", () => this.submit());
    this.next.setAttribute("aria-describedby", "me-reason");
    this.next.append(key("↵"));
  }

  layOut(notice) {
    const { position, count, practice, prompt, time_left_s } = this.task;
    const title = heading(`${practice ? "Practice" : "Clip"} ${position} of ${count}`);
    const left = make("p", { className: "me-left-time" }, `about ${minutes(time_left_s)} left`);
    const label = make("label", { htmlFor: "me-comment" }, "Comment (optional)");
    this.node = make("section", { className: "me-trial" },
      noticeLine(notice),
      make("header", {}, title, left, this.pause),
      make("div", { className: "me-prompt" }, make("h3", {}, "Prompt"), make("p", {}, prompt)),
      this.player.node,
      this.trouble,
      make("div", { className: "me-likerts" }, ...this.scales.map((scale) => scale.node)),
      make("div", { className: "me-extras" }, label, this.comment, this.broken),
      this.report,
      make("footer", {}, this.next, this.reason),
      make("p", { className: "me-legend" }, ...LEGEND.flatMap(([name, use]) => [key(name), ` ${use} `])));
    this.node.addEventListener("focusin", (event) => {
      this.framed = this.scales.find((scale) => scale.node.contains(event.target)) ?? this.framed;
      this.refresh();
    });
    return this.node;
  }

  async load() {
    const { token, next_token } = this.task;
    keepSounds(token, next_token);
    try {
      const tell = (failure, wait_s) => countDown(wait_s, this.trouble, `${NOT_HERE} ${failure.message}`);
      const sound = await insist(() => soundOf(token), tell);
      this.trouble.replaceChildren();
      this.player.load(sound);
      this.refresh();
      if (next_token) soundOf(next_token).catch(() => null); // it will be asked for again
    } catch (failure) {
      if (this.node.isConnected && this.state === "open") recover(failure);
    }
  }

  // Why Next is locked; empty when it is not.
  lock() {
    const { player } = this;
    if (!player.sound) return "The clip is loading.";
    const missing = [];
    const left_s = player.unheard_s();
    if (left_s > UNHEARD_S) {
      missing.push(player.reachedEnd ? "listen to the part that you skipped" : "listen to the end once");
    }
    const unrated = this.scales.filter((scale) => !scale.value());
    if (unrated.length === 1) missing.push(`rate the ${unrated[0].title.toLowerCase()}`);
    else if (unrated.length) missing.push(unrated.length === 2 ? "choose both ratings" : "choose all ratings");
    const words = missing.join(" and ");
    return words && `${words[0].toUpperCase()}${words.slice(1)}.`;
  }

  refresh() {
    for (const scale of this.scales) scale.node.classList.toggle("me-framed", scale === this.framed);
    if (this.state !== "open") return;
    const lock = this.lock();
    this.next.setAttribute("aria-disabled", Boolean(lock));
    const words = lock || "Heard to the end ✓";
    if (this.reason.textContent !== words) this.reason.textContent = words;
  }

  setState(state) {
    this.state = state;
    const controls = [...this.scales.map((scale) => scale.node), this.comment, this.pause, this.broken];
    for (const control of controls) control.disabled = state !== "open";
    this.node.toggleAttribute("data-busy", state !== "open");
    this.next.setAttribute("aria-disabled", state !== "open");
    if (state !== "open") this.player.audio.pause();
  }

  // Send something until the server has it; the page stays as it is and says how it goes.
  async send(path, body, lead) {
    let waited = false;
    this.setState("busy");
    this.reason.replaceChildren("Saving…");
    try {
      const done = await insist(() => ask(path, body), (failure, wait_s) => {
        waited = true;
        return countDown(wait_s, this.reason, `${lead} ${failure.message}`);
      });
      this.setState("over");
      return { done, waited };
    } catch (failure) {
      if (failure.status === 400) {
        this.setState("open");
        this.refresh();
        this.reason.replaceChildren(make("span", { role: "alert" }, `Not saved. ${failure.message}`));
      } else {
        this.setState("over");
        recover(failure);
      }
      return {};
    }
  }

  async submit() {
    if (this.state !== "open" || this.lock()) return;
    const answer = { token: this.task.token, comment: this.comment.value, played: this.player.played() };
    for (const scale of this.scales) answer[scale.name] = scale.value();
    const { done, waited } = await this.send("rate", answer, "Not saved yet; your answer stays here.");
    if (!done) return;
    if (done.outcome === "released") return go(done.place, NOT_NEEDED);
    if (done.outcome === "already" && !waited) return go(done.place, ANSWERED);
    this.reason.replaceChildren(make("b", {}, "Saved ✓"));
    await wait(SAVED_S);
    if (done.feedback) showFeedback(this, answer, done);
    else go(done.place);
  }

  makeReport() {
    const what = make("input", { type: "text", id: "me-problem", maxLength: 500 });
    const send = button("Report and go on", async () => {
      if (this.state !== "open") return;
      const problem = { token: this.task.token, comment: what.value };
      const { done } = await this.send("problem", problem, "Not reported yet.");
      if (done) go(done, REPORTED);
    });
    const cancel = link("Cancel", () => (this.report.hidden = true));
    return make("div", { className: "me-report", hidden: true },
      make("label", { htmlFor: "me-problem" }, "What happens? (optional)"),
      what,
      make("div", { className: "me-row" }, send, cancel));
  }

  openReport() {
    this.report.hidden = !this.report.hidden;
    if (!this.report.hidden) this.report.querySelector("input").focus();
  }

  key(pressed) {
    if (pressed === "Enter") this.submit();
    else if (this.state !== "open") return;
    else if (pressed === " ") this.player.toggle();
    else this.framed.choose(Number(pressed));
  }
}

function showTrial(place, notice = "") {
  const trial = new Trial(place);
  show(trial.layOut(notice), {
    stop: () => trial.player.audio.pause(),
    busy: () => trial.state === "busy",
    key: (pressed) => trial.key(pressed),
  });
  trial.refresh();
  trial.load();
}

// Practice: what would have been expected, and why.
function showFeedback({ task, scales }, answer, done) {
  const rows = scales.map(({ name, title }) => {
    const expected = done.feedback[name];
    const cells = [`${answer[name]}`, expected === null ? "–" : `${expected}`];
    return make("tr", {}, make("th", { scope: "row" }, title), ...cells.map((cell) => make("td", {}, cell)));
  });
  const heads = ["", "You", "Expected"].map((head) => make("th", { scope: "col" }, head));
  const on = () => go(done.place);
  const next = primary("Next", on);
  next.append(key("↵"));
  const screen = make(
    "section",
    { className: "me-card" },
    heading(`Practice ${task.position} of ${task.count}: the answer`),
    make("blockquote", {}, task.prompt),
    make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)),
    done.feedback.explanation ? make("p", {}, done.feedback.explanation) : null,
    make("p", { className: "me-fine" }, "Being a point away is fine. Practice answers are not counted."),
    make("footer", {}, next),
  );
  show(screen, { key: (pressed) => pressed === "Enter" && on() });
}
