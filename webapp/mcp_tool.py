"""The endpoint ``/score`` as a tool for language models, by the Model Context Protocol, and nothing else.

One tool, ``score``, over streamable HTTP at `ADDRESS`, without sessions: each call stands alone. Gradio can
serve its endpoints this way too (``mcp_server``), but offers all of them, answers with Python's notation
instead of JSON, and calls itself with whatever file it is told to read; so this is the protocol's own server.

Source: https://modelcontextprotocol.io/specification/2025-06-18
"""

import asyncio
import base64
import binascii
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

import core
from core.errors import AudioError
from webapp.bodies import MOST_BYTES, TOOL, TOOL_CLIP_BYTES
from webapp.handlers import sentence_of
from webapp.judge import Judge
from webapp.metrics import SCORING
from webapp.retention import kept_for

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

ADDRESS = TOOL
_FILE_ADDRESS = "/gradio_api/file="
_MOST_WAITING = 16
_DATA = re.compile(r"data:[^,]*;base64,")
_NAME = "score"
_TOOL: dict[str, Any] = {
    "name": _NAME,
    "title": "Score generated music",
    "description": (
        "Predict how experts would rate a clip of generated music: its musical impression, and its alignment "
        "with the prompt, each from 1 to 5, with intervals, values over time, and warnings. A warning "
        "demo_model means that the scores are for looking around, not for reports."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "clip": {
                "type": "string",
                "description": "The audio file: its bytes in base64, or as a data: URI, up to 8 MB of them; or the "
                "address of a file that was uploaded to this server before (POST it as the form field files to "
                "/gradio_api/upload, which answers with a list of paths). No other address is fetched.",
            },
            "prompt": {"type": "string", "description": "What the music was asked to be."},
        },
        "required": ["clip", "prompt"],
        "additionalProperties": False,
    },
}


class ScoreTool:
    """The tool's server."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._one_at_a_time = asyncio.Semaphore(1)
        self._n_waiting = 0
        self._manager: asyncio.Future[StreamableHTTPSessionManager]

    @property
    def routes(self) -> list[BaseRoute]:
        """What serves the tool."""
        return [Route(path, self) for path in (ADDRESS, ADDRESS.rstrip("/"))]

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Serve until the server of the pages ends."""
        self._manager = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(self._serve())
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait([serving])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what follows behind this route would answer other methods with 404."""
        if scope["method"] != "POST":
            await PlainTextResponse("Calls are sent by POST.", 405)(scope, receive, send)
        elif "origin" in Headers(scope=scope):  # a browser says so, of whatever name a page gave this server
            await PlainTextResponse("The tool is for programs; pages do not call it.", 403)(scope, receive, send)
        else:
            await (await asyncio.shield(self._manager)).handle_request(scope, receive, send)

    async def _serve(self) -> None:
        """Import the protocol's server, which the page does not wait for, and serve until this is cancelled."""
        try:
            manager = await asyncio.to_thread(self._open)
        except Exception as error:  # noqa: BLE001  # whoever calls the tool gets it
            self._manager.set_exception(error)
            return
        async with manager.run():
            self._manager.set_result(manager)
            await asyncio.Event().wait()

    def _open(self) -> "StreamableHTTPSessionManager":
        from mcp.server import Server
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
        from mcp.types import Tool

        async def tools() -> list[Tool]:
            return [Tool(**_TOOL)]

        server: Server[Any, Any] = Server("MusicEval", core.__version__)
        server.list_tools()(tools)  # type: ignore[no-untyped-call]
        server.call_tool()(self._call)
        most_bytes = TOOL_CLIP_BYTES * 4 // 3 + MOST_BYTES
        return StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=most_bytes
        )

    async def _call(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Call the tool; the protocol's server has checked what was given, and tells errors to the caller."""
        if name != _NAME:
            raise ValueError(f"There is no tool of this name. The tool is {_NAME}.")
        if self._n_waiting >= _MOST_WAITING:
            raise ValueError("Too many clips are waiting to be scored. Try again in a minute.")
        self._n_waiting += 1
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(self._score, given["clip"], given["prompt"])
        finally:
            self._n_waiting -= 1

    def _score(self, clip: str, prompt: str) -> dict[str, Any]:
        try:
            with SCORING.labels("tool").time():
                return self._judge.scorer.score(_source(clip), prompt).to_json()
        except Exception as error:
            raise ValueError(sentence_of(error)) from error


def _source(clip: str) -> Path | bytes:
    """Return the upload that an address names, or the bytes; AudioError where it is neither."""
    _, found, path = clip.rpartition(_FILE_ADDRESS)
    uploads = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
    if found or clip.startswith(f"{uploads}/"):
        upload = Path(unquote(path) if found else clip).resolve()
        if not (upload.is_relative_to(uploads) and upload.is_file()):
            raise AudioError(f"There is no such upload. Upload the clip again; uploads are kept for {kept_for()}.")
        return upload
    if clip.startswith(("http://", "https://")):
        raise AudioError("Addresses are not fetched. Give the clip's bytes in base64, or upload it first.")
    try:
        return base64.b64decode("".join(_DATA.sub("", clip, 1).split()), validate=True)
    except binascii.Error as error:
        raise AudioError("The clip is neither base64 nor the address of an upload.") from error
