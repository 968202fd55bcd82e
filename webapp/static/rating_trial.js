// One trial: the prompt, the player, the two scales, and Next. What is said and heard lives here until the
// server has it; everything else is the server's.

const SAVED_S = 0.7; // how long "Saved" stands before the next clip
const legend = () => [
  [say("legend.space"), say("legend.play")],
  [say("legend.digits"), say("legend.rate")],
  [say("legend.tab"), say("legend.move")],
  [say("legend.enter"), say("legend.next")],
];

// The part that a rater is in. How many there are comes with the first trial that is asked for, not after each answer.
function progress({ batches_done, batches_total }) {
  if (batches_total) ofTab.set("parts", batches_total);
  const number = batches_done + 1;
  const total = Number(ofTab.get("parts") ?? 0);
  return total ? say("progress.of", { number, total: Math.max(number, total) }) : say("progress", { number });
}

function makeScale(scale, changed) {
  const { key: name, title, question, labels } = scaleInWords(scale);
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
    restore: (point) => point && (inputs[point - 1].checked = true),
    choose(point) {
      inputs[point - 1].checked = true;
      inputs[point - 1].focus({ preventScroll: true });
      changed();
    },
  };
}

class Trial {
  constructor(place) {
    this.place = place;
    this.task = place.task;
    this.state = "open"; // then busy while an answer is on its way, then over
    const failed = () => this.trouble.replaceChildren(say("trial.unplayable"));
    this.player = new Player(this.task.duration_s, () => this.refresh(), failed);
    this.scales = place.scales.map((scale) => makeScale(scale, () => this.refresh()));
    this.framed = this.scales[0];
    this.comment = make("textarea", { id: "me-comment", rows: 1, maxLength: 2000, oninput: () => this.keep() });
    this.pause = button(say("trial.pause"), () => showPause(this));
    this.broken = link(say("trial.broken"), () => this.openReport());
    this.report = this.makeReport();
    this.trouble = make("div", { className: "me-trouble", role: "status" });
    this.reason = make("p", { className: "me-reason", id: "me-reason", role: "status" });
    this.next = primary(say("next"), () => this.submit());
    this.next.setAttribute("aria-describedby", "me-reason");
    this.next.append(key("↵"));
    this.restore();
  }

  // What was said and heard before the page was loaded anew.
  restore() {
    const kept = draft.of(this.task.token);
    if (!kept) return;
    for (const scale of this.scales) scale.restore(kept.scores[scale.name]);
    this.comment.value = kept.comment;
    this.player.stretches.push(...kept.played);
    this.player.reachedEnd = kept.reachedEnd;
  }

  answer() {
    const scores = Object.fromEntries(this.scales.map((scale) => [scale.name, scale.value()]));
    return { scores, comment: this.comment.value, played: this.player.played() };
  }

  keep() {
    if (this.state === "open") draft.keep(this.task.token, { ...this.answer(), reachedEnd: this.player.reachedEnd });
  }

  head() {
    const { position, count, practice, time_left_s } = this.task;
    const at = { position, total: count };
    const title = practice ? say("trial.practice", at) : say("trial.clip", at);
    const part = practice ? "" : progress(this.place);
    const left = say("trial.left", { minutes: minutes(time_left_s) });
    return make("header", {}, heading(title), make("p", { className: "me-part" }, part),
      make("p", { className: "me-left-time" }, left), this.pause);
  }

  layOut(notice) {
    const label = make("label", { htmlFor: "me-comment" }, say("trial.comment"));
    this.node = make("section", { className: "me-trial" },
      noticeLine(notice),
      this.head(),
      make("div", { className: "me-prompt" }, make("h3", {}, say("trial.prompt")), make("p", {}, this.task.prompt)),
      this.player.node,
      this.trouble,
      make("div", { className: "me-likerts" }, ...this.scales.map((scale) => scale.node)),
      make("div", { className: "me-extras" }, label, this.comment, this.broken),
      this.report,
      make("p", { className: "me-legend" }, ...legend().flatMap(([name, use]) => [key(name), ` ${use} `])),
      make("footer", {}, this.next, this.reason));
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
      const tell = (failure, wait_s) => countDown(wait_s, this.trouble, `${say("trial.not_here")} ${failure.message}`);
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
    if (!player.sound) return say("trial.loading");
    const missing = [];
    const left_s = player.unheard_s();
    if (left_s > UNHEARD_S) {
      missing.push(player.reachedEnd ? say("lock.skipped") : say("lock.end"));
    }
    const unrated = this.scales.filter((scale) => !scale.value());
    if (unrated.length === 1) missing.push(say("lock.scale", { scale: unrated[0].title.toLocaleLowerCase(language) }));
    else if (unrated.length) missing.push(unrated.length === 2 ? say("lock.both") : say("lock.all"));
    if (!missing.length) return "";
    const [first, second] = missing;
    const words = second ? say("lock.pair", { first, second }) : say("lock.single", { first });
    return `${words[0].toLocaleUpperCase(language)}${words.slice(1)}`;
  }

