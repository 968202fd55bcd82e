"""The listening test over HTTP: what the rater's page asks for, one route each, under ``/listening``.

Conventions
-----------
Answers are JSON, but for the sounds; a refusal is ``{"error": sentence}``. A rater is known by
``Authorization: Bearer VISIT``, checked at every route in the transaction that acts. Each request is one
small write transaction, and the time is read inside it, so that times run in the order of the writes.

Blindness: no answer may be told from another but by what its rater is to see. All carry ``no-store`` and the
same headers; none a validator, a range or a file name, because a clip that comes twice would share them.
Source: RFC 9110, sections 8.8 and 14; RFC 9111, section 5.2.2.5.
"""

import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NoReturn

from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from annotation import access
from annotation.material.demo_study import new_visitor, sound_check
from annotation.protocol import Protocol
from annotation.schema import Rater
from annotation.session import listening
from annotation.session.questionnaire import CONSENT, QUESTIONS
from annotation.session.reply import Reply
from annotation.studies import clip_path
from core.errors import AccessError, MusicEvalError, RatingError, StudyError
from webapp.rate_limit import RateLimit
from webapp.venues import Venue, Venues

_LOG = logging.getLogger(__name__)

PREFIX = "/listening"
MAX_BODY_BYTES = 64_000
# A class of raters behind one address may mistype; a machine that guesses gets 2 tries a minute.
_CODES = (20, 30.0)
_VISITORS = (20, 30.0)  # who tries the demo study
_NO_VISIT = "You are not signed in. Enter your access code."
_TOO_OFTEN = "Too many attempts. Wait {} s, then try again."
_MISFIT = "The request is not what the page would send."
_UNEXPECTED = "Something went wrong on the server; it has been logged there. Try again."
# What the rules of the listening test refuse. That nobody is signed in is 401, and told apart below.
_STATUS = {AccessError: 404, RatingError: 400, StudyError: 409}
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Given = dict[str, Any]
Action = Callable[[Session, Rater, Given, datetime], dict[str, Any]]


