"""Fixtures of the contract suites."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.http_api import Api, open_api


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """The API over real actors. In a test that asks for `mock_clock` as well, time stands still."""
    async with open_api() as opened:
        yield opened
