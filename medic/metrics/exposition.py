"""What `GET /metrics` and `GET /metrics/services` answer: the parts by prometheus_client, the services as a stream."""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import trio
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from medic.errors import OverloadedError
from medic.metrics.collector import MedicCollector
from medic.metrics.services import ServiceFilter, service_lines
from medic.ports import Clock, Roster

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

STREAMS_MAX: Final = 16
"""Listings of services at a time: a pair of Prometheus servers that ask for eight shards each. They take turns, so that
sixteen hold the loop no longer than one does; each keeps 8 bytes for each of its services, and a slice of text."""

SERVICES_MAX: Final = 1_000
"""`MEDIC_METRICS_SERVICES_MAX` where it is not set: services listed on `/metrics` itself."""

GZIP_LEVEL: Final = 1
"""Metrics shrink to a fifteenth at the cheapest level already."""

END_OF_OPENMETRICS: Final = b"# EOF\n"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `content_encoding` is empty where the text is sent as it is."""

    content_type: str
    content_encoding: str
    body: AsyncIterator[bytes]


class Turns:
    """What listings that are read together share, so that all of them cost others no more than one does.

    In a turn of the loop one slice is made, and as long as it took none is made after it: half of the loop is always
    for heartbeats, however little of a core Medic is given. And one thread compresses; as many as there are listings
    would leave the loop a share of one among them where Medic has a core or two.
    """

    def __init__(self) -> None:
        self._making = trio.Lock()
        self._rests_until = 0.0
        self._packing = trio.CapacityLimiter(1)

    async def make(self, pieces: Iterator[bytes]) -> bytes | None:
        """The next piece, when it is its turn; None at the end."""
        async with self._making:
            await trio.sleep_until(self._rests_until)
            begun = time.perf_counter()
            piece = next(pieces, None)
            self._rests_until = trio.current_time() + time.perf_counter() - begun
        return piece

    async def pack(self, pack: Callable[[bytes], bytes], piece: bytes) -> bytes:
        """Compress it in the thread."""
        return await trio.to_thread.run_sync(pack, piece, limiter=self._packing)


class Pieces:
    """An async iterator over pieces that plain code makes, with a chance for every other task before each.

    `aclose` ends it early; one that is dropped ends as well. Compressing happens in a thread.

    Args:
        pieces: Each step is a slice: it holds the loop.
        turns: Those that share them take turns.
        gzip: Whether to compress.
        on_end: Called once, at the end.
    """

    def __init__(
        self, pieces: Iterator[bytes], *, turns: Turns, gzip: bool, on_end: Callable[[], None] | None = None
    ) -> None:
        self._pieces: Iterator[bytes] | None = pieces
        self._turns = turns
        self._compressor = zlib.compressobj(GZIP_LEVEL, wbits=31) if gzip else None
        self._on_end = on_end

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        while self._pieces is not None:
            piece = await self._turns.make(self._pieces)
            if piece is None:
                self._end()
                if self._compressor is not None:
                    return self._compressor.flush()
            elif self._compressor is not None:
                piece = await self._turns.pack(self._compressor.compress, piece)
            if piece:
                return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End now."""
        self._end()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        self._pieces = None
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()


class Exposition:
    """Answers scrapes.

    Args:
        collector: Reads the parts.
        roster, clock: Where services and time come from.
        services_max: `MEDIC_METRICS_SERVICES_MAX`: services listed on `/metrics`, the first by name.
    """

    def __init__(
        self, *, collector: MedicCollector, roster: Roster, clock: Clock, services_max: int = SERVICES_MAX
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._roster = roster
        self._clock = clock
        self._services_max = services_max
        self._streams = 0
        self._turns = Turns()

    def metrics(self, *, accept: str = "", accept_encoding: str = "") -> Page:
        """`GET /metrics`: the parts, and services as far as they go.

        Args:
            accept: The Accept header; OpenMetrics where it asks for that.
            accept_encoding: The Accept-Encoding header; gzip where it allows that.
        """
        openmetrics = wants_openmetrics(accept)
        parts = self._openmetrics() if openmetrics else generate_latest(self._registry)
        services = service_lines(
            self._roster, self._clock, ServiceFilter(), openmetrics=openmetrics, most=self._services_max
        )
        pieces = chain((parts.removesuffix(END_OF_OPENMETRICS),), services if self._services_max else ())
        return self._page(pieces, openmetrics=openmetrics, gzip=accepts_gzip(accept_encoding))

    def services(self, wanted: ServiceFilter, *, accept: str = "", accept_encoding: str = "") -> Page:
        """`GET /metrics/services`: every service asked for, streamed.

        Raises:
            OverloadedError: `STREAMS_MAX` listings are being read already.
        """
        if self._streams >= STREAMS_MAX:
            raise OverloadedError(f"{STREAMS_MAX} listings of services are being read already.", retry_after_seconds=5)
        self._streams += 1
        openmetrics = wants_openmetrics(accept)
        pieces = service_lines(self._roster, self._clock, wanted, openmetrics=openmetrics)
        return self._page(
            pieces, openmetrics=openmetrics, gzip=accepts_gzip(accept_encoding), on_end=self._stream_ended
        )

    def _openmetrics(self) -> bytes:
        text: bytes = generate_openmetrics(self._registry)  # type: ignore[no-untyped-call]  # published so
        return text

    def _stream_ended(self) -> None:
        self._streams -= 1

    def _page(
        self, pieces: Iterable[bytes], *, openmetrics: bool, gzip: bool, on_end: Callable[[], None] | None = None
    ) -> Page:
        ended = chain(pieces, (END_OF_OPENMETRICS,) if openmetrics else ())
        body = Pieces(ended, turns=self._turns, gzip=gzip, on_end=on_end)
        return Page(OPENMETRICS if openmetrics else TEXT, "gzip" if gzip else "", body)


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics rather than for the plain text format."""
    openmetrics = max(_qualities(accept, "application/openmetrics-text"), default=0.0)
    text = max(_qualities(accept, "text/plain"), default=0.0)
    return openmetrics > 0 and openmetrics >= text


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    return max(_qualities(accept_encoding, "gzip"), default=0.0) > 0


def _qualities(header: str, wanted: str) -> Iterator[float]:
    for offer in header.split(","):
        kind, *parameters = (part.strip().lower() for part in offer.split(";"))
        if kind == wanted:
            quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
            yield float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0
