"""The bare limit: what trio and httptools can answer on this machine when they do nothing else.

    python -m bench.bare [--port 0] [--below-streams]

The rival of every figure about intake. It reads each request with httptools, parses its body with orjson and answers a
fixed 201: no routing, no look-up, no journal, no deadline, no metrics. It keeps connections alive, answers pipelined
requests in order, and honours `Connection: close`, because the loads do all three.

Two ways, both shown beside Medic:

* as trio means it: `trio.serve_tcp`, `receive_some`, `send_all`. This is the limit the targets are about.
* `--below-streams`: the socket is read only when trio says that there is something, and a send that the kernel takes at
  once, which is every one here, waits for nobody. That leaves one pass through trio's loop a request, the least a
  server with a task a connection can do.

It prints one JSON line, `{"port": …}`, once it accepts connections, and ends at SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import gc
import json
import signal
import socket
from collections.abc import Awaitable, Callable

import httptools
import orjson
import trio

BODY = b'{"success":true,"message":"Heartbeat Posted Successfully.","results":""}'
HEAD = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(BODY)
ANSWER = HEAD + b"\r\n" + BODY
LAST_ANSWER = HEAD + b"connection: close\r\n\r\n" + BODY
BACKLOG = 4_096
"""More connections than any load here opens at once: none is to wait for a SYN sent again."""

READ_BYTES = 65_536


class Exchange:
    """One connection's requests, as httptools reports them."""

    __slots__ = ("answers", "body", "closing", "parser")

    def __init__(self) -> None:
        self.body = b""
        self.answers = 0
        self.closing = False
        self.parser = httptools.HttpRequestParser(self)

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        if self.body:
            orjson.loads(self.body)
            self.body = b""
        self.answers += 1
        self.closing = not self.parser.should_keep_alive()


async def serve_stream(stream: trio.SocketStream) -> None:
    """Answer one connection's requests until either side closes it, as trio means it."""
    exchange = Exchange()
    try:
        while received := await stream.receive_some(READ_BYTES):
            exchange.parser.feed_data(received)
            if exchange.answers:
                last = LAST_ANSWER if exchange.closing else ANSWER
                await stream.send_all(ANSWER * (exchange.answers - 1) + last)
                exchange.answers = 0
                if exchange.closing:
                    return
    except (trio.BrokenResourceError, httptools.HttpParserError):
        return


async def listen_for_streams(port: int) -> None:
    """Accept until cancelled, as trio means it."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=BACKLOG)
        print(json.dumps({"port": listeners[0].socket.getsockname()[1]}), flush=True)
        nursery.start_soon(trio.serve_listeners, serve_stream, listeners)


async def serve(connection: socket.socket) -> None:
    """Answer one connection's requests until either side closes it."""
    exchange = Exchange()
    feed = exchange.parser.feed_data
    with connection:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                await trio.lowlevel.wait_readable(connection)
                received = connection.recv(READ_BYTES)
                if not received:
                    return
                feed(received)
                if exchange.answers:
                    last = LAST_ANSWER if exchange.closing else ANSWER
                    await send(connection, ANSWER * (exchange.answers - 1) + last)
                    exchange.answers = 0
                    if exchange.closing:
                        return
        except (OSError, httptools.HttpParserError):
            return


async def send(connection: socket.socket, answers: bytes) -> None:
    """Hand all of it to the kernel; waits only where its buffer is full."""
    while answers:
        try:
            answers = answers[connection.send(answers) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(connection)


async def listen(port: int) -> None:
    """Accept until cancelled, everything that is there at once."""
    with socket.create_server(("127.0.0.1", port), backlog=BACKLOG) as listener:
        listener.setblocking(False)
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(listener)
                while True:
                    try:
                        connection, _ = listener.accept()
                    except BlockingIOError:
                        break
                    nursery.start_soon(serve, connection)


async def run(port: int, accept: Callable[[int], Awaitable[None]]) -> None:
    """Serve until a signal."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, port)
            await anext(signals)
            nursery.cancel_scope.cancel()


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--below-streams", action="store_true", help="without trio's streams")
    options = parser.parse_args()
    gc.collect()
    gc.freeze()
    trio.run(run, options.port, listen if options.below_streams else listen_for_streams)


if __name__ == "__main__":
    main()
