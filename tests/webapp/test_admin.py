"""Who is taken for the administrator, request by request."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from core.errors import StudyError
from core.settings import Settings
from webapp.admin import SESSION_S, Administration

PASSWORD = "correct horse"
HERE = {"host": "127.0.0.1:7860"}


@dataclass
class Asking:
    """What `Administration` looks at in a request."""

    headers: dict[str, str] = field(default_factory=lambda: dict(HERE))
    peer: str = "127.0.0.1"

    @property
    def client(self) -> SimpleNamespace:
        return SimpleNamespace(host=self.peer)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def locked(clock: Clock) -> Administration:
    """With a password."""
    return Administration(Settings(admin_password=PASSWORD), {}, clock=clock)


def mode(
    asking: Any = None,
    host: str = "127.0.0.1",
    environment: dict[str, str] | None = None,
    shared: bool = False,
) -> str:
    return Administration(Settings(host=host), environment or {}, lambda: shared).mode(asking or Asking())


@pytest.mark.parametrize(
    "asking",
    [
        Asking(),
        Asking({"host": "localhost:7860"}),
        Asking({"host": "LOCALHOST"}),
        Asking({"host": "[::1]:7860"}, "::1"),
        Asking({"host": "127.8.9.1:80"}, "127.0.0.5"),
        Asking({**HERE, "origin": "http://127.0.0.1:7860"}),
    ],
)
def test_without_a_password_whoever_sits_at_the_machine_is_the_administrator(asking: Asking) -> None:
    assert mode(asking) == "open"


@pytest.mark.parametrize(
    "asking",
    [
        *(
            Asking({**HERE, name: "192.0.2.7"})
            for name in (
                "Forwarded",
                "X-Forwarded-For",
                "X-Forwarded-Host",
                "X-Forwarded-Anything",
                "X-Real-IP",
                "Via",
                "CF-Connecting-IP",
                "True-Client-IP",
                "X-Original-URL",
            )
        ),
        Asking(peer="192.0.2.7"),
        Asking(peer="::ffff:192.0.2.7"),
        Asking(peer="testclient"),
        Asking({"host": "rebound.example:7860"}),
        Asking({"host": "localhost.example"}),
        Asking({"host": "127.0.0.1.example"}),
        Asking({"host": "[::1"}),
        Asking({"host": ""}),
        Asking({}),
        Asking({**HERE, "origin": "http://elsewhere.example"}),
        Asking({**HERE, "origin": "http://127.0.0.1:8000"}),
        Asking({**HERE, "origin": "null"}),
        Asking({**HERE, "origin": "http://["}),
    ],
    ids=str,
)
def test_who_comes_from_elsewhere_is_not(asking: Asking) -> None:
    assert mode(asking) == "off"


def test_a_server_that_others_reach_has_no_administrator_without_a_password() -> None:
    assert mode(host="0.0.0.0") == "off"
    assert mode(host="192.0.2.1") == "off"
    assert mode(environment={"SPACE_ID": "someone/musiceval"}) == "off"
    assert mode(shared=True) == "off"
    assert mode(host="localhost") == "open"
    assert mode(host="::1") == "open"


def test_a_session_lasts_twelve_hours(locked: Administration, clock: Clock) -> None:
    token = locked.sign_in(PASSWORD, Asking())
    assert (len(token), locked.allowed(token, Asking(peer="192.0.2.7"))) == (43, True)
    clock.now_s += SESSION_S - 1
    locked.check(token, Asking())
    clock.now_s += 1
    with pytest.raises(gr.Error, match="not signed in"):
        locked.check(token, Asking())


def test_a_session_can_be_ended(locked: Administration) -> None:
    token, other = locked.sign_in(PASSWORD, Asking()), locked.sign_in(PASSWORD, Asking())
    locked.sign_out(token)
    assert (locked.allowed(token, Asking()), locked.allowed(other, Asking())) == (False, True)
    assert token != other


@pytest.mark.parametrize("token", ["", None, PASSWORD, 5, [], {"token": 1}, "\udcff", "x" * 10_000], ids=repr)
def test_no_other_token_is_taken(locked: Administration, token: Any) -> None:
    locked.sign_in(PASSWORD, Asking())
    assert locked.allowed(token, Asking()) is False
    locked.sign_out(token)


def test_the_server_keeps_no_token(locked: Administration) -> None:
    token = locked.sign_in(PASSWORD, Asking())
    assert token not in repr(vars(locked))


def test_wrong_passwords_are_limited_for_each_address(locked: Administration, clock: Clock) -> None:
    guesser = Asking(peer="192.0.2.7")
    for guess in ("", "correct hors", "correct horse ", "CORRECT HORSE", "\udcff"):
        with pytest.raises(gr.Error, match="not the administrator's password"):
            locked.sign_in(guess, guesser)
    with pytest.raises(gr.Error, match="Wait 30 s"):
        locked.sign_in(PASSWORD, guesser)
    assert locked.sign_in(PASSWORD, Asking(peer="192.0.2.8"))
    clock.now_s += 30
    assert locked.sign_in(PASSWORD, guesser)


def test_right_passwords_are_not_limited(locked: Administration) -> None:
    for _ in range(20):
        assert locked.allowed(locked.sign_in(PASSWORD, Asking()), Asking())


def test_there_is_no_sign_in_without_a_password() -> None:
    administration = Administration(Settings(), {})
    for asking in (Asking(), Asking(peer="192.0.2.7")):
        with pytest.raises(gr.Error, match="Administration is off"):
            administration.sign_in("", asking)


def test_a_guarded_handler_runs_for_the_administrator_only(locked: Administration) -> None:
    calls: list[Any] = []
    handler = locked.guarded(calls.append)
    token = locked.sign_in(PASSWORD, Asking())
    for wrong in ("", None, "x"):
        with pytest.raises(gr.Error, match="not signed in"):
            handler(wrong, Asking(), "given")
    assert calls == []
    handler(token, Asking(), "given")
    assert calls == ["given"]


def test_what_a_page_does_by_itself_is_not_refused_aloud(locked: Administration) -> None:
    handler = locked.guarded(lambda: "secret", otherwise="nothing")
    assert handler("", Asking()) == "nothing"
    assert handler(locked.sign_in(PASSWORD, Asking()), Asking()) == "secret"


def test_errors_are_told_in_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: Exception) -> None:
        raise error

    handler = Administration(Settings(), {}).guarded(fail)
    for error, said in (
        (StudyError("There is no study <b>x</b>."), "There is no study &lt;b&gt;x&lt;/b&gt;."),
        (gr.Error("As it is."), "As it is."),
        (RuntimeError("a detail"), "Something went wrong on the server; it has been logged there."),
    ):
        with pytest.raises(gr.Error) as caught:
            handler("", Asking(), error)
        assert caught.value.message == said
    assert "a detail" in caplog.text


def test_gradio_passes_what_the_function_asks_for() -> None:
    def function(first: str, chosen: gr.EventData) -> str:
        return f"{first} {chosen.name}"

    handler = Administration(Settings(), {}).guarded(function)
    request = gr.Request(headers=HERE, client={"host": "127.0.0.1"})
    inputs, *_ = gr.helpers.special_args(
        handler, ["token", "given"], request, gr.EventData(None, {"name": "chosen"})
    )
    assert handler(*inputs) == "given chosen"
