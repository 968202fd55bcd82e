"""The pages' process: started before the server, started again when it dies, and asked what the server does not answer.

It listens at a socket that the server opens before and keeps, in a folder of its own: a request that comes while
the pages start, or start again, waits in the socket's queue. `serve_pages` is the other end, in the pages' process:
that imports its libraries while the server imports its own, and opens the database when the server has, which may
carry it over from an earlier version, or bring it back.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.command import EXIT_MISTAKE, EXIT_OK
from core.errors import MusicEvalError
from core.settings import JOURNAL_URL, SECRETS, environment
from webapp import logs
from webapp.connections import QuietServer
from webapp.guard import OWN
from webapp.temporary import own_folder

Headers = list[tuple[bytes, bytes]]

_CLIENT, _SCHEME = _OWN = (f"{OWN}client".encode(), f"{OWN}scheme".encode())
# Headers of one connection, which are not handed on. Source: RFC 9110, sections 7.6.1 and 10.1.1.
_OF_CONNECTION = (b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade")
_CHUNK_BYTES = 65_536
_END_S = 5.0  # that the pages have to end in
_YIELDS = 10  # of the 19 steps by which a process lets others go first: raters before models
_STABLE_S = 300.0  # pages that lived as long are not taken for such as die again and again
_LONGEST_PAUSE_S = 30.0  # between two starts of pages that die again and again
_AWAY = "The pages are being started again. Reload in a moment; the listening test goes on meanwhile."
_logger = logging.getLogger(__name__)


class PagesProcess:
    """Runs a module that ends in `serve_pages`; `refused` once that says that it cannot begin as it is set up."""

    def __init__(self, module: str = "webapp.pages_main") -> None:
        self.refused = False
        self._module = module
        self._socket = str(own_folder("pages", short=True) / "socket")
        self._listener = socket.socket(socket.AF_UNIX)
        self._first: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start the process, which then waits for `app`'s start to open its pages."""
        self._listen()
        self._first = _start(self._module, self._listener)

    def end(self) -> None:
        """End what `begin` began, where no server came to keep it."""
        if self._first is not None:
            _end(self._first)
        self._listener.close()

    def _listen(self) -> None:
        self._listener.bind(self._socket)
        self._listener.listen(2048)

    def app(self) -> Starlette:
        """Return the application that starts the process, hands every request on, and ends the process."""
        return Starlette(routes=[Mount("/", self._answer)], lifespan=self._run)

    @contextlib.asynccontextmanager
    async def _run(self, _: Starlette) -> AsyncIterator[None]:
        with self._listener:
            if self._first is None:
                self._listen()
            keeping = asyncio.create_task(self._keep())
            try:
                yield
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])

    async def _keep(self) -> None:
        """Start the process, and again whenever it ends, until cancelled."""
        pause_s, first = 1.0, True
        while True:
            started_s = time.monotonic()
            code, self._first = await _run_once(self._first, self._module, self._listener), None
            if first and code == EXIT_MISTAKE:
                self.refused = True
                return
            _logger.error("the pages' process ended (exit code %s) and is started again", code)
            if time.monotonic() - started_s > _STABLE_S:
                pause_s = 1.0
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
        begun = False
        try:
            async with contextlib.aclosing(_ask(self._socket, scope, body)) as messages:
                async for message in messages:
                    begun = True
                    await send(message)
        except ClientDisconnect:
            return
        except (OSError, h11.RemoteProtocolError):
            if not begun:  # else the connection breaks off, as that to the pages did
                answer = PlainTextResponse(_AWAY, 503, {"Retry-After": "5"})
                await answer(scope, body.receive, send)


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
    begun = threading.Event()
    threading.Thread(target=_end_with_server, args=[begun], daemon=True).start()
    begun.wait()
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
        **logs.of_uvicorn(),
        http="h11",  # as the server: the two must read a path alike
        ws="none",
    )
    with socket.socket(fileno=int(arguments[0])) as listener, contextlib.suppress(KeyboardInterrupt):
        QuietServer(config).run(sockets=[listener])
    return EXIT_OK


