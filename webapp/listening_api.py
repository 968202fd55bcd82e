"""The listening test over HTTP: the rater's page, and what it asks for, one route each, under ``/listening``.

Conventions: answers are JSON, but for the sounds; a refusal is ``{"error": sentence}``, with a ``code`` and its
``values`` by which the page says it in the rater's language. A rater is known by ``Authorization: Bearer VISIT``,
checked at every route in the transaction that acts. What changes something goes to the one thread that writes
(`Database.soon`), and the time is read there, so that times run in the order of the writes; what only reads waits for
nobody. Who waits longer than `WAITS_S` for the database is answered 503. Types are checked here, strictly; what the
values may be is the business of `annotation.session`.

Blindness: no answer may be told from another but by what its rater is to see. All carry ``no-store`` and the
same headers; none a validator, a range or a file name, because a clip that comes twice would share them.
Source: RFC 9110, sections 8.8 and 14; RFC 9111, section 5.2.2.5.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from annotation import enrolment, studies
from annotation.backups.durable import Backups, open_studies
from annotation.database import Database, now
from annotation.material.files import ClipFile
from annotation.preview import preview_file
from annotation.schema import Rater, Trial
from annotation.session import listening
from annotation.session.answers import CONSENT, Reply
from annotation.session.exclusions import close_abandoned
from core.errors import AccessError, BusyError, DamagedError, MusicEvalError, RatingError, StudyError
from core.settings import Settings
from webapp.deadlines import deadlines_of
from webapp.guard import RateLimit, SharedLimit, address_of
from webapp.listening import locales, rating_page
from webapp.listening_bodies import About, Code, Headphones, Join, Problem, Rating
from webapp.logs import NOTED, say
from webapp.places import shown_place
from webapp.temporary import own_folder

T = TypeVar("T")
_Action = Callable[[Session, Rater, datetime], T]

_LOG = logging.getLogger(__name__)

PREFIX = "/listening"
MAX_BODY_BYTES = 64_000
CLOSES_EVERY_S = 3_600.0
WAITS_S = 5.0  # for the database, where another program holds it; then the page is told to come again
# A class of raters behind one address may mistype; a machine that guesses gets 2 tries a minute.
_CODES = (20, 30.0)
_VISITORS = (20, 30.0)  # who tries the demo study
_JOINS = (40, 30.0)  # raters who join by a study's link: a class at once, then 2 a minute
_DEMO_SIGN = "demo."
_PREVIEW_SIGN = "preview."
_NO_VISIT = AccessError("You are not signed in. Enter your access code.", "signed_out")
_MISFIT = RatingError("The request is not what the page would send.", "misfit")
_LARGE = RatingError("The request is larger than {bytes} bytes.", "too_large", bytes=MAX_BODY_BYTES)
_LOST = StudyError(
    "That clip could not be played: its file on the server is damaged. It is left out; here is the next one.", "lost"
)
_UNEXPECTED = MusicEvalError("Something went wrong on the server; it has been logged there. Try again.", "unexpected")
_DAMAGED = StudyError(
    "The place where answers are kept is damaged. Whoever runs the study has to bring it back.", "damaged"
)
# What the rules of the listening test refuse. That nobody is signed in is 401, and told apart below.
_STATUS = {AccessError: 404, RatingError: 400, BusyError: 503, DamagedError: 503, StudyError: 409}
_LOGGED_EVERY_S = 60.0  # that answers cannot be kept
_HEADERS = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class StudyStore:
    """A database of listening tests, and the data folder of their clips."""

    database: Database
    data: Path
    sign: str = ""  # what visits here begin with, as the browser holds them
    danger: str = ""  # of losing ratings, as a sentence (`annotation.durability`)


def close_abandoned_batches(store: StudyStore) -> None:
    """End the abandoned batches of all studies; what fails is logged, and tried again the next time."""
    try:
        for name in studies.study_names(store.database):
            close_abandoned(store.database, name)
    except (MusicEvalError, SQLAlchemyError):
        _LOG.exception("abandoned batches could not be closed")


class StudyStores:
    """The store of the settings, and the demo's; abandoned batches are ended every `CLOSES_EVERY_S`.

    The demo has a database and a folder of its own, temporary and made when someone first asks, so that
    nothing of it can mix with an expert's study; its visits begin with ``demo.``.
    """

    def __init__(self, settings: Settings) -> None:
        database = open_studies(settings, say, WAITS_S, begins=True)
        self.real = StudyStore(database, settings.data)
        self.deadlines = deadlines_of(settings, database)
        self._backups = Backups(settings, database)
        self._demo: StudyStore | None = None
        self._previews: dict[str, StudyStore] = {}
        self._opening = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._close_abandoned, name="abandoned-batches", daemon=True).start()

    def _close_abandoned(self) -> None:
        while not self._closed.wait(CLOSES_EVERY_S):
            close_abandoned_batches(self.real)

    def demo(self) -> StudyStore:
        """Return the demo's store; the first call makes it, which takes seconds."""
        from annotation.material.demo_study import open_demo  # what it needs takes seconds to import

        with self._opening:
            if self._demo is None:
                self._demo = StudyStore(*open_demo(own_folder("demo")), _DEMO_SIGN)
            return self._demo

    def preview(self, code_sha256: str) -> StudyStore | None:
        """Return the store of an administrator's preview, by the hash of its code; None where there is none."""
        file = preview_file(self.real.data, code_sha256)
        with self._opening:
            if file is None:
                gone = self._previews.pop(code_sha256, None)
                if gone is not None:
                    gone.database.close()
                return None
            if code_sha256 not in self._previews:
                opened = Database(f"sqlite:///{file}", durable=False, waits_s=WAITS_S)
                self._previews[code_sha256] = StudyStore(opened, self.real.data, f"{_PREVIEW_SIGN}{code_sha256}.")
            return self._previews[code_sha256]

    def of(self, visit: str) -> StudyStore | None:
        """Return the store of a visit; None where that is not open."""
        if visit.startswith(_PREVIEW_SIGN):
            return self.preview(visit.removeprefix(_PREVIEW_SIGN).partition(".")[0])
        return self._demo if visit.startswith(_DEMO_SIGN) else self.real

    def close(self) -> None:
        """Let go of the databases."""
        self._closed.set()
        self._backups.close()
        for store in (self.real, self._demo, *self._previews.values()):
            if store is not None:
                store.database.close()


