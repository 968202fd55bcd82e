"""Starts the app: first the pages' process, which imports most, then the server beside it."""

from core.settings import Settings, check_platform


def run(settings: Settings) -> int:
    """Serve everything until interrupted; return the exit code."""
    check_platform()
    from webapp.pages_process import PagesProcess  # late, as below: it needs what Windows lacks

    pages = PagesProcess()
    pages.begin()
    try:
        from webapp.app import serve_all  # while the pages' process imports what it needs

        return serve_all(settings, pages)
    finally:
        pages.end()
