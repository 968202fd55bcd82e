// What a study says of itself, what raters are told while it takes no ratings, and the link by which they come.

const NOT_OPEN = {
  draft: ["Not open yet", "This listening test has not begun. Come back when whoever invited you says so."],
  paused: ["Paused", "This listening test is paused. Your place is kept: look again later."],
  closed: ["This listening test has ended", "It takes no further ratings. Thank you for taking part!"],
};
const PREVIEW_NOTE = "Preview: this is what raters see. Nothing that you answer is kept.";
const CODE = /^[A-Za-z0-9-]{12,20}$/; // behind the # of a link, so it is never sent as part of an address

function showNotOpen(place) {
  const [title, words] = NOT_OPEN[place.message];
  const rated = place.clips_rated ? `You rated ${counted(place.clips_rated, "clip")}, all saved.` : "";
  const again = place.message === "closed" ? "" : primary("Look again", () => resume());
  show(makeCard(null, title, make("p", {}, words), rated ? make("p", {}, rated) : null, ...contactOf(place),
    make("footer", {}, again, leaveButton("Sign out"))));
}

const contactOf = ({ study }) => (study.contact ? [make("p", {}, `Questions: ${study.contact}`)] : []);

function studyWords(place) {
  const { title, instructions } = place.study;
  const words = [...(title ? [make("h3", {}, title)] : []), ...paragraphs(instructions), ...contactOf(place)];
  return words.length ? make("div", { className: "me-study" }, ...words) : null;
}

function codeOfLink() {
  const code = location.hash.slice(1);
  if (!CODE.test(code)) return "";
  history.replaceState(null, "", location.pathname);
  return code;
}
