"""The one way from trio to asyncio: asyncpg speaks asyncio, everything else in Medic speaks trio.

`open_bridge` runs an asyncio loop on top of trio (trio-asyncio) and gives a `Bridge`; `Bridge.call` runs one asyncio
coroutine function on it and may be called from any trio task, inside or outside the task tree of the bridge.

Cancellation crosses: when the trio scope of a `call` is cancelled, the coroutine gets an `asyncio.CancelledError`, and
the call ends with `trio.Cancelled` once the coroutine has ended. What it was using is then in an unknown state;
`database.py` throws such a connection away.

asyncio has callbacks that belong to nobody. trio-asyncio would raise what they raise through the nursery of the loop,
and so end Medic because some connection was lost at a bad moment. They are logged instead: whoever was using it is
told by the call that used it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import structlog
import trio_asyncio

_log = structlog.get_logger(__name__)

_Arguments = ParamSpec("_Arguments")
_Outcome = TypeVar("_Outcome")


class Bridge:
    """Runs asyncio coroutine functions from trio tasks. Made by `open_bridge`."""

    def __init__(self, loop: trio_asyncio.TrioEventLoop) -> None:
        self._loop = loop

    async def call(
        self,
        function: Callable[_Arguments, Coroutine[object, object, _Outcome]],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Outcome:
        """What `await function(...)` gives in asyncio. Costs some 50 µs beside the call itself."""

        async def in_asyncio() -> _Outcome:
            # Called here and not by the trio task: some of asyncpg asks for the running loop before its first await.
            return await function(*args, **kwargs)

        outcome: _Outcome = await self._loop.run_aio_coroutine(in_asyncio())
        return outcome


@asynccontextmanager
async def open_bridge() -> AsyncIterator[Bridge]:
    """A bridge for as long as the block lasts. At its end asyncio tasks that are left are cancelled and waited for.

    An exception that leaves the block arrives outside as itself, not in the groups of the nurseries it came through.
    """
    left_by: BaseException | None = None
    try:
        async with trio_asyncio.open_loop() as loop:
            loop.set_exception_handler(_report)
            try:
                yield Bridge(loop)
            except BaseException as error:
                left_by = error
                raise
    except BaseExceptionGroup as group:
        if left_by is not None and only_member(group) is left_by:
            raise left_by from left_by.__cause__
        raise


def only_member(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The one exception that a group, and groups within it, hold; None where there are several."""
    member: BaseException = group
    while isinstance(member, BaseExceptionGroup):
        if len(member.exceptions) != 1:
            return None
        member = member.exceptions[0]
    return member


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    _log.warning("an asyncio callback failed", what=context.get("message", ""), error=type(error).__name__)
