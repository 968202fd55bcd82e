"""Pages of a process that a test can look into; `python -m tests.webapp.other_pages` serves them."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from webapp.pages_process import serve_pages

left: list[str] = []


async def echo(request: Request) -> Response:
    said = {
        "method": request.method,
        "path": request.scope["raw_path"].decode(),
        "query": request.url.query,
        "scheme": request.url.scheme,
        "client": request.client.host if request.client else None,
        "headers": request.headers.items(),
        "bytes": len(await request.body()),
        "process": os.getpid(),
        "left": left,
        "environment": list(os.environ),
    }
    answer = JSONResponse(said, 203)
    for name in ("a", "b"):
        answer.set_cookie(name, "1")
    return answer


async def events(_: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        try:
            for number in range(1000):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.2)
        finally:
            left.append("events")

    return StreamingResponse(parts(), media_type="text/event-stream")


async def block(_: Request) -> Response:
    end_s = time.monotonic() + 4
    while time.monotonic() < end_s:
        pass
    return Response("done")


async def cut(_: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        yield "x" * 100
        await asyncio.sleep(0.2)
        raise ConnectionError

    return StreamingResponse(parts())


async def refuse(_: Request) -> Response:
    return Response("no", 413)


async def die(_: Request) -> Response:
    os._exit(1)


def pages() -> Starlette:
    every = ["GET", "POST", "DELETE"]
    named = [Route(f"/{function.__name__}", function, methods=every) for function in (events, block, cut, refuse, die)]
    return Starlette(routes=[*named, Route("/{path:path}", echo, methods=every)])


if __name__ == "__main__":
    sys.exit(serve_pages(pages, sys.argv[1:]))