def listening_app(stores: StudyStores) -> FastAPI:
    """Return the ASGI application that is mounted at `PREFIX`."""
    app = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers=dict.fromkeys((HTTPException, RequestValidationError, *_STATUS), _refused),
    )
    app.state.stores = stores
    app.state.codes = SharedLimit(stores.deadlines, "code", *_CODES)
    app.state.joins = SharedLimit(stores.deadlines, "join", *_JOINS)
    app.state.visitors = RateLimit(*_VISITORS)  # the demo is this server's own
    app.state.logged = RateLimit(1, _LOGGED_EVERY_S)
    app.router.routes.extend(_routes.routes)  # where they are seen, and held against the docs
    app.add_route("/", rating_page)
    return app


class _Refusal(HTTPException):
    """What is refused with a status of its own."""

    def __init__(self, status: int, error: MusicEvalError, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, str(error), headers)
        self.error = error


class _Route(APIRoute):
    """Refuses large bodies; logs what nobody foresaw and answers it plainly."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
                _refuse(413, _LARGE)
            # A body is JSON, whatever it is called: browsers call it text.
            named = [header for header in request.scope["headers"] if header[0] != b"content-type"]
            scope = {**request.scope, "headers": [*named, (b"content-type", b"application/json")]}
            try:
                return await answer(Request(scope, request.receive))
            except (MusicEvalError, HTTPException, RequestValidationError):
                raise
            except Exception as error:
                _LOG.exception("a request of the listening test failed")
                raise _Refusal(500, _UNEXPECTED) from error

        return handle


_routes = APIRouter(route_class=_Route)


# Who asks


@dataclass(frozen=True)
class _Visitor:
    """A device that says it is signed in; only `write` looks whether that is so."""

    store: StudyStore
    visit: str
    noted: dict[str, int] | None = None  # where there is a log of requests: what its line says of them

    async def write(self, action: _Action[T], first: bool = False, token: str = "") -> T:
        """Do an action together with those of others; what it changed is on the disk when this returns.

        Who is in the middle of a batch goes `first`, before those who begin one.
        """
        return await asyncio.wrap_future(self.store.database.soon(self._known(action, token), first))

    def look(self, action: _Action[T], token: str = "") -> T:
        """Do what as a rule only reads, without waiting for others."""
        return self.store.database.look(self._known(action, token))

    def _known(self, action: _Action[T], token: str) -> Callable[[Session], T]:
        def known(session: Session) -> T:
            at = now(session)
            rater = self.rater(session, at)
            self._note(session, rater, token)
            return action(session, rater, at)

        return known

    def _note(self, session: Session, rater: Rater, token: str) -> None:
        """Note the numbers of the study and of the trial with a token, for the log; the demo's mean nothing there."""
        if self.noted is None or self.store.sign:
            return
        self.noted["study"] = rater.study_id
        mine = select(Trial.id).where(Trial.token == token, Trial.rater_id == rater.id)
        trial = session.scalar(mine) if token else None
        self.noted.update({} if trial is None else {"trial": trial})

    def rater(self, session: Session, at: datetime) -> Rater:
        try:
            return studies.authorise(session, self.visit, at)
        except AccessError as error:
            _refuse(401, error)


