// Of both pages: the address names the open tab, for reloads, invitations and old links.
(() => {
  const first = ["score", "one", "studies"]; // what opens without a name
  const moved = { batch: "several", listening: "listening/", study: "admin/", training: "admin/#training" };
  const administration = location.pathname.endsWith("/admin/");

  const isJob = () => /[?&]job=/.test(location.search);
  function address(name) {
    const keeps = isJob() ? ["score", "several"] : first;
    const search = keeps.includes(name) ? location.search : "";
    return location.pathname + search + (first.includes(name) ? "" : `#${name}`); // Gradio sets a base address
  }
  const click = (name) => document.querySelector(`#${CSS.escape(name)}-tab-button`)?.click();

  function open() {
    const searched = isJob() ? "several" : /[?&](r|compare)=/.test(location.search) ? "one" : "";
    const given = location.hash.slice(1) || searched;
    const name = (!administration && moved[given]) || given;
    if (!name) return;
    if (name.includes("/")) return location.replace(name);
    if (["one", "several"].includes(name)) click("score");
    click(name);
    history.replaceState(null, "", address(name));
  }
  window.addEventListener("hashchange", open);
  window.addEventListener("popstate", open);
  window.musicEvalOpen = open; // called when Gradio has laid out the page

  // Before Gradio's own listener: the tab that is left falls silent.
  document.addEventListener("click", (event) => {
    const tab = event.target.closest?.("[role=tab][id$=-tab-button]");
    if (!tab || tab.ariaSelected === "true") return;
    const name = tab.id.replace("-tab-button", "");
    if (!administration && moved[name]) {
      event.stopPropagation();
      return location.assign(moved[name]);
    }
    history.replaceState(null, "", address(name));
    document.querySelectorAll("#result audio, #compared audio").forEach((audio) => audio.pause());
    document.querySelector("#clip .play-pause-button[aria-label=Pause]")?.click();
  }, true);

  // Whoever is signed out meanwhile is asked to sign in again.
  if (!administration) return;
  const ask = window.fetch;
  window.fetch = async (...given) => {
    const answer = await ask(...given);
    if (answer.status === 401) location.reload();
    return answer;
  };
})();
