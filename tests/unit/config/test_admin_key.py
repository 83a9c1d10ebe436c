"""`MEDIC_ADMIN_API_KEY` is of anybody's own making."""

from __future__ import annotations

from medic.config.load import load_settings
from tests.unit.config.test_load import faults


def test_the_admin_key_is_of_anybodys_own_making_and_long_enough() -> None:
    for text in ("x" * 32, "words with spaces, and: marks!   ä", "mdk_" + "x" * 28):
        admin_key = load_settings({"MEDIC_ADMIN_API_KEY": text}).admin_key
        assert admin_key is not None
        assert admin_key.get_secret_value() == text
    for text in ("x" * 31, " " + "x" * 40, "x" * 40 + "\t", "x" * 20 + "\n" + "x" * 20):
        assert "at least 32 printable characters" in faults(MEDIC_ADMIN_API_KEY=text)["MEDIC_ADMIN_API_KEY"]
    assert load_settings({}).admin_key is None
