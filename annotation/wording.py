"""The words of a study that raters read: texts, questions about themselves, and all of them in other languages.

Texts are Markdown (`webapp.places` has what of it is shown). Questions are asked once, with the consent; a study has
MusicEval's unless it brings its own. `Study.translations` has, by language tag, any of the texts, ``questions``
(``text`` and ``options`` by key) and ``scales`` (``title``, ``question`` and ``labels`` by key); what a language does
not have is shown in the study's own words.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from annotation.schema import Study
from core.errors import StudyError, shown_name

LONGEST = {"title": 120, "contact": 300, "instructions": 5_000, "consent": 5_000}
MOST_QUESTIONS = 20
MOST_OPTIONS = 30
MOST_LANGUAGES = 20
LONGEST_QUESTION = 300
KINDS = ("choice", "number", "text")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_TAKEN = {"rater", "invited_at", "agreed_at"}  # columns of an export


@dataclass(frozen=True)
class Question:
    """Something a rater is asked: a choice of options, a number, or their own words; perhaps needed."""

    key: str
    text: str
    options: tuple[str, ...] = ()
    kind: str = ""
    needed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if not self.kind:
            object.__setattr__(self, "kind", "choice" if self.options else "text")

    def takes(self, answer: str) -> bool:
        """Return whether this can be the answer."""
        if self.kind == "choice":
            return answer in self.options
        if self.kind == "number":
            try:
                return math.isfinite(float(answer))
            except ValueError:
                return False
        return True


QUESTIONS = (
    Question(
        "training",
        "What is your musical training?",
        ("none", "lessons or self-taught", "student of music", "professional or teacher of music"),
    ),
    Question("instrument", "Which instrument do you play, or do you sing?"),
    Question("headphones", "What do you listen with?", ("headphones", "earphones", "loudspeakers")),
)


def questions_of(study: Study) -> tuple[Question, ...]:
    """Return what raters of a study are asked about themselves."""
    return QUESTIONS if study.questions is None else tuple(Question(**one) for one in study.questions)


def own_words(study: Study, language: str) -> Mapping[str, Any]:
    """Return what a study has in a language, or in another form of it."""
    base = language.lower().split("-")[0]
    kin = (words for tag, words in study.translations.items() if tag.lower().split("-")[0] == base)
    found: Mapping[str, Any] = study.translations.get(language) or next(kin, {})
    return found


def text_in(study: Study, name: str, language: str) -> str:
    """Return a text of a study as a rater of a language reads it; empty where the study has none."""
    return str(own_words(study, language).get(name) or getattr(study, name))


def asked_in(study: Study, question: Question, language: str) -> str:
    """Return the words of a question in a language."""
    words = own_words(study, language).get("questions", {}).get(question.key, {})
    return str(words.get("text") or question.text)


def check_text(name: str, text: str) -> str:
    """Return a text as it is stored; `StudyError` where it is too long or no text."""
    plain, longest = text.replace("\r\n", "\n").strip(), LONGEST[name]
    if len(plain) > longest:
        raise StudyError(f"The {name} has {len(plain):,} characters; it can have {longest:,}. Shorten it.")
    if any(not (sign.isprintable() or sign == "\n") for sign in plain):
        raise StudyError(f"The {name} has characters that are no text. Take them out.")
    return plain


def parse_questions(text: str) -> list[dict[str, Any]] | None:
    """Read questions from JSON, as they are stored; None where the text is empty, which means the usual ones."""
    if not text.strip():
        return None
    found = parse_json(text, "questions")
    if not isinstance(found, list) or len(found) > MOST_QUESTIONS:
        raise StudyError(f"Give a list of at most {MOST_QUESTIONS} questions, each with key, text and kind.")
    questions = [_question(one) for one in found]
    if len({one.key for one in questions}) < len(questions):
        raise StudyError("Two questions have the same key. Give each its own.")
    return [asdict(one) | {"options": list(one.options)} for one in questions]


def _question(given: Any) -> Question:
    if not isinstance(given, dict) or not given.keys() <= {"key", "text", "kind", "options", "needed"}:
        raise StudyError("A question has key, text, kind, options and needed, and nothing else.")
    key, text, options = given.get("key"), given.get("text") or "", given.get("options", [])
    if not isinstance(key, str) or not _KEY.fullmatch(key) or key in _TAKEN:
        raise StudyError(f"The key {shown_name(str(key))} of a question must be small letters, digits and _.")
    if not _is_line(text, LONGEST_QUESTION):
        raise StudyError(f"The text of the question {key} must be one line of at most {LONGEST_QUESTION} characters.")
    if not isinstance(options, list) or len(options) > MOST_OPTIONS or not all(_is_line(one, 200) for one in options):
        raise StudyError(f"The options of the question {key} must be a list of at most {MOST_OPTIONS} lines of text.")
    kind, needed = given.get("kind", "choice" if options else "text"), given.get("needed", False)
    if kind not in KINDS or (kind == "choice") != bool(options) or len({*options}) < len(options):
        kinds = ", ".join(KINDS)
        raise StudyError(f"The kind of the question {key} is one of {kinds}; a choice alone has options, each once.")
    if not isinstance(needed, bool):
        raise StudyError(f"Whether the question {key} is needed is true or false.")
    return Question(key, text.strip(), tuple(one.strip() for one in options), kind, needed)


def parse_translations(text: str, study: Study) -> dict[str, Any]:
    """Read a study's words in other languages from JSON, held against its questions and scales."""
    found = parse_json(text, "translations") if text.strip() else {}
    words = found.values() if isinstance(found, dict) else [None]
    if len(words) > MOST_LANGUAGES or not all(isinstance(one, dict) for one in words):
        raise StudyError(f"Give an object with the words of at most {MOST_LANGUAGES} languages, by tag, such as zh-CN.")
    return {tag: _language(tag, words, study) for tag, words in found.items()}


