"""The rater's page, alone at its address: a document that never changes, which the scripts beside this file fill.

It talks to `webapp.listening_api` and to nothing else; a request can be made again until a rating is saved. The
scripts make elements from text and never from HTML. They are served to everybody, so nothing of a study may
stand in them, not even its scales.

What raters read stands in `locales`, one file a language, and all of it in the page: a rater changes the language
without asking the server. What a study words itself is shown as it is.
"""

import base64
import gzip
import hashlib
import json
from functools import cache
from pathlib import Path

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from webapp.html import render, static
from webapp.palette import style_alone

ENGLISH = "en"
# In this order they share one scope.
_SCRIPTS = ("parts", "words", "voice", "sound", "trial", "study", "headphones", "steps")


async def rating_page(request: Request) -> Response:
    """Answer with the page, compressed where the browser takes that."""
    plain, packed, headers = _page()
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, headers={**headers, "Content-Encoding": "gzip"}, media_type="text/html")
    return Response(plain, headers=headers, media_type="text/html")


@cache
def locales() -> dict[str, dict[str, str]]:
    """Return the sentences of each language by their keys."""
    files = sorted((Path(__file__).parent / "locales").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


@cache
def _page() -> tuple[bytes, bytes, dict[str, str]]:
    """Return the page, the same compressed, and its headers: of scripts it runs its own alone."""
    parts = static(*(f"rating_{name}.js" for name in _SCRIPTS))
    words = json.dumps(locales(), ensure_ascii=False).replace("<", "\\u003c")  # or it could end the script
    script = f'(() => {{\nconst element = document.getElementById("rater");\nconst WORDS = {words};\n{parts}\n}})();'
    style = style_alone()
    plain = render("rater.html", css=style, script=Markup(script), locales=locales()).encode()
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
        "img-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'"
    )
    return plain, gzip.compress(plain, mtime=0), {"Content-Security-Policy": policy, "Vary": "Accept-Encoding"}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