  refresh() {
    for (const scale of this.scales) scale.node.classList.toggle("me-framed", scale === this.framed);
    if (this.state !== "open") return;
    this.keep();
    const lock = this.lock();
    this.next.setAttribute("aria-disabled", Boolean(lock));
    const words = lock || say("trial.heard");
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
    this.reason.replaceChildren(say("saving"));
    try {
      const done = await insist(() => ask(path, body), (failure, wait_s) => {
        waited = true;
        return countDown(wait_s, this.reason, `${lead} ${failure.message}`);
      });
      this.setState("over");
      draft.forget();
      return { done, waited };
    } catch (failure) {
      if (failure.status === 400) {
        this.setState("open");
        this.refresh();
        this.reason.replaceChildren(make("span", { role: "alert" }, `${say("trial.not_saved")} ${failure.message}`));
      } else {
        this.setState("over");
        recover(failure);
      }
      return {};
    }
  }

  async submit() {
    if (this.state !== "open" || this.lock()) return;
    const { scores, comment, played } = this.answer();
    const answer = { token: this.task.token, comment, played, ...scores };
    const { done, waited } = await this.send("rate", answer, say("trial.unsaved"));
    if (!done) return;
    if (done.outcome === "released") return go(done.place, () => say("notice.not_needed"));
    if (done.outcome === "already" && !waited) return go(done.place, () => say("notice.answered"));
    this.reason.replaceChildren(make("b", {}, say("saved")));
    await wait(SAVED_S);
    if (done.feedback) showFeedback(this.place, scores, done);
    else go(done.place);
  }

  makeReport() {
    const what = make("input", { type: "text", id: "me-problem", maxLength: 500 });
    const onsubmit = async (event) => {
      event.preventDefault();
      if (this.state !== "open") return;
      const problem = { token: this.task.token, comment: what.value };
      const { done } = await this.send("problem", problem, say("report.unsent"));
      if (done) go(done, () => say("notice.reported"));
    };
    const send = make("button", { type: "submit", className: "me-button" }, say("report.send"));
    const cancel = link(say("report.cancel"), () => (this.report.hidden = true));
    return make("form", { className: "me-report", hidden: true, onsubmit },
      make("label", { htmlFor: "me-problem" }, say("report.what")),
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

function showTrial(place, notice) {
  const trial = new Trial(place);
  show(trial.layOut(notice), {
    stop: () => trial.player.audio.pause(),
    busy: () => trial.state === "busy",
    key: (pressed) => trial.key(pressed),
    again: () => trial.state === "open" && showTrial(place, notice),
  });
  trial.refresh();
  trial.load();
  return trial;
}

// Practice: what would have been expected, and why, with the clip to be heard again.
function showFeedback(place, scores, done) {
  const { task } = place;
  const rows = place.scales.map(scaleInWords).map(({ key: name, title }) => {
    const cells = [`${scores[name]}`, `${done.feedback[name] ?? "–"}`];
    return make("tr", {}, make("th", { scope: "row" }, title), ...cells.map((cell) => make("td", {}, cell)));
  });
  const heads = ["", say("feedback.you"), say("feedback.expected")].map((head) => make("th", { scope: "col" }, head));
  const player = new Player(task.duration_s, () => null, () => player.node.replaceWith(say("trial.unplayable")));
  const next = primary(say("next"), () => go(done.place));
  next.append(key("↵"));
  const [why] = translated([done.feedback.explanation]);
  const screen = make("section", { className: "me-card me-feedback" },
    heading(say("feedback.title", { position: task.position, total: task.count })),
    make("blockquote", {}, task.prompt),
    player.node,
    make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)),
    why ? make("p", {}, why) : null,
    make("p", { className: "me-fine" }, say("feedback.note")),
    make("footer", {}, next));
  show(screen, {
    stop: () => player.audio.pause(),
    key: (pressed) => (pressed === " " ? player.toggle() : pressed === "Enter" && next.click()),
    again: () => showFeedback(place, scores, done),
  });
  soundOf(task.token).then((sound) => player.load(sound), () => null); // it was heard: it is here
}