def _language(tag: str, words: Mapping[str, Any], study: Study) -> dict[str, Any]:
    if not _LANGUAGE.fullmatch(tag):
        raise StudyError(f"{shown_name(tag)} is no tag of a language, such as zh-CN.")
    known = (*LONGEST, "questions", "scales")
    unknown = sorted(words.keys() - {*known})
    if unknown:
        raise StudyError(f"{tag} has {', '.join(map(shown_name, unknown))}; it can have {', '.join(known)}.")
    texts = {name: _string(tag, name, words[name]) for name in LONGEST if name in words}
    checked: dict[str, Any] = {name: check_text(name, text) for name, text in texts.items()}
    options = {one.key: len(one.options) for one in questions_of(study)}
    labels = {scale.key: len(scale.labels) for scale in study.scales}
    for part, names, lists, counts in (
        ("questions", ("text",), "options", options),
        ("scales", ("title", "question"), "labels", labels),
    ):
        if part in words:
            checked[part] = _parts(tag, part, words[part], names, lists, counts)
    return checked


def _parts(
    tag: str, part: str, given: Any, texts: Iterable[str], lists: str, counts: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Return questions or scales in a language; each has all of its words or none."""
    if not isinstance(given, dict) or not given.keys() <= counts.keys():
        raise StudyError(f"The {part} of {tag} go by the keys of the study: {', '.join(counts) or 'it has none'}.")
    for key, words in given.items():
        each = words.get(lists, []) if isinstance(words, dict) else None
        right = isinstance(each, list) and len(each) == counts[key] and all(_is_line(one, 200) for one in each)
        if not right or not all(_is_line(words.get(name), LONGEST_QUESTION) for name in texts):
            needed = f"{', '.join(texts)}, each a line of text, and {counts[key]} {lists}"
            raise StudyError(f"{key} of the {part} of {tag} needs {needed}.")
    return {key: {name: words[name] for name in (*texts, lists) if name in words} for key, words in given.items()}


def _string(tag: str, name: str, given: Any) -> str:
    if not isinstance(given, str):
        raise StudyError(f"The {name} of {tag} must be a text.")
    return given


def _is_line(text: Any, longest: int) -> bool:
    return isinstance(text, str) and 0 < len(text.strip()) <= longest and text.isprintable()


def parse_json(text: str, what: str) -> Any:
    """Read JSON that somebody typed; `StudyError` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyError(f"The {what} cannot be read as JSON: {error}.") from error


def as_text(study: Study, name: str) -> str:
    """Return a text, the questions or the translations as whoever runs the study edits them."""
    stored = getattr(study, name)
    if isinstance(stored, str):
        return stored
    return json.dumps(stored, indent=2, ensure_ascii=False) if stored else ""


SPECIAL: Mapping[str, Callable[[str, Study], Any]] = {  # what is edited as JSON
    "questions": lambda text, _: parse_questions(text),
    "translations": parse_translations,
}
