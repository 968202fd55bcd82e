// Languages. WORDS has the sentences of each, by key, from one file a language. What the server sends in English is
// shown in the rater's language where the files have it, and as it is where a study has words of its own.

const ENGLISH = "en";
const SENT = /^(consent|practice_clip|question|scale|what)\b/; // keys of what the server sends as a sentence
const KEYS = new Map(Object.entries(WORDS[ENGLISH]).filter(([name]) => SENT.test(name)).map(([name, text]) => [text, name]));

function firstLanguage() {
  const base = (name) => name.toLowerCase().split("-")[0];
  const names = Object.keys(WORDS);
  for (const wanted of [memory.get("language"), ...navigator.languages]) {
    const found = wanted && (names.find((name) => name === wanted) ?? names.find((name) => base(name) === base(wanted)));
    if (found) return found;
  }
  return ENGLISH;
}
let language = firstLanguage();

// The sentence of a key, with values in its {places}; `count` chooses the form.
function say(name, values = {}) {
  const words = WORDS[language];
  const form = "count" in values ? `${name}.${new Intl.PluralRules(language).select(values.count)}` : name;
  const sentence = words[form] ?? words[`${name}.other`];
  return sentence.replace(/\{(\w+)\}/g, (_, place) => values[place]);
}

// Texts that belong together, all in the rater's language or none.
const translated = (texts) => (texts.every((text) => KEYS.has(text)) ? texts.map((text) => say(KEYS.get(text))) : texts);

// What a study says in the rater's language, or in another form of it.
function ownWords(words = {}) {
  const base = (name) => name.toLowerCase().split("-")[0];
  const kin = Object.keys(words).find((name) => base(name) === base(language));
  return words[language] ?? words[kin] ?? {};
}

function scaleInWords(scale) {
  const own = ownWords(scale.words);
  if (own.title) return { key: scale.key, ...own };
  const [title, question, ...labels] = translated([scale.title, scale.question, ...scale.labels]);
  return { key: scale.key, title, question, labels };
}

// What the server refuses, by its code; a sentence without one is shown as it came.
function refusal(code, values, sentence) {
  if (!(`error.${code}` in WORDS[language])) return sentence;
  const shown = Object.entries(values).map(([name, value]) => {
    const texts = [value].flat().map((one) => translated([`${one}`])[0]);
    return [name, texts.join(say("list.comma"))];
  });
  return say(`error.${code}`, Object.fromEntries(shown));
}

const minutes = (time_s) => say("minutes", { count: time_s < 90 ? 1 : Math.round(time_s / 60) });

// The head of the page: the other languages and, for who takes no part yet, the way to the rest.
function dress() {
  document.documentElement.lang = language;
  document.title = say("page.title");
  const others = Object.keys(WORDS).filter((name) => name !== language).map((name) => {
    const change = link(WORDS[name]["language.name"], () => changeLanguage(name));
    change.lang = name;
    return change;
  });
  const rest = memory.get("visit") ? [] : [make("a", { href: "../" }, say("page.rest"))];
  const nav = document.querySelector(".me-header nav");
  nav.setAttribute("aria-label", say("language.choose"));
  nav.replaceChildren(...others, ...rest);
}

function changeLanguage(name) {
  memory.set("language", name);
  language = name;
  dress();
  current.again?.();
}