async def _visitor(request: Request) -> _Visitor:
    scheme, _, visit = request.headers.get("authorization", "").partition(" ")
    store = request.app.state.stores.of(visit)
    if scheme.lower() != "bearer" or store is None:
        _refuse(401, _NO_VISIT)
    return _Visitor(store, visit.removeprefix(store.sign), request.scope.get(NOTED))


_Signed = Annotated[_Visitor, Depends(_visitor)]


# The routes


@_routes.post("/enter")
async def _enter(request: Request, body: Code) -> Response:
    """Sign in with a code; only wrong codes count against the limit, and never keep a right one out."""
    stores = request.app.state.stores
    store = stores.real
    if not await run_in_threadpool(store.database.look, lambda session: studies.is_code(session, body.code)):
        store = await run_in_threadpool(stores.preview, studies.hash_code(body.code)) or store
        if store is stores.real:
            _let(await request.app.state.codes.take(address_of(request)))
    try:
        visit = await asyncio.wrap_future(
            store.database.soon(lambda session: studies.enter(session, body.code, now(session)))
        )
    except AccessError as error:
        _refuse(401, error)
    return _json({"visit": store.sign + visit})


@_routes.post("/join")
async def _join(request: Request, body: Join) -> Response:
    """Take part by a study's link: be a new rater, with a code that is told once."""
    stores = request.app.state.stores
    _let(await request.app.state.joins.take(address_of(request)))

    def joined(session: Session) -> dict[str, str]:
        at = now(session)
        rater, code = enrolment.join(session, body.key, body.carried, at)
        return {"code": code, "visit": stores.real.sign + studies.open_visit(session, rater, at)}

    try:
        return _json(await asyncio.wrap_future(stores.real.database.soon(joined)))
    except AccessError as error:
        _refuse(403, error)


@_routes.post("/try")
def _try(request: Request) -> Response:
    """Sign in to the demo study as someone new."""
    _let(request.app.state.visitors.take(address_of(request)))
    from annotation.material.demo_study import new_visitor

    store = request.app.state.stores.demo()
    with store.database.write() as session:
        at = now(session)
        visit = studies.open_visit(session, new_visitor(session, at), at)
    return _json({"visit": store.sign + visit})


@_routes.post("/leave")
async def _leave(visitor: _Signed) -> Response:
    await visitor.write(lambda session, _, at: studies.leave(session, visitor.visit, at))
    return _json({})


@_routes.get("/place")
def _place(visitor: _Signed) -> Response:
    return visitor.look(lambda session, rater, at: _stands(listening.current_step(session, rater, at), rater))


@_routes.post("/about")
async def _about(visitor: _Signed, body: About) -> Response:
    consent = locales().get(body.language, {}).get("consent", CONSENT)

    def agree(session: Session, rater: Rater, at: datetime) -> Response:
        return _stands(listening.about(session, rater, body.answers, at, consent, body.language), rater)

    return await visitor.write(agree)


@_routes.post("/headphones")
async def _headphones(visitor: _Signed, body: Headphones) -> Response:
    """Take how many answers of a headphone check were right."""
    return await visitor.write(
        lambda session, rater, at: _stands(listening.check_headphones(session, rater, body.correct, at), rater)
    )


@_routes.post("/start")
async def _start(visitor: _Signed) -> Response:
    return await visitor.write(lambda session, rater, at: _stands(listening.start(session, rater, at), rater))


