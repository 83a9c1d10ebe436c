"""Fixtures of the contract suites."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from trio.testing import MockClock

from tests.contract.http_api import Api, open_api


@pytest.fixture
async def api(mock_clock: MockClock) -> AsyncIterator[Api]:
    """The API over real actors; time stands still unless a test lets it jump."""
    async with open_api() as opened:
        yield opened
