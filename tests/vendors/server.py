"""The HTTP half that every vendor shares: arrivals, behaviours, rate limit, orderly end."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.patience import PATIENCE_SECONDS
from tests.vendors.behaviour import Behaviour, Hang, Refuse, Reset, Slow, Works

SLOW_MAX_SECONDS = PATIENCE_SECONDS
BODY_MAX_BYTES = 1_048_576


@dataclass
class Answered:
    """What a vendor says to one request."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Arrival:
    """One request as it arrived.

    Attributes:
        at: Wall time in seconds at which its head had been read.
        at_monotonic: The same on the monotonic clock of this machine.
        document: The body, where it was JSON.
        faults: What the vendor's documentation does not allow about it.
        status: What it was answered; None while it hangs or when the connection was reset.
        taken: The vendor acts on it.
    """

    at: float
    at_monotonic: float
    method: str
    path: str
    headers: dict[str, str]
    text: str
    document: Any = None
    faults: list[str] = field(default_factory=list)
    status: int | None = None
    taken: bool = False


@dataclass
class _Order:
    behaviour: Behaviour
    times: int | None
    containing: str


class VendorServer(ABC):
    """A vendor on a port of its own on loopback; a context manager. Subclasses say what the vendor's rules are."""

    path = "/"

    def __init__(self, *, port: int = 0) -> None:
        self._port = port
        self.now: Callable[[], float] = time.monotonic
        self._arrived = threading.Condition()
        self._arrivals: list[Arrival] = []
        self._orders: list[_Order] = []
        self._otherwise: Behaviour = Works()
        self._limit_per_second: int | None = None
        self._took: deque[float] = deque()
        self._released = threading.Event()
        self._listener: _Listener | None = None

    # ------------------------------------------------------------------------------------------- the vendor's own rules

    @abstractmethod
    def faults_of(self, arrival: Arrival) -> list[str]:
        """Everything about the request that the vendor's documentation does not allow."""

    @abstractmethod
    def answer(self, arrival: Arrival) -> Answered:
        """The vendor's answer to a request, faulty or not; sets `arrival.taken`."""

    def refusal(self, behaviour: Refuse) -> Answered:
        """The vendor's answer when told to refuse."""
        return Answered(behaviour.status, {"status": "error", "message": behaviour.error or "told to refuse"})

    # ----------------------------------------------------------------------------------------------- what tests ask for

    @property
    def port(self) -> int:
        """The port it listens on, the same through `refuse_connections` and back."""
        return self._port

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:port`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.origin + self.path

    @property
    def arrivals(self) -> list[Arrival]:
        """Everything that arrived, in order."""
        with self._arrived:
            return list(self._arrivals)

    @property
    def taken(self) -> list[Arrival]:
        """The arrivals that the vendor acts on."""
        return [arrival for arrival in self.arrivals if arrival.taken]

    def faults(self) -> list[str]:
        """Every fault of every arrival. A test that speaks to a vendor ends by comparing this with an empty list."""
        return [fault for arrival in self.arrivals for fault in arrival.faults]

    def behave(self, behaviour: Behaviour, *, times: int | None = None, containing: str = "") -> None:
        """Behave so toward the next `times` requests whose body contains the text; for all others until told again.

        Without `times` it replaces what was ordered before for the same text.
        """
        with self._arrived:
            if times is None and not containing:
                self._otherwise = behaviour
            else:
                self._orders = [order for order in self._orders if times or order.containing != containing]
                self._orders.append(_Order(behaviour, times, containing))

    def limit(self, per_second: int | None) -> None:
        """Take so many requests in any second, and answer the others 429 with Retry-After 1."""
        with self._arrived:
            self._limit_per_second = per_second

    def release(self) -> None:
        """End the requests that hang: their connections are closed without an answer."""
        self._released.set()
        self._released = threading.Event()

    def clear(self) -> None:
        """Forget what arrived."""
        with self._arrived:
            self._arrivals.clear()

    def wait_for(
        self,
        count: int,
        *,
        seconds: float = PATIENCE_SECONDS,
        where: Callable[[Arrival], bool] = lambda arrival: arrival.taken,
    ) -> list[Arrival]:
        """The arrivals that `where` holds for, as soon as there are `count`.

        Raises:
            AssertionError: there were fewer within `seconds`.
        """
        deadline = time.monotonic() + seconds
        with self._arrived:
            while True:
                found = [arrival for arrival in self._arrivals if where(arrival)]
                if len(found) >= count:
                    return found
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{len(found)} of {count} arrived within {seconds} s: {self._arrivals}")

    # ------------------------------------------------------------------------------------------------- life of the port

    def start(self) -> Self:
        """Listen; returns once connections are accepted."""
        self._listener = _Listener(self, self._port)
        self._port = self._listener.server_address[1]
        return self

    def refuse_connections(self) -> None:
        """Close the port and every connection: whoever connects now is refused by the kernel."""
        if self._listener is not None:
            self.release()
            self._listener.end()
            self._listener = None

    def accept_connections(self) -> None:
        """Listen again on the same port."""
        if self._listener is None:
            self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.refuse_connections()

    # ------------------------------------------------------------------------------------------------------ one request

    def take(self, arrival: Arrival) -> tuple[Behaviour, Answered]:
        """Decide what happens to a request that was read whole, and keep it."""
        with self._arrived:
            behaviour = self._next_behaviour(arrival)
            arrival.faults = self.faults_of(arrival)
            answered = Answered(500)
            if isinstance(behaviour, Refuse):
                answered = self.refusal(behaviour)
                if behaviour.retry_after is not None:
                    answered.headers["Retry-After"] = behaviour.retry_after
            elif isinstance(behaviour, Works | Slow) or (isinstance(behaviour, Reset) and behaviour.taken):
                answered = self.answer(arrival)
            if not isinstance(behaviour, Hang | Reset):
                arrival.status = answered.status
            self._arrivals.append(arrival)
            self._arrived.notify_all()
            return behaviour, answered

    def wait_released(self, seconds: float) -> None:
        """Return when `release` is called, at the latest after `seconds`."""
        self._released.wait(seconds)

    def _next_behaviour(self, arrival: Arrival) -> Behaviour:
        for order in self._orders:
            if order.containing in arrival.text:
                if order.times is not None:
                    order.times -= 1
                    if order.times == 0:
                        self._orders.remove(order)
                return order.behaviour
        if self._limit_per_second is not None and isinstance(self._otherwise, Works):
            now = self.now()
            while self._took and self._took[0] <= now - 1:
                self._took.popleft()
            if len(self._took) >= self._limit_per_second:
                return Refuse(429, retry_after="1")
            self._took.append(now)
        return self._otherwise

    def snapshot(self) -> dict[str, Any]:
        """What arrived, as JSON for the control port."""
        return {"arrivals": [asdict(arrival) for arrival in self.arrivals]}


class _Listener(ThreadingHTTPServer):
    """Listens for one vendor. Ends whole: every connection shut, every thread joined."""

    daemon_threads = False
    request_queue_size = 256

    def __init__(self, vendor: VendorServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.vendor = vendor
        self.open_sockets: set[socket.socket] = set()
        self.ending = False
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self.ending = True
        self.shutdown()
        for connection in list(self.open_sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open_sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open_sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is ordinary here; what a test must see is in `arrivals`."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def do_POST(self) -> None:
        at, at_monotonic = time.time(), time.monotonic()
        length = int(self.headers.get("Content-Length", "0"))
        raw = self.rfile.read(min(length, BODY_MAX_BYTES))
        arrival = Arrival(
            at=at,
            at_monotonic=at_monotonic,
            method=self.command,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            text=raw.decode("utf-8", "replace"),
        )
        with contextlib.suppress(ValueError):
            arrival.document = json.loads(raw)
        behaviour, answered = self.server.vendor.take(arrival)
        if isinstance(behaviour, Hang):
            self.server.vendor.wait_released(SLOW_MAX_SECONDS)
            self.close_connection = True
            return
        if isinstance(behaviour, Reset):
            self._reset()
            return
        if isinstance(behaviour, Slow):
            self.server.vendor.wait_released(min(behaviour.seconds, SLOW_MAX_SECONDS))
        self._write(answered)

    def do_GET(self) -> None:
        self.do_POST()

    def _reset(self) -> None:
        # Linger of zero: the kernel answers with RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.server.open_sockets.discard(self.connection)
        self.connection.close()

    def _write(self, answered: Answered) -> None:
        body = json.dumps(answered.body).encode()
        head = f"HTTP/1.1 {answered.status} {self.responses.get(answered.status, ('',))[0]}\r\n"
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Date": self.date_time_string(),
            **answered.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with contextlib.suppress(OSError):
            self.wfile.write((head + lines + "\r\n").encode("latin-1") + body)

    def log_message(self, *args: Any) -> None:
        """Quiet: what a test must see is in `arrivals`."""
