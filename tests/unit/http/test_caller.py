"""Who is calling, as a table of cases."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from medic.http.caller import caller_address

NEAR = ("10.0.0.0/8", "2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "forwarded", "trusted", "caller"),
    [
        ("192.0.2.1", [], [], (), "192.0.2.1"),
        (None, ["198.51.100.1"], [], NEAR, "local"),
        ("192.0.2.1", ["198.51.100.1"], [], (), "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], [], NEAR, "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.1"], [], NEAR, "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], [], NEAR, "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.0.0.2"], [], NEAR, "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1", "10.0.0.2"], [], NEAR, "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], [], NEAR, "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], [], NEAR, "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, nonsense, 10.0.0.2"], [], NEAR, "10.0.0.2"),
        ("10.0.0.1", [""], [], NEAR, "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1,"], [], NEAR, "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], [], NEAR, "198.51.100.1"),
        ("10.0.0.1", ["[2001:db9::7]:4711"], [], NEAR, "2001:db9::7"),
        ("10.0.0.1", ["2001:db9::7"], [], NEAR, "2001:db9::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], [], NEAR, "198.51.100.1"),
        ("2001:db8::1", ["198.51.100.1"], [], NEAR, "198.51.100.1"),
        ("10.0.0.1", [], ["for=198.51.100.1"], NEAR, "198.51.100.1"),
        ("10.0.0.1", [], ['For="[2001:db9::7]:4711";proto=https;by=10.0.0.1'], NEAR, "2001:db9::7"),
        ("10.0.0.1", [], ["for=203.0.113.9, proto=https;for=198.51.100.1"], NEAR, "198.51.100.1"),
        ("10.0.0.1", [], ["for=_hidden"], NEAR, "10.0.0.1"),
        ("10.0.0.1", [], ["for=unknown, for=10.0.0.2"], NEAR, "10.0.0.2"),
        ("10.0.0.1", [], ["proto=https"], NEAR, "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], ["for=198.51.100.1"], NEAR, "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1"], ["for=203.0.113.9"], NEAR, "10.0.0.1"),
        ("not an address", ["198.51.100.1"], [], NEAR, "not an address"),
    ],
)
def test_the_caller_is_the_nearest_address_that_nobody_untrusted_wrote(
    peer: str | None, forwarded_for: list[str], forwarded: list[str], trusted: tuple[str, ...], caller: str
) -> None:
    networks = tuple(ip_network(text) for text in trusted)
    assert caller_address(peer, forwarded_for=forwarded_for, forwarded=forwarded, trusted=networks) == caller
