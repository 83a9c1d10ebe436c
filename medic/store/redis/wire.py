"""Redis's protocol (RESP2) as bytes in and values out: no socket, no waiting.

hiredis packs and parses. What is Medic's here: a refusal is a value with a code, because one of several answers may be
one; and whatever answers on Redis's port, it makes this process neither store nor build more than Medic's own questions
are answered with.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import hiredis

from medic.errors import UnavailableError

ANSWER_BYTES_MAX: Final = 64 << 10
"""Bytes of answers that are waited for at once: a thousand times what Medic's own questions are answered with."""

CODE_MAX: Final = 32
"""Characters of a code: whoever answers may not be Redis."""


class RedisUnavailableError(UnavailableError):
    """Redis did not answer as asked. `reason` names no host, user or password."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Redis: {reason}")
        self.reason = reason


class RedisReplyError(RedisUnavailableError):
    """Redis refused a command.

    Of a command within a script, Redis 6 says why in the midst of a sentence that begins with ERR.

    Attributes:
        code: The word it begins with, such as OOM, READONLY or NOSCRIPT.
        refuses_all: Whether it would refuse every other name as well. Where that is not known, a look at Redis says it.
    """

    def __init__(self, said: str) -> None:
        within = _WITHIN_SCRIPT.search(said)
        self.code = (said.partition(" ")[0] if within is None else within[1])[:CODE_MAX]
        self.refuses_all = self.code in _REASONS and self.code not in _OF_ONE_NAME
        super().__init__(_REASONS.get(self.code, f"it refuses ({self.code})"))


Reply: TypeAlias = "int | str | RedisReplyError | list[Reply] | None"
"""What Redis answers."""

_WITHIN_SCRIPT: Final = re.compile(r"^ERR .*-([A-Z]+) ")

_REASONS: Final = {
    "OOM": "it is out of memory",
    "READONLY": "it is a replica that takes no writes",
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "its primary is away",
    "CLUSTERDOWN": "its cluster is down",
    "NOAUTH": "it wants a password",
    "WRONGPASS": "it does not take the password",
    "MISCONF": "it cannot save its data, and takes no writes",
    "BUSY": "it runs a script that does not end",
    "NOREPLICAS": "it has too few replicas, and takes no writes",
    "NOPERM": "the user may not run scripts on these keys",
    "MOVED": "it is a cluster, and another node has these names",
}

_OF_ONE_NAME: Final = frozenset({"NOPERM", "MOVED"})
"""What Redis may say of one name and not of the next."""

_LONG_ARRAY: Final = re.compile(rb"[*>~]\d{4}")
"""The announcement of an array of a thousand elements or more. hiredis makes room for them all as soon as it has read
that line, and giving that room back takes seconds: a line of twelve bytes would stall Medic. It looks into texts too,
and none that Medic asks for has this."""

_LONG_ARRAY_BYTES: Final = len(b"*1234")

_NOT_YET: Final = object()


def encode(*words: str | int) -> bytes:
    """A request."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub asks for exactly one word
    return packed


class Answers:
    """Reads answers out of bytes as they come."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(
            replyError=RedisReplyError, encoding="utf-8", errors="replace", notEnoughData=_NOT_YET
        )
        self._newest = b""

    def feed(self, received: bytes | bytearray) -> None:
        """Take what was received.

        Raises:
            RedisUnavailableError: it is more than any answer has.
        """
        newest = self._newest + received
        self._newest = newest[1 - _LONG_ARRAY_BYTES :]
        if self._reader.len() + len(received) > ANSWER_BYTES_MAX or _LONG_ARRAY.search(newest):
            raise RedisUnavailableError("it says more than was asked")
        self._reader.feed(bytes(received))

    def next_nowait(self) -> tuple[Reply] | None:
        """The next whole answer, alone in a tuple because an answer may be None; None where it is not all there yet.

        Raises:
            RedisUnavailableError: what is there is not Redis's protocol.
        """
        try:
            reply = self._reader.gets()
        except hiredis.ProtocolError:
            raise RedisUnavailableError("what answers is not Redis") from None
        return None if reply is _NOT_YET else (reply,)