def listening_app(venues: Venues) -> Starlette:
    """Make the ASGI application that is mounted at `PREFIX`.

    Parameters
    ----------
    venues : Venues
        Where the listening tests are, and the demo.
    """
    doors = _Doors(venues)
    actions: dict[str, tuple[str, Action]] = {
        "place": ("GET", _place),
        "about": ("POST", _about),
        "start": ("POST", _start),
        "rate": ("POST", _rate),
        "problem": ("POST", _problem),
    }
    routes = [
        Route(f"/{name}", _endpoint(doors.acting(action)), methods=[method])
        for name, (method, action) in actions.items()
    ]
    routes += [
        Route("/enter", _endpoint(doors.enter), methods=["POST"]),
        Route("/try", _endpoint(doors.try_demo), methods=["POST"]),
        Route("/leave", _endpoint(doors.leave), methods=["POST"]),
        Route("/clip/{token}", _endpoint(doors.clip), methods=["GET"]),
        Route("/sound-check", _endpoint(doors.sound_check), methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers=dict.fromkeys((HTTPException, *_STATUS), _refused))
    app.router.redirect_slashes = False
    return app


class _Doors:
    """The routes that need more than a session of the database."""

    def __init__(self, venues: Venues) -> None:
        self._venues = venues
        self._codes = RateLimit(*_CODES)
        self._visitors = RateLimit(*_VISITORS)

    def acting(self, action: Action) -> Callable[[Request, Given], Response]:
        """Make a route of something that a signed-in rater does."""

        def act(request: Request, given: Given) -> Response:
            venue, visit = self._visit(request)
            with venue.database.write() as session:
                at = datetime.now(UTC)
                return _json(action(session, _rater(session, visit), given, at))

        return act

    def enter(self, request: Request, given: Given) -> Response:
        """Sign in with a code; only wrong codes count against the limit."""
        code = given.get("code")
        if not isinstance(code, str):
            _refuse(400, _MISFIT)
        _limit(self._codes, request)
        with self._venues.real.database.write() as session:
            try:
                visit = access.enter(session, code, datetime.now(UTC))
            except AccessError as error:
                _refuse(401, str(error))
        self._codes.give_back(_client(request))
        return _json({"visit": visit})

    def try_demo(self, request: Request, _given: Given) -> Response:
        """Sign in to the demo study as someone new."""
        _limit(self._visitors, request)
        venue = self._venues.demo()
        with venue.database.write() as session:
            at = datetime.now(UTC)
            visit = access.open_visit(session, new_visitor(session, at), at)
        return _json({"visit": venue.sign + visit})

    def leave(self, request: Request, _given: Given) -> Response:
        """Sign out."""
        venue, visit = self._visit(request)
        with venue.database.write() as session:
            at = datetime.now(UTC)
            _rater(session, visit)
            access.leave(session, visit, at)
        return _json({})

    def clip(self, request: Request, _given: Given) -> Response:
        """Send the clip of a trial, whole."""
        venue, visit = self._visit(request)
        with venue.database.write() as session:
            at = datetime.now(UTC)
            rater = _rater(session, visit)
            name = listening.serve(session, rater, request.path_params["token"], at)
            path = clip_path(venue.data, rater.study, name)
        return _sound(path.read_bytes())

    def sound_check(self, request: Request, _given: Given) -> Response:
        """Send the music by which raters set their volume."""
        venue, visit = self._visit(request)
        with venue.database.read() as session:
            protocol = Protocol.from_json(_rater(session, visit).study.protocol)
        return _sound(sound_check(protocol))

    def _visit(self, request: Request) -> tuple[Venue, str]:
        scheme, _, visit = request.headers.get("authorization", "").partition(" ")
        found = self._venues.of(visit)
        if scheme.lower() != "bearer" or found is None:
            _refuse(401, _NO_VISIT)
        return found


def _place(session: Session, rater: Rater, _given: Given, at: datetime) -> dict[str, Any]:
    return _shown(listening.place(session, rater, at), rater)


def _about(session: Session, rater: Rater, given: Given, at: datetime) -> dict[str, Any]:
    return _shown(listening.about(session, rater, given.get("answers"), at), rater)


def _start(session: Session, rater: Rater, _given: Given, at: datetime) -> dict[str, Any]:
    return _shown(listening.start(session, rater, at), rater)


def _rate(session: Session, rater: Rater, given: Given, at: datetime) -> dict[str, Any]:
    keys = ("musical_impression", "textual_alignment", "comment", "played")
    reply = Reply(**{key: given.get(key) for key in keys})
    done = listening.submit(session, rater, given.get("token"), reply, at)
    feedback = None if done.feedback is None else asdict(done.feedback)
    return {"outcome": done.outcome, "place": _shown(done.place, rater), "feedback": feedback}


def _problem(session: Session, rater: Rater, given: Given, at: datetime) -> dict[str, Any]:
    return _shown(listening.problem(session, rater, given.get("token"), given.get("comment", ""), at), rater)


def _shown(place: listening.Place, rater: Rater) -> dict[str, Any]:
    shown = asdict(place) | {"demo": rater.study.demo}
    if place.step == "about":
        shown |= {"consent": CONSENT, "questions": [asdict(question) for question in QUESTIONS]}
    return shown


def _rater(session: Session, visit: str) -> Rater:
    try:
        return access.authorise(session, visit)
    except AccessError as error:
        _refuse(401, str(error))


def _limit(limit: RateLimit, request: Request) -> None:
    wait_s = math.ceil(limit.take(_client(request)))
    if wait_s:
        raise HTTPException(429, _TOO_OFTEN.format(wait_s), {"Retry-After": str(wait_s)})


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _endpoint(answer: Callable[[Request, Given], Response]) -> Callable[[Request], Any]:
    """Make an endpoint of a function that waits for the database: it runs in the pool of threads."""

    async def endpoint(request: Request) -> Response:
        given = await _body(request)
        try:
            return await run_in_threadpool(answer, request, given)
        except (MusicEvalError, HTTPException):
            raise
        except Exception as error:
            _LOG.exception("a request of the listening test failed")
            raise HTTPException(500, _UNEXPECTED) from error

    return endpoint


async def _body(request: Request) -> Given:
    if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        _refuse(413, f"The request is larger than {MAX_BODY_BYTES} bytes.")
    try:
        given = json.loads(await request.body() or b"{}", parse_constant=_no_number)
        json.dumps(given, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        _refuse(400, _MISFIT)
    if not isinstance(given, dict):
        _refuse(400, _MISFIT)
    return given


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(status: int, sentence: str) -> NoReturn:
    raise HTTPException(status, sentence)


def _refused(_request: Request, error: Exception) -> Response:
    """Answer what was raised: a status and its sentence."""
    if isinstance(error, HTTPException):
        return _json({"error": error.detail}, error.status_code, error.headers)
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    return _json({"error": str(error)}, status)


def _json(content: Given, status: int = 200, headers: Any = None) -> Response:
    return JSONResponse(content, status, {**_HEADERS, **(headers or {})})


def _sound(wav: bytes) -> Response:
    return Response(wav, media_type="audio/wav", headers=_HEADERS)
