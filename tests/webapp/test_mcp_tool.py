"""The tool for language models, as a client of the protocol sees it."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from core.scorer import Scorer
from tests.clips import pluck, write_clip
from webapp.mcp_tool import ADDRESS

PROMPT = "A calm guitar line"


def ask(address: str, what: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    async def talk() -> Any:
        async with (
            streamable_http_client(address.rstrip("/") + ADDRESS) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await what(session)

    return asyncio.run(talk())


def call(address: str, name: str = "score", **given: Any) -> CallToolResult:
    result: CallToolResult = ask(address, lambda session: session.call_tool(name, given))
    return result


def said(result: CallToolResult) -> str:
    (content,) = result.content
    assert content.type == "text"
    return content.text


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("mcp") / "clip.flac", pluck(12.0))


@pytest.fixture(scope="module")
def upload(address: str, clip: Path) -> str:
    """Path of an upload."""
    (path,) = httpx.post(f"{address}gradio_api/upload", files={"files": (clip.name, clip.read_bytes())}).json()
    return str(path)


def test_score_is_the_only_tool(address: str) -> None:
    (tool,) = ask(address, lambda session: session.list_tools()).tools
    assert tool.name == "score"
    assert tool.inputSchema["required"] == ["clip", "prompt"]


def test_nothing_but_tools_is_offered(address: str) -> None:
    async def capabilities(session: ClientSession) -> Any:
        return session.get_server_capabilities()

    offered = ask(address, capabilities).model_dump(exclude_none=True, exclude_defaults=True)
    assert {name for name, value in offered.items() if value} == {"tools"}


@pytest.mark.parametrize("form", ["{data}", "data:audio/flac;base64,{data}"])
def test_a_clip_is_scored_as_by_the_scorer(address: str, scorer: Scorer, clip: Path, form: str) -> None:
    data = base64.b64encode(clip.read_bytes()).decode()
    result = call(address, clip=form.format(data=data), prompt=PROMPT)
    assert not result.isError
    assert result.structuredContent == scorer.score(clip, PROMPT).to_json()


@pytest.mark.parametrize(
    "form", ["{path}", "{address}gradio_api/file={path}", "https://x.example/gradio_api/file={path}"]
)
def test_an_upload_is_scored_by_its_address(address: str, scorer: Scorer, clip: Path, upload: str, form: str) -> None:
    result = call(address, clip=form.format(path=upload, address=address), prompt=PROMPT)
    assert result.structuredContent == scorer.score(clip, PROMPT).to_json()


@pytest.mark.parametrize("form", ["{0}", "http://x/gradio_api/file={0}", "{1}/../../../../..{0}", "file://{0}"])
def test_no_other_file_is_read(address: str, clip: Path, upload: str, form: str) -> None:
    result = call(address, clip=form.format(clip, Path(upload).parent), prompt=PROMPT)
    assert result.isError
    assert "upload" in said(result)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"clip": "http://127.0.0.1:1/clip.wav", "prompt": ""}, "Addresses are not fetched"),
        ({"clip": "no base64!", "prompt": ""}, "neither base64 nor"),
        ({"clip": "", "prompt": ""}, "is empty"),
        ({"clip": "AAAA", "prompt": ""}, "cannot be read as audio"),
        ({"clip": "AAAA"}, "'prompt' is a required property"),
        ({"clip": {"path": "/etc/passwd"}, "prompt": ""}, "is not of type 'string'"),
        ({"clip": "AAAA", "prompt": "", "more": 1}, "Additional properties are not allowed"),
    ],
)
def test_a_bad_call_is_told(address: str, given: dict[str, Any], part: str) -> None:
    result = call(address, **given)
    assert result.isError
    assert part in said(result)


def test_no_endpoint_is_a_tool(address: str) -> None:
    for name in ("score_batch", "show", "begin", "/score"):
        assert "There is no tool of this name" in said(call(address, name))


@pytest.mark.parametrize("path", ["sse", "schema", "messages/", "http"])
def test_no_other_transport_is_served(address: str, path: str) -> None:
    assert httpx.post(f"{address.rstrip('/')}{ADDRESS}{path}", json={}).status_code == 404
    assert httpx.get(f"{address.rstrip('/')}{ADDRESS}", timeout=5).status_code == 405


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "same"])
def test_no_page_calls_the_tool(address: str, origin: str) -> None:
    """A page may have given this server its own name, so no origin is right."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"accept": "application/json, text/event-stream"}
    tool = address.rstrip("/") + ADDRESS
    assert httpx.post(tool, json=call, headers=headers).status_code == 200
    named = headers | {"origin": address.rstrip("/") if origin == "same" else origin}
    assert httpx.post(tool, json=call, headers=named).status_code == 403
