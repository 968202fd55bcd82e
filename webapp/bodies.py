"""What the body of a request may cost, whoever sends it.

- Its length must be told (411), and only an upload and a call of the tool may be larger than `MOST_BYTES`.
- JSON is read whole before anything parses it, and refused where it has more parts than a page sends: a
  megabyte of ``[],[],[]`` keeps the parsers of Gradio from everything else for seconds, one long text does not.
- Every further megabyte must arrive within `EACH_MEGABYTE_S` (408).
- What is under way in all is bounded (503): large JSON in memory, uploads on the disk. Small bodies, as raters
  send them, are never refused for it.
- Uploads leave a reserve of the disk free (507), so that ratings always have room.
- One visitor uploads only so much in a day (429), as long as uploads are kept, and never more than half of what is
  free at that moment: nobody fills the disk for the others. A visitor is an address, which nobody can invent.
"""

import asyncio
import math
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp.guard import ADMIN, RateLimit
from webapp.retention import DAY_S

UPLOAD = "/gradio_api/upload"
UPLOADS = (UPLOAD, f"{ADMIN.rstrip('/')}{UPLOAD}")  # for visitors, and for the administrator
TOOL = "/gradio_api/mcp/"
TOOL_CLIP_BYTES = 8_000_000  # in base64; 45 s of 16 bits in stereo. What is larger is uploaded first
MOST_BYTES = 1_000_000  # what a request may have beside clips: form boundaries, a long prompt, a list of uploads
MOST_PARTS = 20_000  # of JSON: commas and opening brackets. The list of 2,000 uploads has so many
SMALL_BYTES = 64_000
EACH_MEGABYTE_S = 30.0
MOST_JSON_IN_FLIGHT = 64_000_000
UPLOADS_IN_FLIGHT = 20  # of the largest clip's size
EACH_FILE_BYTES = 10_000  # that a file takes of the disk beside its content, in a folder of its own
_FILES_AT_ONCE = 5  # that an upload may hold of the largest size
_MEGABYTE = 1_000_000
_FILE = b"filename="
_AGAIN = {"Retry-After": "5"}
_LARGE = "The request is larger than what can be scored at once."
_FULL = "The disk of this server is full. Nothing can be uploaded until whoever runs it makes room."
_ENOUGH = "One visitor may upload {:,} MB a day here. Wait {} h, or upload less."
_PARTS = "The request has more parts than the pages send."


