"""The entries of MEDIC_ALLOWED_WEBHOOK_HOSTS, and what they open."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from medic.access.allowlist import (
    METADATA_NAMES,
    PORTS_OF_OTHERS,
    AllowedHost,
    Place,
    judge,
    judge_all,
    judge_place,
    read_entry,
)

PUBLIC = "93.184.215.14"
NAME = Place("hooks.example.com", 443)


def verdict(place: Place, address: str, *entries: str) -> bool:
    """Whether a request to this place may go to this address."""
    allowlist = tuple(read_entry(entry) for entry in entries)
    return judge_place(place, allowlist) is None and judge(place, ip_address(address), allowlist) is None


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("Hooks.Example.com", AllowedHost("hooks.example.com")),
        ("hooks.example.com.", AllowedHost("hooks.example.com")),
        ("hooks.example.com:8443", AllowedHost("hooks.example.com", port=8443)),
        ("*.example.com", AllowedHost("example.com", below=True)),
        ("*.example.com:443", AllowedHost("example.com", below=True, port=443)),
        ("localhost", AllowedHost("localhost")),
        ("10.1.2.3", AllowedHost(network=ip_network("10.1.2.3"))),
        ("10.1.2.3:80", AllowedHost(network=ip_network("10.1.2.3"), port=80)),
        ("::1", AllowedHost(network=ip_network("::1"))),
        ("[::1]", AllowedHost(network=ip_network("::1"))),
        ("[2001:DB8:0::1]:8080", AllowedHost(network=ip_network("2001:db8::1"), port=8080)),
        ("[::ffff:10.1.2.3]:80", AllowedHost(network=ip_network("10.1.2.3"), port=80)),
        ("10.0.0.0/8", AllowedHost(network=ip_network("10.0.0.0/8"))),
        ("fd00::/8", AllowedHost(network=ip_network("fd00::/8"))),
    ],
)
def test_an_entry_is_read(text, entry):
    assert read_entry(text) == entry


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        "*",
        "*.",
        "*.*.com",
        "a.*.com",
        "*example.com",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "x/8",
        "host:",
        "host:0",
        "host:65536",
        "host:0000801234",
        "host:99999999999",
        "host:x",
        "host:８０",
        "[host]",
        "[::1",
        "[::1]x",
        "http://host",
        "a..b",
        "-a.com",
        "2130706433",
        "0x7f.1",
        "127.1",
        "*.127.0.0.1",
        "*.10",
        "user@host",
        "a" * 64,
        "",
        ":80",
    ],
)
def test_what_is_no_entry_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - ipaddress' own, or ours; the variable says what is allowed
        read_entry(text)


def test_unset_it_is_every_public_address_and_no_other():
    assert verdict(NAME, PUBLIC)
    assert verdict(NAME, "2606:4700::1111")
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "0.0.0.0", "224.0.0.1"):
        assert not verdict(NAME, address)


def test_set_it_is_these_hosts_and_no_other():
    assert verdict(NAME, PUBLIC, "other.example", "HOOKS.example.com")
    assert not verdict(NAME, PUBLIC, "other.example")
    assert not verdict(NAME, PUBLIC, "example.com")
    assert not verdict(Place(PUBLIC, 443), PUBLIC, "hooks.example.com")


def test_a_port_in_an_entry_is_the_only_one():
    assert verdict(NAME, PUBLIC, "hooks.example.com:443")
    assert not verdict(NAME, PUBLIC, "hooks.example.com:8443")
    assert verdict(Place("hooks.example.com", 6379), PUBLIC, "hooks.example.com:6379")
    assert not verdict(Place("hooks.example.com", 6379), PUBLIC, "hooks.example.com")


def test_a_star_means_every_name_below_at_public_addresses():
    assert verdict(NAME, PUBLIC, "*.example.com")
    assert verdict(Place("a.b.example.com", 443), PUBLIC, "*.example.com")
    assert not verdict(Place("example.com", 443), PUBLIC, "*.example.com")
    assert not verdict(Place("evilexample.com", 443), PUBLIC, "*.example.com")
    assert not verdict(NAME, "10.0.0.1", "*.example.com")
    assert verdict(NAME, "10.0.0.1", "*.example.com", "10.0.0.0/24")


def test_a_network_means_its_addresses_whatever_name_led_there():
    assert verdict(NAME, PUBLIC, "93.184.0.0/16")
    assert verdict(Place(PUBLIC, 443), PUBLIC, "93.184.0.0/16")
    assert not verdict(NAME, "93.185.0.1", "93.184.0.0/16")
    assert not verdict(NAME, "2606:4700::1111", "93.184.0.0/16")
    assert verdict(NAME, "fd12::1", "fd00::/8")


def test_a_private_address_is_opened_by_what_names_it():
    inside = Place("ci.corp", 80)
    for entry in ("10.1.2.3", "10.1.2.3:80", "[::ffff:10.1.2.3]:80", "10.0.0.0/8", "10.1.2.3/32"):
        assert verdict(inside, "10.1.2.3", entry)
        assert verdict(inside, "10.1.2.3", entry, "ci.corp")
        assert verdict(inside, "::ffff:10.1.2.3", entry)
        assert verdict(Place("10.1.2.3", 80), "10.1.2.3", entry)
    # These hold the address and do not name its range.
    for entry in ("0.0.0.0/0", "10.0.0.0/7", "*.corp"):
        assert not verdict(inside, "10.1.2.3", entry)
    assert not verdict(inside, "10.1.2.3", "127.0.0.0/8", "10.1.2.4", "10.1.2.3:81")
    assert verdict(Place("127.0.0.1", 8080), "127.0.0.1", "127.0.0.1:8080")


@pytest.mark.parametrize("entry", ["hooks.example.com", "hooks.example.com:443", "*.example.com"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.5", "169.254.1.1", "fd12::1", "::ffff:127.0.0.1"])
def test_a_name_opens_no_private_address_for_its_owner_may_lead_it_anywhere(entry, address):
    assert verdict(NAME, PUBLIC, entry)
    assert not verdict(NAME, address, entry)


def test_an_address_means_itself_whatever_name_led_there():
    local = Place("localhost", 8080)
    for address in ("127.0.0.1", "::1"):
        assert verdict(local, address, "127.0.0.1", "::1")
        assert verdict(local, address, "127.0.0.1:8080", "[::1]:8080")
        assert not verdict(local, address, "127.0.0.1:8081", "[::1]:8081")
        assert not verdict(local, address, "localhost")
    assert verdict(NAME, PUBLIC, PUBLIC)


def test_an_address_with_a_port_opens_even_a_port_of_another_protocol():
    assert verdict(Place("127.0.0.1", 6379), "127.0.0.1", "127.0.0.1:6379")
    assert not verdict(Place("127.0.0.1", 6379), "127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "100.100.100.200",
        "fd00:ec2::254",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "0.0.0.0",
        "::",
        "255.255.255.255",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
    ],
)
def test_metadata_services_and_what_is_no_place_are_never_opened(address):
    lists = (
        ["0.0.0.0/0", "::/0"],
        [address],
        [f"{address}/{ip_address(address).max_prefixlen}"],
        ["hooks.example.com"],
    )
    for entries in lists:
        assert not verdict(NAME, address, *entries)
        assert not verdict(Place(address, 80), address, *entries)


@pytest.mark.parametrize("name", sorted(METADATA_NAMES))
def test_names_of_metadata_services_are_not_even_looked_up(name):
    assert judge_place(Place(name, 80), ()) == "must not name a metadata service"
    assert judge_place(Place(name, 80), (AllowedHost(name),)) == "must not name a metadata service"


@pytest.mark.parametrize("port", [0, -1, 65_536, *sorted(PORTS_OF_OTHERS)])
def test_a_port_of_another_protocol_is_none(port):
    assert "port" in judge_place(Place("hooks.example.com", port), ())


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "a.0x",
        "127.0.0.1.5",
        "1",
        "a.b.9",
        "a..b",
        "a b",
        "127%2e0.0.1",
        "a\\b",
        "-",
        "",
        ".",
        "a_b.-c",
        "ex ample.com",
        "ünicode.example",
        "fe80::1%eth0",
        "x" * 64,
    ],
)
def test_a_host_that_can_be_read_in_two_ways_is_refused(host):
    assert judge_place(Place(host, 80), ()) is not None


def test_what_nobody_listed_is_not_looked_up_unless_a_network_may_hold_it():
    assert judge_place(NAME, (AllowedHost("other.example"),)) == "must name a host of MEDIC_ALLOWED_WEBHOOK_HOSTS"
    assert judge_place(NAME, (AllowedHost(network=ip_network("93.184.0.0/16")),)) is None


def test_one_refused_address_refuses_the_name():
    addresses = [ip_address(PUBLIC), ip_address("127.0.0.1")]
    assert "loopback" in judge_all(NAME, addresses, ())
    assert judge_all(NAME, addresses[:1], ()) is None
    assert "loopback" in judge_all(NAME, addresses, (AllowedHost("hooks.example.com"),))
    assert judge_all(NAME, addresses, (AllowedHost("hooks.example.com"), read_entry("127.0.0.1"))) is None
