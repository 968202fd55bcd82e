"""Run ``python -m annotation``."""

from annotation.cli import main
from core.command import run_process

if __name__ == "__main__":
    run_process(main)
