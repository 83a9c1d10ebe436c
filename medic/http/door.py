"""Where connections come in: listeners in a selector, accepted as far as the system has room for them."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
from collections.abc import Callable, Sequence
from typing import Final

import trio

from medic.http.limits import ACCEPT_PAUSE_SECONDS, LANE_ACCEPTS_PER_SLICE

NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Why nothing can be accepted for a while. Any other error of an accept is that one client's, who left already."""


class Door:
    """Accepts connections and gives each to `came_in`, with its peer's address.

    Args:
        selector: In which its listeners stand, without data.
        came_in: Takes a connection, which does not block.
    """

    def __init__(self, selector: selectors.BaseSelector, came_in: Callable[[socket.socket, str], None]) -> None:
        self._selector = selector
        self._came_in = came_in
        self._listeners: dict[int, socket.socket] = {}
        self._resting: trio.Nursery

    def open(self, listeners: Sequence[socket.socket], nursery: trio.Nursery) -> None:
        """Watch the listeners from now on; where there is no room, tasks of `nursery` look again."""
        self._resting = nursery
        for listener in listeners:
            self._listeners[listener.fileno()] = listener
            self._selector.register(listener, selectors.EVENT_READ)

    def accept(self, fileno: int) -> None:
        """Accept who waits at that listener, some of them."""
        listener = self._listeners.get(fileno)
        if listener is None:  # closed since the selector named it
            return
        for _ in range(LANE_ACCEPTS_PER_SLICE):
            try:
                opened, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._selector.unregister(listener)
                    self._resting.start_soon(self._look_again, listener)
                    return
                continue
            opened.setblocking(False)
            self._came_in(opened, peer[0])

    async def _look_again(self, listener: socket.socket) -> None:
        await trio.sleep(ACCEPT_PAUSE_SECONDS)
        if listener in self._listeners.values():
            self._selector.register(listener, selectors.EVENT_READ)

    def close(self) -> None:
        """Accept no more: the kernel refuses new connections from now on."""
        for listener in self._listeners.values():
            with contextlib.suppress(KeyError):  # it rests
                self._selector.unregister(listener)
            listener.close()
        self._listeners.clear()
