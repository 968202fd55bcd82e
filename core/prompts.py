"""What a tower can read of a prompt, and where nothing of it: then no alignment with it means anything.

A judge gives none there (`core.scorer`), learns none and is measured on none (`as_read_by`).
"""

import dataclasses
import unicodedata
from typing import TYPE_CHECKING

from core.errors import shown_name
from core.warnings import ScoreWarning

if TYPE_CHECKING:
    from core.rated_clips import RatedClips
    from core.towers import PromptReading, Tower

# Warnings without an alignment.
UNREADABLE = ("prompt_empty", "prompt_not_english", "prompt_unknown", "prompt_without_music")
_SHOWN_WORDS = 3


def prompt_warnings(prompt: str, tower: "Tower") -> list[ScoreWarning]:
    """Return what to know of a prompt; one that cannot be read has a warning of `UNREADABLE` first."""
    if not prompt.strip():
        return [ScoreWarning("prompt_empty", "There is no prompt, so nothing can be said of the alignment with it.")]
    if not _is_english_script(prompt):
        message = "The model reads English, and most of this prompt is in other signs: no alignment can be told."
        return [ScoreWarning("prompt_not_english", message)]
    reading = tower.read(prompt)
    warnings = _word_warnings(prompt, reading)
    if reading.is_cut:
        message = "The prompt is longer than the model reads; only its beginning counts."
        warnings.append(ScoreWarning("prompt_cut", message))
    return warnings


def is_readable(prompt: str, tower: "Tower") -> bool:
    """Return whether an alignment with a prompt means anything."""
    return not any(warning.code in UNREADABLE for warning in prompt_warnings(prompt, tower))


def as_read_by(clips: "RatedClips", tower: "Tower") -> "RatedClips":
    """Return rated clips that know whose prompts a tower cannot read (`RatedClips.unread`)."""
    if not any(scale.needs_prompt for scale in clips.scales):
        return clips
    is_read = {prompt: is_readable(prompt, tower) for prompt in clips.table["prompt"].unique()}
    unread = clips.table["clip_id"][[not is_read[prompt] for prompt in clips.table["prompt"]]]
    return dataclasses.replace(clips, unread=frozenset(unread))


def _word_warnings(prompt: str, reading: "PromptReading") -> list[ScoreWarning]:
    named = ", ".join(shown_name(word) for word in list(dict.fromkeys(reading.unknown))[:_SHOWN_WORDS])
    if 2 * len(reading.unknown) > len(prompt.split()):
        message = f"The model does not know most words of this prompt ({named}): no alignment can be told."
        return [ScoreWarning("prompt_unknown", message)]
    if reading.of_music == "nothing":
        message = "No word of this prompt says anything of music that the model can hear: no alignment can be told."
        return [ScoreWarning("prompt_without_music", message)]
    warnings = []
    if reading.of_music == "little":
        message = "This prompt says little of music that the model can hear, so its alignment may mean little."
        warnings.append(ScoreWarning("prompt_little_music", message))
    if reading.unknown:
        warnings.append(ScoreWarning("prompt_words_unknown", f"The model does not know, and did not read: {named}."))
    return warnings


def _is_english_script(prompt: str) -> bool:
    """Whether at least half of a prompt's letters and pictures are letters of English."""
    signs = [sign for sign in prompt if sign.isalpha() or unicodedata.category(sign) == "So"]
    return 2 * sum(sign.isascii() and sign.isalpha() for sign in signs) >= len(signs) > 0
