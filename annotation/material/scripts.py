"""In which script prompts are written, by which it is told that one is not in the language of a study.

The script of a text is that of most of its letters, by their Unicode names; Chinese, Japanese and Korean are one,
because they share letters. A study's language is not asked for: it is taken to be that of most of its prompts. So
English among Chinese prompts is found, and German among English ones is not.
"""

import unicodedata
from collections import Counter

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.schema import Clip, Prompt, Study
from core.errors import shown_name
from core.files import first_of

_EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC"}
_NAMES = {"CJK": "Chinese, Japanese or Korean"}


def script_of(text: str) -> str:
    """Return the script of most letters of a text, such as LATIN; empty where it has none."""
    letters = (letter for letter in unicodedata.normalize("NFKC", text) if letter.isalpha())
    names = (unicodedata.name(letter, "").partition(" ")[0] for letter in letters)
    found = Counter("CJK" if name in _EAST_ASIAN else name for name in names if name)
    return found.most_common(1)[0][0] if found else ""


def other_scripts(session: Session, study: Study) -> list[str]:
    """Say which prompts in use are not in the script of most, in a sentence; nothing where none is."""
    query = select(Prompt.text).join(Clip).where(Clip.study_id == study.id, Clip.retired_at.is_(None))
    scripts = {text: script_of(text) for text in session.scalars(query.group_by(Prompt.id).order_by(Prompt.id))}
    counts = Counter(filter(None, scripts.values())).most_common(2)
    if len(counts) < 2 or counts[0][1] == counts[1][1]:
        return []
    usual = counts[0][0]
    others = [shown_name(text) for text, script in scripts.items() if script and script != usual]
    name = _NAMES.get(usual, usual.capitalize())
    return [f"Most prompts are in {name} letters; others are not: {first_of(others)}."]
