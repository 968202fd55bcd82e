"""Where a rater stands, as the page gets it: texts as trees, and a study's words in all of its languages.

The page changes the language without asking again, so what a study words itself comes in every language at once.
"""

from dataclasses import asdict
from typing import Any

from annotation.enrolment import completion
from annotation.preview import RATER as PREVIEW
from annotation.schema import Rater, Study
from annotation.session.answers import CONSENT
from annotation.session.listening import RaterStep
from annotation.wording import questions_of
from webapp.markup import tree


def shown_place(step: RaterStep, rater: Rater) -> dict[str, Any]:
    """Return what the page shows of a place: no more than its step needs."""
    shown = asdict(step) | {"demo": rater.study.demo, "preview": rater.pseudonym == PREVIEW}
    if step.step in ("ready", "done"):
        ended = step.message in ("complete", "closed")
        shown["completion"] = completion(rater.study, rater, step.batches_done, ended)
    if step.step != "task":
        shown["study"] = _in_all_languages(rater.study, ("title", "instructions", "contact"))
    if step.step == "about":
        shown["consent"] = _in_all_languages(rater.study, ("consent",)) | {"usual": CONSENT}
        shown["questions"] = [
            asdict(question) | {"words": _words(rater.study, "questions", question.key)}
            for question in questions_of(rater.study)
        ]
    if step.step == "task":
        shown["scales"] = [
            scale.to_json() | {"words": _words(rater.study, "scales", scale.key)} for scale in rater.study.scales
        ]
    return shown


def _in_all_languages(study: Study, names: tuple[str, ...]) -> dict[str, Any]:
    """Return texts as trees, and under ``words`` those that there are in other languages."""
    own = {name: tree(getattr(study, name)) for name in names}
    others = {
        tag: {name: tree(words[name]) for name in names if words.get(name)} for tag, words in study.translations.items()
    }
    return {**own, "words": others}


def _words(study: Study, part: str, key: str) -> dict[str, Any]:
    """Return a question or a scale in other languages, by their tags."""
    return {tag: words[part][key] for tag, words in study.translations.items() if key in words.get(part, {})}
