"""SIGTERM and Ctrl-C at each stage of a Medic, in the test's own process."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import trio

from medic.app import sigterm
from medic.app.stopping import Stage, open_stopping
from tests.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test does to the process's handlers ends with it."""
    monkeypatch.setattr(sigterm, "_came", False)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("stage", "order", "said"),
    [
        (Stage.OPENING, signal.SIGTERM, "Medic stops. It had not begun to watch."),
        (Stage.STANDING_BY, signal.SIGTERM, "Medic stops. It stood by: nothing was being watched here."),
        (Stage.STANDING_BY, signal.SIGINT, "Medic stops. It stood by: nothing was being watched here."),
    ],
)
async def test_before_medic_serves_a_signal_closes_what_was_opened(
    stage: Stage, order: signal.Signals, said: str
) -> None:
    lines: list[str] = []
    closed = False
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_stopping(lines.append) as stopping:
            stopping.enter(stage)
            signal.raise_signal(order)
            try:
                await trio.sleep_forever()
            finally:
                closed = True
    assert (closed, lines) == (True, [said])
    assert not stopping.leaving.is_set()


async def test_ctrl_c_before_medic_has_begun_is_an_interruption() -> None:
    with pytest.RaisesGroup(KeyboardInterrupt):
        async with open_stopping(lambda _: None):
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
async def test_while_medic_serves_the_first_signal_begins_the_drain_and_the_second_ends_it(
    order: signal.Signals,
) -> None:
    lines: list[str] = []
    with pytest.RaisesGroup(KeyboardInterrupt), trio.fail_after(PATIENCE_SECONDS):
        async with open_stopping(lines.append) as stopping:
            stopping.enter(Stage.SERVING)
            signal.raise_signal(order)
            await stopping.leaving.wait()
            [line] = lines
            assert line.startswith("Medic is stopping")
            signal.raise_signal(order)
            await trio.sleep_forever()


async def test_a_second_signal_ends_an_opening_that_does_not_end_by_itself() -> None:
    with pytest.RaisesGroup(KeyboardInterrupt), trio.fail_after(PATIENCE_SECONDS):
        async with open_stopping(lambda _: None) as stopping:
            signal.raise_signal(signal.SIGTERM)
            try:
                await trio.sleep_forever()
            finally:
                assert stopping.opened.cancel_called
                signal.raise_signal(signal.SIGTERM)
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()


async def test_a_sigterm_from_before_trio_ran_is_obeyed() -> None:
    sigterm.remember()
    signal.raise_signal(signal.SIGTERM)
    lines: list[str] = []
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_stopping(lines.append):
            await trio.sleep_forever()
    assert lines == ["Medic stops. It had not begun to watch."]
