import os
import signal
import threading

import pytest

from core.training.stopping import StopAsked, StopSignals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once(number: signal.Signals, code: int) -> None:
    with pytest.raises(StopAsked) as raised, StopSignals():
        os.kill(os.getpid(), number)
    assert raised.value.exit_code == code
    assert not isinstance(raised.value, Exception)


def test_a_deferred_signal_is_noted_and_a_second_is_not_deferred() -> None:
    with StopSignals() as signals, signals.deferred():
        assert signals.asked is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.asked == signal.SIGTERM
        with pytest.raises(StopAsked):
            os.kill(os.getpid(), signal.SIGTERM)


def test_afterwards_signals_do_what_they_did() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def work() -> None:
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_stop_that_another_process_asked_for_counts_as_a_request_to_end() -> None:
    assert StopAsked(None).exit_code == 143
