"""The front door: settings -> run(). A Hugging Face Space runs this file too."""

import sys

from core.errors import MusicEvalError
from core.settings import Settings
from webapp.start import run

EXIT_MISTAKE = 2


def main() -> int:
    """Serve the pages until interrupted; give the exit code."""
    try:
        return run(Settings.from_environment())
    except MusicEvalError as error:
        sys.stderr.write(f"app.py: {error}\n")
        return EXIT_MISTAKE


if __name__ == "__main__":
    sys.exit(main())
