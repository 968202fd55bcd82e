"""Starts the app: first the pages' process, which imports most, then the server beside it."""

import gc

from core.settings import Settings, check_platform


def run(settings: Settings) -> int:
    """Serve everything until interrupted; return the exit code."""
    check_platform()
    from webapp.pages_process import PagesProcess  # late, as below: it needs what Windows lacks

    pages = PagesProcess()
    pages.begin()
    gc.disable()  # while this imports: it would be looked through in vain
    try:
        from webapp.app import serve_all  # while the pages' process imports what it needs

        return serve_all(settings, pages)
    finally:
        gc.enable()
        pages.end()