@_routes.post("/rate")
async def _rate(visitor: _Signed, body: Rating) -> Response:
    reply = Reply(body.model_extra or {}, body.comment, body.played)

    def rate(session: Session, rater: Rater, at: datetime) -> Response:
        done = listening.submit(session, rater, body.token, reply, at)
        told = done.feedback
        feedback = told and {**told.expected, "explanation": told.explanation}
        return _json({"outcome": done.outcome, "place": shown_place(done.place, rater), "feedback": feedback})

    return await visitor.write(rate, first=True, token=body.token)


@_routes.post("/problem")
async def _problem(visitor: _Signed, body: Problem) -> Response:
    return await visitor.write(
        lambda session, rater, at: _stands(listening.problem(session, rater, body.token, body.comment, at), rater),
        token=body.token,
    )


@_routes.get("/clip/{token}")
async def _clip(visitor: _Signed, token: str) -> Response:
    """Send the clip of a trial, whole, if it is what was ingested; that it was sent is noted when its bytes are there.

    Where it is not, the trial is let go, and the study's status says so.
    """
    sound, file = await run_in_threadpool(visitor.look, partial(_to_send, visitor.store, token), token)
    try:
        wav, digest = await run_in_threadpool(file.read)
    except BusyError:
        raise
    except StudyError as error:
        _LOG.error("the file of a clip is not what was ingested, %s: %s", sound.name, error)
        fault = str(error)
        await visitor.write(lambda session, rater, at: listening.lose(session, rater, token, fault, at))
        raise _Refusal(410, _LOST) from error
    if not sound.served or sound.sha256 is None:
        await visitor.write(
            lambda session, rater, at: listening.serve(session, rater, token, at, digest.sha256), first=True
        )
    return _sound(wav)


def _to_send(
    store: StudyStore, token: str, session: Session, rater: Rater, at: datetime
) -> tuple[listening.Sound, ClipFile]:
    sound = listening.clip_to_send(session, rater, token, at)
    return sound, ClipFile.of(store.data, rater.study, sound.name, sound.sha256, sound.duration_s)


@_routes.get("/sound-check")
def _sound_check(visitor: _Signed) -> Response:
    """Send the music by which raters set their volume."""
    from annotation.material.demo_study import sound_check  # late, as in `StudyStores.demo`

    with visitor.store.database.read() as session:
        protocol = visitor.rater(session, now(session)).study.protocol
    return _sound(sound_check(protocol))


def _stands(step: listening.RaterStep, rater: Rater) -> Response:
    return _json(shown_place(step, rater))


def _let(wait_s: float) -> None:
    """Refuse an attempt for which there is so long to wait."""
    wait_s = math.ceil(wait_s)
    if wait_s:
        often = AccessError("Too many attempts. Wait {seconds} s, then try again.", "too_often", seconds=wait_s)
        raise _Refusal(429, often, {"Retry-After": str(wait_s)})


def _refuse(status: int, error: MusicEvalError) -> NoReturn:
    raise _Refusal(status, error)


def _told(error: MusicEvalError) -> dict[str, Any]:
    return {"error": str(error)} | ({"code": error.code, "values": error.values} if error.code else {})


async def _refused(request: Request, error: Any) -> Response:
    """Answer what was raised: a status and its sentence."""
    if isinstance(error, RequestValidationError):
        return _json(_told(_MISFIT), 400)
    if isinstance(error, HTTPException):  # of status 400 is what FastAPI cannot read as JSON
        said = error.error if isinstance(error, _Refusal) else MusicEvalError(error.detail)
        return _json(_told(_MISFIT if error.status_code == 400 else said), error.status_code, error.headers)
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    if status == 503:
        if not request.app.state.logged.take(""):
            told = {"details": str(error)}
            _LOG.error("answers cannot be kept: %s (%s)", error, error.__cause__ or "no turn", extra=told)
        return _json(_told(_DAMAGED if isinstance(error, DamagedError) else error), status, {"Retry-After": "1"})
    return _json(_told(error), status)


def _json(content: dict[str, Any], status: int = 200, headers: Any = None) -> Response:
    return JSONResponse(content, status, {**_HEADERS, **(headers or {})})


def _sound(wav: bytes) -> Response:
    return Response(wav, media_type="audio/wav", headers=_HEADERS)
