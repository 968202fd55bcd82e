// What a study says of itself, what raters are told while it takes no ratings, and the link by which they come.

const NOT_OPEN = {
  draft: () => [say("draft.title"), say("draft.about")],
  paused: () => [say("paused.title"), say("paused.about")],
  closed: () => [say("closed.title"), say("closed.about")],
};
const CODE = /^[A-Za-z0-9-]{12,20}$/; // behind the # of a link, so it is never sent as part of an address

function showNotOpen(place) {
  const [title, about] = NOT_OPEN[place.message]();
  const rated = place.clips_rated ? say("done.rated", { clips: say("clips", { count: place.clips_rated }) }) : "";
  const look = place.message === "closed" ? "" : primary(say("wait.look"), () => resume());
  show(makeCard(null, title, make("p", {}, about),
    rated ? make("p", {}, rated) : null, completionOf(place), ...contactOf(place),
    make("footer", {}, look, leaveButton(say("sign_out")))), { again: () => showNotOpen(place) });
}

// A study's texts come as trees of these tags and of text; where it has them in the rater's language, in that.
const TAGS = new Set(["p", "h4", "strong", "em", "ul", "ol", "li", "blockquote", "code", "br", "a"]);
const nodes = (tree) => tree.flatMap((node) => (typeof node === "string" ? node : makeNode(node)));
const inline = (tree) => nodes(tree.flatMap((node) => node.children ?? node));
const textsOf = (texts) => ({ ...texts, ...ownWords(texts.words) });

function makeNode({ tag, href, children }) {
  if (!TAGS.has(tag)) return nodes(children);
  const leads = tag === "a" && /^(https:\/\/|mailto:)/i.test(href);
  return [make(tag, leads ? { href, target: "_blank", rel: "noopener noreferrer" } : {}, ...nodes(children))];
}

function contactOf({ study }) {
  const { contact } = textsOf(study);
  const [before, after] = say("study.contact", { contact: "\n" }).split("\n");
  return contact.length ? [make("p", {}, before, ...inline(contact), after)] : [];
}

function consentOf({ consent: texts }) {
  const { consent, usual } = textsOf(texts);
  return consent.length ? nodes(consent) : paragraphs(translated([usual])[0]);
}

function studyWords(place) {
  const { title, instructions } = textsOf(place.study);
  const words = [...(title.length ? [make("h3", {}, ...inline(title))] : []), ...nodes(instructions), ...contactOf(place)];
  return words.length ? make("div", { className: "me-study" }, ...words) : null;
}

// What a rater gets who has done enough: a code, and the way back to where they came from.
function completionOf({ completion }) {
  if (!completion) return null;
  const { code, address } = completion;
  const back = { className: "me-button me-primary", href: address, rel: "noopener noreferrer" };
  return make("div", { className: "me-completion" },
    code ? make("p", {}, say("completion.code")) : null, code ? codeToKeep(code) : null,
    address.startsWith("https://") ? make("p", {}, make("a", back, say("completion.return"))) : null);
}

function codeToKeep(code) {
  const shown = make("output", { className: "me-own-code" }, code);
  const copy = button(say("join.copy"), async () => {
    getSelection().selectAllChildren(shown); // where the page may not copy, the rater does
    await navigator.clipboard?.writeText(code).then(() => (copy.textContent = say("join.copied")), () => null);
  });
  return make("p", { className: "me-row" }, shown, copy);
}

// A study's link: #join-KEY, and after ? or & what a panel of raters added. It is kept until the rater has joined.
function joinOfLink() {
  const [first, ...more] = location.hash.slice(1).split(/[?&]/);
  if (first.startsWith("join-")) {
    const carried = [...new URLSearchParams(`${location.search.slice(1)}&${more.join("&")}`)].slice(0, 50);
    ofTab.set("join", JSON.stringify({ key: first.slice(5), carried: Object.fromEntries(carried) }));
    history.replaceState(null, "", location.pathname);
  }
  return ofTab.get("join");
}

function showJoin() {
  const trouble = make("p", { className: "me-reason", role: "alert" });
  const join = primary(say("join.go"), () => act(join, trouble, async () => {
    const { visit, code } = await ask("join", JSON.parse(ofTab.get("join")));
    memory.set("visit", visit);
    ofTab.set("join", null);
    ofTab.set("code", code);
    showOwnCode();
  }));
  const here = memory.get("visit") ? link(say("join.here"), () => leaveJoin(resume)) : null;
  show(makeCard(0, say("join.title"), make("p", {}, say("join.about")),
    make("footer", {}, join, link(say("join.have"), () => leaveJoin(showCode)), here ?? "", trouble)), { again: showJoin });
}

function leaveJoin(onward) {
  ofTab.set("join", null);
  onward();
}

function showOwnCode() {
  const onward = () => {
    ofTab.set("code", null);
    resume();
  };
  show(makeCard(0, say("join.code"), make("p", {}, say("join.keep")), codeToKeep(ofTab.get("code")),
    make("footer", {}, primary(say("go_on"), onward))), { again: showOwnCode });
}

function codeOfLink() {
  const code = location.hash.slice(1);
  if (!CODE.test(code)) return "";
  history.replaceState(null, "", location.pathname);
  return code;
}