def _end_with_server(begun: threading.Event) -> None:
    """Wait for the one byte that says that the server is ready, and for the end of what it writes."""
    if os.read(sys.stdin.fileno(), 1):
        begun.set()
        os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


class _AsAsked:
    """ASGI middleware: a request looks as it came to the server, and its body is read before it is answered.

    What is refused earlier would break the connection, and the server would get no answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = {name: value.decode() for name, value in scope["headers"] if name in _OWN}
        headers = [one for one in scope["headers"] if one[0] not in (*_OWN, b"connection")]
        more, taking = True, asyncio.Lock()  # some applications wait for the caller's leaving while they send

        async def take() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def receiving() -> Message:
            async with taking:
                return await take()

        async def sending(message: Message) -> None:
            if more:
                async with taking:
                    while more:
                        await take()
            await send(message)

        scope = {**scope, "headers": headers, "scheme": told[_SCHEME], "client": (told[_CLIENT], 0)}
        await self.app(scope, receiving, sending)


# With h11, which the server has anyway, and a connection for each request: a whole client library takes milliseconds
# of each request from the raters, for pools, proxies and redirections that two processes of one program do not need.
async def _ask(path: str, scope: Scope, body: _Body) -> AsyncGenerator[Message, None]:
    """Hand a request on to the pages; yield their answer as it comes."""
    reader, writer = await asyncio.open_unix_connection(path)
    connection = h11.Connection(h11.CLIENT)
    try:
        writer.write(connection.send(_request(scope)) or b"")
        async for chunk in body:
            if chunk:
                writer.write(connection.send(h11.Data(data=chunk)) or b"")
                await writer.drain()
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        while (event := connection.next_event()) is not h11.PAUSED:
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_CHUNK_BYTES))
            elif isinstance(event, h11.Response):
                headers = _kept(event.headers.raw_items())
                yield {"type": "http.response.start", "status": event.status_code, "headers": headers}
            elif isinstance(event, h11.Data):
                yield {"type": "http.response.body", "body": bytes(event.data), "more_body": True}
            elif isinstance(event, h11.EndOfMessage):
                yield {"type": "http.response.body"}
                break
    finally:
        writer.transport.abort()  # what was not taken is not waited for


def _request(scope: Scope) -> h11.Request:
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    client = scope["client"][0] if scope.get("client") else ""
    own = [(_CLIENT, client.encode()), (_SCHEME, scope["scheme"].encode()), (b"connection", b"close")]
    return h11.Request(method=scope["method"], target=target, headers=[*_kept(scope["headers"]), *own])


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [one for one in headers if one[0].lower() not in _OF_CONNECTION]


async def _run_once(begun: subprocess.Popen[bytes] | None, module: str, listener: socket.socket) -> int | str:
    """Start the process, where it has not begun, and wait for its end; return its exit code, or why it cannot start."""
    try:
        process = begun or _start(module, listener)
    except OSError as error:
        return error.strerror or "no process"
    try:
        with contextlib.suppress(BrokenPipeError):  # it ended before: its exit code says why
            process.stdin.write(b"\n")  # type: ignore[union-attr]
        return await asyncio.to_thread(process.wait)
    finally:
        await asyncio.to_thread(_end, process)


def _start(module: str, listener: socket.socket) -> subprocess.Popen[bytes]:
    # What the pages write is in the journal too; who signs in is none of their business.
    withheld = SECRETS - {JOURNAL_URL} | {"OAUTH_CLIENT_SECRET"}
    return subprocess.Popen(
        # -P: nothing is imported from where the server was started
        [sys.executable, "-P", "-m", module, str(listener.fileno())],
        bufsize=0,
        stdin=subprocess.PIPE,  # ends when this process does, however it does
        env=environment(withheld),
        pass_fds=[listener.fileno()],
        start_new_session=True,  # Ctrl+C is for the server, which ends the pages
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdin.close()  # type: ignore[union-attr]
