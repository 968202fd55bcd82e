"""The pages' process: started with the server, started again when it dies, and asked what the server does not answer.

It listens at a socket that the server opens before and keeps, in a folder of its own: a request that comes while
the pages start, or start again, waits in the socket's queue. `serve_pages` is the other end, in the pages' process.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import core
from core.command import EXIT_MISTAKE, EXIT_OK
from core.errors import MusicEvalError
from core.settings import ADMIN_PASSWORD
from webapp.connections import QuietServer
from webapp.guard import OWN
from webapp.temporary import own_folder

Headers = list[tuple[bytes, bytes]]

_CLIENT, _SCHEME = f"{OWN}client".encode(), f"{OWN}scheme".encode()
# Headers of one connection, which are not handed on. Source: RFC 9110, sections 7.6.1 and 10.1.1.
_OF_CONNECTION = (b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade")
_CHUNK_BYTES = 65_536
_END_S = 5.0  # that the pages have to end in
_YIELDS = 10  # of the 19 steps by which a process lets others go first: raters before models
_LONGEST_PAUSE_S = 30.0  # between two starts of pages that die again and again
_AWAY = "The pages are being started again. Reload in a moment; the listening test goes on meanwhile."
_logger = logging.getLogger(__name__)


class PagesProcess:
    """Runs a module that ends in `serve_pages`; `refused` once that says that it cannot begin as it is set up."""

    def __init__(self, module: str = "webapp.pages") -> None:
        self.refused = False
        self._module = module
        self._socket = str(own_folder("pages", short=True) / "socket")

    def app(self) -> Starlette:
        """Return the application that starts the process, hands every request on, and ends the process."""
        return Starlette(routes=[Mount("/", self._answer)], lifespan=self._run)

    @contextlib.asynccontextmanager
    async def _run(self, _: Starlette) -> AsyncIterator[None]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._socket)
            listener.listen(2048)
            keeping = asyncio.create_task(self._keep(listener))
            try:
                yield
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])

    async def _keep(self, listener: socket.socket) -> None:
        """Start the process, and again whenever it ends, until cancelled."""
        pause_s, first = 1.0, True
        while True:
            process = await _start(self._module, listener)
            try:
                code = await process.wait()
            finally:
                await _end(process)
            if first and code == EXIT_MISTAKE:
                self.refused = True
                return
            _logger.error("the pages' process ended with exit code %d and is started again", code)
            await asyncio.sleep(pause_s)
            pause_s, first = min(2 * pause_s, _LONGEST_PAUSE_S), False

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, for as long as somebody waits for the answer."""
        body = _Body(receive)
        tasks = [asyncio.create_task(self._hand_on(scope, body, send)), asyncio.create_task(body.left())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _hand_on(self, scope: Scope, body: "_Body", send: Send) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except ConnectionError:
            await _away(scope, body.receive, send)
            return
        begun = False
        try:
            await _ask(writer, scope, body)
            head = await reader.readuntil(b"\r\n\r\n")
            begun = True
            await send(_begin(head))
            while chunk := await reader.read(_CHUNK_BYTES):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        except ClientDisconnect:
            pass
        except (ConnectionError, asyncio.IncompleteReadError):
            if not begun:  # else the connection breaks off, as that to the pages did
                await _away(scope, body.receive, send)
        finally:
            writer.close()


class _Body:
    """The body of a request as it comes, and then that the caller left."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self._whole = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            yield message.get("body", b"")
        self._whole.set()

    async def left(self) -> None:
        """Wait until the caller is gone."""
        await self._whole.wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass


def serve_pages(open_pages: Callable[[], ASGIApp], arguments: Sequence[str]) -> int:
    """Serve an application at the open socket whose number is given, until the server that gave it ends.

    Returns the exit code: `EXIT_MISTAKE`, and a line on stderr, where the application cannot be opened.
    """
    threading.Thread(target=_end_with_server, daemon=True).start()
    os.nice(_YIELDS)
    try:
        app = open_pages()
    except MusicEvalError as error:
        sys.stderr.write(f"app.py: {error}\n")
        return EXIT_MISTAKE
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as after Ctrl+C: uploads go
    config = uvicorn.Config(
        _AsAsked(app),
        log_level="warning",
        timeout_graceful_shutdown=1,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        ws="none",
    )
    with socket.socket(fileno=int(arguments[0])) as listener, contextlib.suppress(KeyboardInterrupt):
        QuietServer(config).run(sockets=[listener])
    return EXIT_OK


def _end_with_server() -> None:
    """Wait for the end of what the server never writes."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


class _AsAsked:
    """ASGI middleware: a request looks as it came to the server."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            told = {name: value.decode() for name, value in scope["headers"] if name in (_CLIENT, _SCHEME)}
            headers = [one for one in scope["headers"] if one[0] not in (_CLIENT, _SCHEME)]
            scope = {**scope, "headers": headers, "scheme": told[_SCHEME], "client": (told[_CLIENT], 0)}
        await self.app(scope, receive, send)


# Each request has a connection of its own, in HTTP/1.0: an answer ends where the connection does. A client library
# takes some ms of each request's time from the raters, for what two processes of one program do not need.


async def _ask(writer: asyncio.StreamWriter, scope: Scope, body: _Body) -> None:
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    client = scope["client"][0] if scope.get("client") else ""
    own = [(_CLIENT, client.encode()), (_SCHEME, scope["scheme"].encode())]
    lines = [b"%s %s HTTP/1.0" % (scope["method"].encode(), target)]
    lines += [b"%s: %s" % one for one in [*_kept(scope["headers"]), *own]]
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
    async for chunk in body:
        writer.write(chunk)
        await writer.drain()


def _begin(head: bytes) -> Message:
    first, *lines = head[:-4].split(b"\r\n")
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    return {"type": "http.response.start", "status": int(first.split(b" ")[1]), "headers": _kept(headers)}


async def _away(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(_AWAY, 503, {"Retry-After": "5"})(scope, receive, send)


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [one for one in headers if one[0].lower() not in _OF_CONNECTION]


async def _start(module: str, listener: socket.socket) -> Process:
    paths = [str(Path(core.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {name: value for name, value in os.environ.items() if name != ADMIN_PASSWORD}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        str(listener.fileno()),
        stdin=PIPE,  # ends when this process does, however it does
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        pass_fds=[listener.fileno()],
        start_new_session=True,  # Ctrl+C is for the server, which ends the pages
    )


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
