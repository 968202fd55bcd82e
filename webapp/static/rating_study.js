// What a study says of itself, what raters are told while it takes no ratings of theirs, and the link by which they come.

const NOT_OPEN = {
  draft: () => [say("draft.title"), say("draft.about")],
  paused: () => [say("paused.title"), say("paused.about")],
  closed: () => [say("closed.title"), say("closed.about")],
  held: () => [say("held.title"), say("held.about")],
  today: ({ again_in_s }) => [say("today.title"), say("today.about", { time: soon(again_in_s) })],
  enough: () => [say("done.title"), say("enough.about")],
};
const FINAL = ["closed", "enough"]; // nothing comes by looking again
const CODE = /^[A-Za-z0-9-]{12,20}$/; // behind the # of a link, so it is never sent as part of an address

function showNotOpen(place) {
  const [title, about] = NOT_OPEN[place.message](place);
  const rated = place.clips_rated ? say("done.rated", { clips: say("clips", { count: place.clips_rated }) }) : "";
  const look = FINAL.includes(place.message) ? "" : primary(say("wait.look"), () => resume());
  show(makeCard(null, title, make("p", {}, about),
    rated ? make("p", {}, rated) : null, ...contactOf(place),
    make("footer", {}, look, leaveButton(say("sign_out")))), { again: () => showNotOpen(place) });
}

const soon = (time_s) => (time_s < 5400 ? minutes(time_s) : say("hours", { count: Math.ceil(time_s / 3600) }));

const contactOf = ({ study }) =>
  study.contact ? [make("p", {}, say("study.contact", { contact: study.contact }))] : [];

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
