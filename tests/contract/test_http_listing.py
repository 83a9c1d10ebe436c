"""A listing over a real socket goes as fast as it is read: whoever reads slowly costs Medic a piece, not the rest."""

from __future__ import annotations

from collections.abc import Iterator

import trio
from trio.testing import wait_all_tasks_blocked

from medic.metrics.exposition import TEXT, Page, Pieces, Turns
from medic.metrics.services import ServiceFilter
from tests.contract.served import get, receive, serve
from tests.fakes.http_parts import TwoLines

PIECE = bytes(256 * 1024)
PIECES = 128
BUFFERS_BYTES_MAX = 16 << 20
"""The most that a kernel keeps for both ends of a connection, several times over."""


class LongListing(TwoLines):
    """A listing of 32 MiB, and how much of it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.ended = trio.Event()

    def services(self, wanted: ServiceFilter, *, accept: str = "", accept_encoding: str = "") -> Page:
        return Page(TEXT, "", Pieces(self._pieces(), turns=Turns(), gzip=False, on_end=self.ended.set))

    def _pieces(self) -> Iterator[bytes]:
        for _ in range(PIECES):
            self.made += 1
            yield PIECE


async def wait_stuck(listing: LongListing) -> None:
    """Return once no more is made, because nobody reads."""
    before = -1
    while before != listing.made:
        before = listing.made
        await wait_all_tasks_blocked(0.05)


async def test_no_more_is_made_than_is_read() -> None:
    listing = LongListing()
    async with serve() as served:
        object.__setattr__(served.world.parts, "metrics", listing)
        async with await served.connect() as stream:
            await stream.send_all(get("/metrics/services", "Connection: close"))
            await receive(stream)
            await wait_stuck(listing)
            assert listing.made * len(PIECE) < BUFFERS_BYTES_MAX
            async for _ in stream:
                pass
        assert listing.made == PIECES
        assert listing.ended.is_set()


async def test_whoever_goes_away_in_the_midst_of_a_listing_ends_it() -> None:
    listing = LongListing()
    async with serve() as served:
        object.__setattr__(served.world.parts, "metrics", listing)
        async with await served.connect() as stream:
            await stream.send_all(get("/metrics/services"))
            await receive(stream)
        await listing.ended.wait()
        assert listing.made < PIECES
