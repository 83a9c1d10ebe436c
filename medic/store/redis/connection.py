"""One connection to Redis: opened, signed in, and asked several things with one round trip."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final

import trio

from medic.store.redis.address import RedisAddress
from medic.store.redis.wire import Answers, RedisReplyError, RedisUnavailableError, Reply, encode

RECEIVE_BYTES: Final = 16 << 10


class RedisConnection(trio.abc.AsyncResource):
    """An open connection, good for as long as every call on it ends by itself.

    A call that is cancelled leaves answers behind that belong to nobody: then whoever holds the connection closes it.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._answers = Answers()

    @classmethod
    async def open(cls, address: RedisAddress) -> RedisConnection:
        """A connection that is signed in and has chosen its database.

        Raises:
            RedisUnavailableError: it cannot be reached, or refuses.
        """
        try:
            connection = cls(await _open_stream(address))
        except (OSError, trio.BrokenResourceError) as error:
            raise RedisUnavailableError("it cannot be reached") from error
        try:
            await connection._sign_in(address)
        except BaseException:
            await connection.aclose()
            raise
        return connection

    async def ask(self, requests: Sequence[bytes]) -> list[Reply]:
        """The answers to these requests, in their order, with one round trip. A refusal stands among them.

        Raises:
            RedisUnavailableError: the connection broke, or what answers is not Redis.
        """
        replies: list[Reply] = []
        try:
            await self._stream.send_all(b"".join(requests))
            while len(replies) < len(requests):
                answer = self._answers.next_nowait()
                if answer is not None:
                    replies.append(answer[0])
                    continue
                received = await self._stream.receive_some(RECEIVE_BYTES)
                if not received:
                    raise RedisUnavailableError("it closed the connection")
                self._answers.feed(received)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise RedisUnavailableError("the connection broke") from error
        return replies

    async def aclose(self) -> None:
        """Close it at once, without a word: nobody waits for what was asked."""
        await trio.aclose_forcefully(self._stream)

    async def _sign_in(self, address: RedisAddress) -> None:
        requests = []
        if address.password:
            user = (address.user,) if address.user else ()
            requests.append(encode("AUTH", *user, address.password))
        if address.database:
            requests.append(encode("SELECT", address.database))
        for reply in await self.ask(requests):
            if isinstance(reply, RedisReplyError):
                raise reply


async def _open_stream(address: RedisAddress) -> trio.abc.Stream:
    if address.path:
        return await trio.open_unix_socket(address.path)
    if not address.is_encrypted:
        return await trio.open_tcp_stream(address.host, address.port)
    stream = await trio.open_ssl_over_tcp_stream(
        address.host, address.port, ssl_context=ssl.create_default_context(), https_compatible=True
    )
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream
