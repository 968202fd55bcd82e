"""The front door: settings -> build_app() -> serve(). A Hugging Face Space runs this file too."""

import os
import sys

from core.errors import MusicEvalError
from core.settings import Settings, check_platform

EXIT_MISTAKE = 2


def main() -> int:
    """Serve the pages until interrupted; give the exit code."""
    try:
        check_platform()
        from webapp.app import build_app, serve  # they need what Windows lacks
        from webapp.judge import Judge

        settings = Settings.from_environment(os.environ)
        serve(build_app(Judge.open(settings), settings), settings)
    except MusicEvalError as error:
        sys.stderr.write(f"app.py: {error}\n")
        return EXIT_MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main())