class Bodies:
    """ASGI middleware that bounds the body of each request; the largest clip has `max_bytes`.

    Uploads leave `reserve_bytes` free of the disk that has the temporary folder, and are `visitor_bytes` at most of
    each visitor in a day; what is kept for `kept_s` leaves room on the disk for others' as long.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, reserve_bytes: int, visitor_bytes: int, kept_s: float = DAY_S
    ) -> None:
        self.app = app
        self._reserve_bytes = reserve_bytes
        self._visitor_bytes = visitor_bytes
        self._shares = RateLimit(1, max(DAY_S, kept_s))  # of what a visitor may upload
        self._announced = 0  # bytes of the uploads under way
        self._largest = {
            **dict.fromkeys(UPLOADS, _FILES_AT_ONCE * max_bytes + MOST_BYTES),
            TOOL: TOOL_CLIP_BYTES * 4 // 3 + MOST_BYTES,
            TOOL.rstrip("/"): TOOL_CLIP_BYTES * 4 // 3 + MOST_BYTES,
        }
        self._most = {"json": MOST_JSON_IN_FLIGHT, "upload": UPLOADS_IN_FLIGHT * max_bytes}
        self._in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if scope["type"] != "http" or refusal:
            await (refusal or self.app)(scope, receive, send)
            return
        kind = "upload" if scope["path"] in UPLOADS else "json"
        body = _Body(receive, self._in_flight, kind)
        try:
            if kind == "upload":
                await self._upload(scope, body, send)
            else:
                await self._read_first(scope, body, send)
        finally:
            self._in_flight[kind] -= body.received

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            return PlainTextResponse("Send the length of the request's body with it.", 411)
        n_bytes = int(headers.get("content-length", 0))
        if n_bytes > self._largest.get(scope["path"], MOST_BYTES):
            return PlainTextResponse(_LARGE, 413)
        kind = "upload" if scope["path"] in UPLOADS else "json"
        if kind == "upload" and self._room() < n_bytes:
            return PlainTextResponse(_FULL, 507)
        if n_bytes > SMALL_BYTES and self._in_flight[kind] + n_bytes > self._most[kind]:
            return PlainTextResponse("Too much is being sent to this server. Try again in a moment.", 503, _AGAIN)
        return None

    def _room(self) -> int:
        return _free_bytes() - self._announced - self._reserve_bytes

    async def _upload(self, scope: Scope, body: "_Body", send: Send) -> None:
        n_bytes = int(Headers(scope=scope).get("content-length", 0))
        most, visitor = min(self._visitor_bytes, self._room() // 2), (scope.get("client") or ("",))[0]
        wait_s = self._shares.take(visitor, n_bytes / max(most, 1))
        if wait_s:
            sentence = _ENOUGH.format(max(most, 0) // _MEGABYTE, math.ceil(wait_s / 3600))
            await PlainTextResponse(sentence, 429, {"Retry-After": str(math.ceil(wait_s))})(scope, body.receive, send)
            return
        self._announced += n_bytes
        try:
            await self._pass_on(scope, body, send)
        finally:
            self._announced -= n_bytes
            stored = body.received + EACH_FILE_BYTES * body.files
            self._shares.correct(visitor, (stored - n_bytes) / max(most, 1))

    async def _pass_on(self, scope: Scope, body: "_Body", send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if not body.late:  # what the application says of a body that broke off is of no use
                started = True
                await send(message)

        try:
            await self.app(scope, body.receive, sending)
        except ClientDisconnect:
            if not body.late:
                raise
        if body.late and not started:
            await _too_slow(scope, body.receive, send)

    async def _read_first(self, scope: Scope, body: "_Body", send: Send) -> None:
        whole = bytearray()
        more = True
        while more:
            message = await body.receive()
            if message["type"] == "http.disconnect":
                if body.late:
                    await _too_slow(scope, body.receive, send)
                return
            whole += message.get("body", b"")
            more = message.get("more_body", False)
        if len(whole) > MOST_PARTS and sum(map(whole.count, (b",", b"[", b"{"))) > MOST_PARTS:
            await PlainTextResponse(_PARTS, 413)(scope, body.receive, send)
            return
        given = False

        async def receiving() -> Message:
            nonlocal given
            if given:
                return await body.receive()  # that the caller went
            given = True
            return {"type": "http.request", "body": bytes(whole), "more_body": False}

        await self.app(scope, receiving, send)


class _Body:
    """Receives the body of a request while it comes fast enough, and counts it as being under way."""

    def __init__(self, receive: Receive, in_flight: Counter[str], kind: str) -> None:
        self.received = 0
        self.files = 0  # of an upload, by the form's fields
        self.late = False
        self._receive = receive
        self._in_flight = in_flight
        self._kind = kind
        self._whole = False
        self._until = asyncio.get_running_loop().time() + EACH_MEGABYTE_S

    async def receive(self) -> Message:
        """Return the next message; a body that is late has broken off."""
        if self._whole:
            return await self._receive()
        if self.late:
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            self.late = True
            return {"type": "http.disconnect"}
        self._count(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return message

    def _count(self, piece: bytes) -> None:
        n_bytes = len(piece)
        self.files += piece.count(_FILE)
        before, self.received = self.received, self.received + n_bytes
        self._in_flight[self._kind] += n_bytes
        if self.received // _MEGABYTE > before // _MEGABYTE:
            self._until = asyncio.get_running_loop().time() + EACH_MEGABYTE_S


def _free_bytes() -> int:
    return shutil.disk_usage(tempfile.gettempdir()).free


def shares_disk(data: Path) -> bool:
    """Return whether uploads lie on the disk of a data folder."""
    return data.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev


async def _too_slow(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("The request's body came too slowly.", 408, {"Connection": "close"})(scope, receive, send)
