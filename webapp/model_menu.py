"""What a visitor may have judge a clip: the judge of all visitors, or the official CLAP as it is.

The models that were trained here are the administrator's to choose among. The official CLAP is offered
*zero-shot* (`core.zero_shot`) until a judge stands on it; it is loaded when it is asked for first, and kept.
"""

import os
import threading
from html import escape

from core.errors import CheckpointError
from core.official.tower import OFFICIAL, find_official
from core.scorer import Scorer
from core.settings import Settings
from core.zero_shot import load_scorer
from webapp.judge import Judge

JUDGE, ZERO_SHOT = "judge", "zero-shot"
_NOTE = (
    "Nobody’s ratings calibrated it: alignment comes from CLAP’s own similarity of clip and prompt, and "
    "impression from comparing the clip with descriptions of good and bad music. Good for a rough order. "
    "It is loaded when it is first used, which takes up to a minute."
)


class ModelMenu:
    """The choices on the Score tab.

    Parameters
    ----------
    judge : Judge
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._zero_shot: Scorer | None = None
        self._loading = threading.Lock()

    def choices(self) -> list[tuple[str, str]]:
        """Give the title and the name of each choice; the first is taken without asking."""
        judge = self._judge.scorer.checkpoint
        choices = [(f"The judge of this page: {judge.id}", JUDGE)]
        if judge.tower.spec.name != OFFICIAL.tower:
            choices.append(("Official CLAP, zero-shot (uncalibrated)", ZERO_SHOT))
        return choices

    def note(self, choice: str) -> str:
        """Say in HTML what to know of a choice, or why it cannot be had; nothing for the judge."""
        if choice != ZERO_SHOT:
            return ""
        try:
            find_official(Settings.from_environment(os.environ))
        except CheckpointError as error:
            return f'<p class="me-notice" role="status">{escape(str(error))}</p>'
        return f'<p class="me-notice" role="status">{_NOTE}</p>'

    def scorer(self, choice: str | None) -> Scorer:
        """Give what judges a clip.

        Raises
        ------
        CheckpointError
            The official CLAP is not on this machine; the message says how to get it, and how large it is.
        """
        if choice != ZERO_SHOT:
            return self._judge.scorer
        with self._loading:
            if self._zero_shot is None:
                self._zero_shot = load_scorer(None, OFFICIAL.tower, self._judge.limits, self._judge.device)
            return self._zero_shot
