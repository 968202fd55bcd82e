"""The front door: settings -> build_app() -> serve(). A Hugging Face Space runs this file too."""

import os
import sys

from core.errors import MusicEvalError
from core.scorer import Scorer
from core.settings import Settings
from webapp import build_app, serve

EXIT_MISTAKE = 2


def main() -> int:
    """Serve the pages until interrupted; give the exit code."""
    try:
        settings = Settings.from_environment(os.environ)
        scorer = Scorer.load(settings.model, settings.limits)
        serve(build_app(scorer, settings), settings)
    except MusicEvalError as error:
        sys.stderr.write(f"app.py: {error}\n")
        return EXIT_MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main())
