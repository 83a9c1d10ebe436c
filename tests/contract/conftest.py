"""Fixtures of the contract suites."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.http_api import Api, Way, open_api


@pytest.fixture
def way() -> Way:
    """How requests reach the API. Suites that hold for every way override this."""
    return open_api


@pytest.fixture
async def api(way: Way) -> AsyncIterator[Api]:
    """The API over real actors. In a test that asks for `mock_clock` as well, time stands still."""
    async with way(None) as opened:
        yield opened


@pytest.fixture
async def shut(api: Api) -> Api:
    """With one service, and asking for keys."""
    await api.register("job", team="payments")
    api.world.ask_for_keys()
    return api
