"""Which addresses are public, judged by what they are in the end."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from medic.access.ranges import SPECIAL_RANGES, address_in, forms_of, special_range_of


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2400:cb00::1",
        "3ffe::1",
    ],
)
def test_a_place_of_the_public_internet_is_in_no_special_range(text):
    assert special_range_of(ip_address(text)) is None


@pytest.mark.parametrize("special", SPECIAL_RANGES, ids=lambda special: str(special.network))
def test_both_ends_of_each_range_are_in_it_or_in_one_that_is_never_opened(special):
    for address in (special.network[0], special.network[-1]):
        found = special_range_of(address)
        assert found is not None
        assert found == special or not found.opens or found.network.prefixlen > special.network.prefixlen


@pytest.mark.parametrize("text", ["4000::1", "1fff::1", "e000::1", "8000::", "::2:0:0:0", "200::1"])
def test_what_was_given_to_nobody_is_reserved(text):
    special = special_range_of(ip_address(text))
    assert (special.words, special.opens) == ("reserved", False)


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("8.8.8.8", ["8.8.8.8"]),
        ("::ffff:10.0.0.1", ["10.0.0.1"]),
        ("::ffff:7f00:1", ["127.0.0.1"]),
        ("::ffff:0:10.0.0.1", ["10.0.0.1"]),
        ("::192.168.0.1", ["192.168.0.1"]),
        ("::", ["::"]),
        ("::1", ["::1"]),
        ("::2", ["0.0.0.2"]),
        ("64:ff9b::169.254.169.254", ["169.254.169.254"]),
        ("64:ff9b:1::169.254.169.254", ["64:ff9b:1::a9fe:a9fe"]),
        ("2002:7f00:1::", ["127.0.0.1"]),
        ("2002:0a01:0203:ffff::1", ["10.1.2.3"]),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", ["65.54.227.120", "192.0.2.45"]),
        ("fe80::1%eth0", ["fe80::1"]),
        ("2606:4700::1111", ["2606:4700::1111"]),
    ],
)
def test_an_address_is_judged_by_the_one_within_it(text, forms):
    assert [str(form) for form in forms_of(ip_address(text))] == forms


def test_a_name_is_no_address():
    assert address_in("example.com") is None
    assert str(address_in("::1")) == "::1"
