"""The pages' process: ``python -m webapp.pages_main SOCKET``, as `webapp.pages_process` starts it.

The page comes first, and the model behind it: who asks for a score in the first seconds waits for it.
"""

import gc
import inspect
import os
import sys
import threading
from unittest.mock import patch

from fastapi import FastAPI

from core.command import EXIT_MISTAKE
from core.errors import MusicEvalError
from core.settings import Settings
from webapp import logs
from webapp.pages_process import serve_pages
from webapp.temporary import drop_own_folders, shut_environment

gc.disable()  # until the pages are there: looking through what is imported takes a sixth of the time, in vain


def import_gradio() -> None:
    """Import Gradio without what takes half of that time.

    It writes type stubs for editors beside its components, but none for classes that it finds no file of. And it
    imports the package ``mcp`` where there is one, for a server of its own that nothing here runs.
    """
    file_of = inspect.getfile

    def find(what: object) -> str:
        if getattr(what, "__module__", "").startswith("gradio."):
            raise OSError
        return file_of(what)  # type: ignore[arg-type]

    sys.modules["mcp"] = None  # type: ignore[assignment]  # as where it is not installed
    with patch.object(inspect, "getfile", find):
        import gradio  # noqa: F401
    del sys.modules["mcp"]


shut_environment(os.environ)
import_gradio()

from webapp.example_clips import ReadyScores, load_examples  # noqa: E402
from webapp.judge import Judge  # noqa: E402
from webapp.pages import build_pages  # noqa: E402


def open_pages() -> FastAPI:
    """Make the pages, and load the model in a thread."""
    settings = Settings.from_environment()
    logs.begin(settings.log)
    judge = Judge.open(settings)
    if judge.readers:
        judge.readers.begin()
    ready = ReadyScores(load_examples())
    pages = build_pages(judge, settings, ready)
    gc.freeze()
    gc.enable()
    threading.Thread(target=_load, args=[judge], daemon=True).start()
    ready.begin(lambda: judge.scorer)
    return pages


def _load(judge: Judge) -> None:
    try:
        judge.scorer  # noqa: B018
    except MusicEvalError as error:
        sys.stderr.write(f"app.py: {error}\n")
        os._exit(EXIT_MISTAKE)  # other threads may wait for the model


if __name__ == "__main__":
    code = serve_pages(open_pages, sys.argv[1:])
    drop_own_folders()
    os._exit(code)  # a model that is still being loaded is not waited for
