"""Answers as bytes of HTTP/1.1, for the express lane: the same status, headers and body that come through Quart."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from medic.http.answers import SAFETY_HEADERS, Answer, Headers
from medic.http.heartbeats import accepted
from medic.ports import Clock

PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}

ACCEPTED: Final = accepted()
"""The answer to an ordinary heartbeat: one object, so that it is recognised by its identity."""


class Wire:
    """Writes answers. The date changes once a second, and with it the one answer that nearly all requests get.

    Args:
        clock: For the date.
        headers: On every answer.
    """

    def __init__(self, clock: Clock, headers: Headers = SAFETY_HEADERS) -> None:
        self._clock = clock
        self._headers = headers
        self._second = -1
        self._date = ""
        self._accepted = b""

    def accepted(self) -> bytes:
        """`ACCEPTED` on a connection that goes on."""
        self._look()
        return self._accepted

    def write(self, answer: Answer, *, closes: bool = False, bodiless: bool = False) -> bytes:
        """An answer in bytes.

        Args:
            answer: The answer.
            closes: Whether the connection ends behind it.
            bodiless: Whether it answers HEAD: everything but the body.
        """
        self._look()
        lines = [
            f"HTTP/1.1 {answer.status} {PHRASES.get(answer.status, '')}",
            f"content-type: {answer.content_type}",
            f"content-length: {len(answer.body)}",
            *(f"{name.lower()}: {value}" for name, value in (*self._headers, *answer.headers)),
            f"date: {self._date}",
        ]
        if closes:
            lines.append("connection: close")
        head = "\r\n".join((*lines, "", "")).encode("latin-1")
        return head if bodiless else head + answer.body

    def _look(self) -> None:
        second = self._clock.now() // 1000
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True)
            self._accepted = self.write(ACCEPTED)
