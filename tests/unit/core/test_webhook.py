from __future__ import annotations

from medic.core.units import InstantMs
from medic.core.webhook import Webhook


def test_a_request_is_signed_with_the_secret_before_until_its_end_and_not_beyond():
    webhook = Webhook(7, "https://a.example", secret="new", former_secret="old", former_until=InstantMs(100))
    assert webhook.secrets_at(InstantMs(99)) == ("new", "old")
    assert webhook.secrets_at(InstantMs(100)) == ("new",)
    assert Webhook(7, "https://a.example", secret="new").secrets_at(InstantMs(1)) == ("new",)
    assert Webhook(7, "https://a.example").secrets_at(InstantMs(1)) == ()


def test_no_secret_is_in_its_text():
    text = repr(Webhook(7, "https://a.example", secret="geheim", former_secret="geheimer"))
    assert "geheim" not in text
    assert Webhook(7, "").target == "webhook:7"
