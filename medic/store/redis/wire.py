"""Redis's protocol (RESP2) as bytes in and values out: no socket, no waiting.

A request is an array of strings. An answer begins with a byte that says what it is and ends its line with CRLF.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

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
    """Redis refused a command. `code` is the word it begins with, such as OOM, READONLY or NOSCRIPT.

    Of a command within a script, Redis 6 says it in the midst of a sentence that begins with ERR.
    """

    def __init__(self, said: str) -> None:
        within = _WITHIN_SCRIPT.search(said)
        self.code = (said.partition(" ")[0] if within is None else within[1])[:CODE_MAX]
        super().__init__(_REASONS.get(self.code, f"it refuses ({self.code})"))


Reply: TypeAlias = "int | str | RedisReplyError | list[Reply] | None"
"""What Redis answers; its own refusals are values here, because one of several answers may be one."""

_WITHIN_SCRIPT: Final = re.compile(r"^ERR .*-([A-Z]+) ")

_REASONS: Final = {
    "OOM": "it is out of memory",
    "READONLY": "it is a replica that takes no writes",
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "its primary is away",
    "CLUSTERDOWN": "its cluster is down",
    "NOAUTH": "it wants a password",
    "WRONGPASS": "it does not take the password",
    "NOPERM": "the user may not run scripts on these keys",
    "MISCONF": "it cannot save its data, and takes no writes",
}


def encode(*words: str | int) -> bytes:
    """A request."""
    return b"*%d\r\n%b" % (len(words), encode_words(*words))


def encode_words(*words: str | int) -> bytes:
    """The words of a request without the number of them."""
    encoded = [str(word).encode() for word in words]
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded])


class Answers:
    """Reads answers out of bytes as they come."""

    def __init__(self) -> None:
        self._bytes = b""

    def feed(self, received: bytes | bytearray) -> None:
        """Take what was received.

        Raises:
            RedisUnavailableError: it is more than any answer has.
        """
        self._bytes += received
        if len(self._bytes) > ANSWER_BYTES_MAX:
            raise RedisUnavailableError("it says more than was asked")

    def next_nowait(self) -> tuple[Reply] | None:
        """The next whole answer, alone in a tuple because an answer may be None; None where it is not all there yet.

        Raises:
            RedisUnavailableError: what is there is not Redis's protocol.
        """
        try:
            reply, end = _read(self._bytes, 0)
        except _NotYetError:
            return None
        except ValueError:
            raise RedisUnavailableError("what answers is not Redis") from None
        self._bytes = self._bytes[end:]
        return (reply,)


class _NotYetError(Exception):
    """The answer goes on beyond what is there."""


def _read(said: bytes, begin: int) -> tuple[Reply, int]:
    if begin >= len(said):
        raise _NotYetError
    kind = said[begin : begin + 1]
    if kind not in {b"+", b"-", b":", b"$", b"*"}:
        raise ValueError(kind)
    stop = said.find(b"\r\n", begin)
    if stop < 0:
        raise _NotYetError
    line, end = said[begin + 1 : stop], stop + 2
    match kind:
        case b"+":
            return line.decode(errors="replace"), end
        case b"-":
            return RedisReplyError(line.decode(errors="replace")), end
        case b":":
            return int(line), end
        case b"$":
            return _read_string(said, end, int(line))
        case _:
            return _read_array(said, end, int(line))


def _read_string(said: bytes, begin: int, length: int) -> tuple[str | None, int]:
    if length < 0:
        return None, begin
    end = begin + length
    if len(said) < end + 2:
        raise _NotYetError
    return said[begin:end].decode(errors="replace"), end + 2


def _read_array(said: bytes, begin: int, length: int) -> tuple[list[Reply] | None, int]:
    if length < 0:
        return None, begin
    replies: list[Reply] = []
    for _ in range(length):
        reply, begin = _read(said, begin)
        replies.append(reply)
    return replies, begin
