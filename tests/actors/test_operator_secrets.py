"""Secrets as operators change them: stored, then in use, then copied, then answered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.access.caller import Author
from medic.access.concealment import Concealer
from medic.access.secrets import Sealed
from medic.app.secrets import OperatorSecrets, sealing_of, secret_remarks
from medic.config.load import load_settings
from medic.errors import DatabaseUnavailableError, InvalidInputError, SecretInUseError, UnknownSecretError
from medic.store.sealing import Sealing
from medic.store.vault import Vault
from tests.fakes.secrets import KEY, OTHER_KEY, MemorySecretStore, NoCopy, secrets_over
from tests.fakes.ticking import HandClock
from tests.fakes.webhooks import MemoryWebhookStore

ANNA = Author("anna")


class Kept:
    """Secrets over fakes, and those fakes."""

    def __init__(self) -> None:
        self.store, self.webhooks, self.copy = MemorySecretStore(HandClock()), MemoryWebhookStore(), NoCopy()
        self.vault = Vault(Sealing(KEY), Concealer())
        self.known_at_changes: list[str | None] = []
        self.secrets: OperatorSecrets = secrets_over(
            self.store, self.webhooks, vault=self.vault, copy=self.copy, changed=self._note_change
        )

    def _note_change(self) -> None:
        self.known_at_changes.append(self.vault.find("a"))


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_what_is_stored_is_in_use_and_in_the_copy_sealed(kept: Kept) -> None:
    shown, is_new = await kept.secrets.put("a", "value-of-a", author=ANNA)
    assert (is_new, shown.is_readable, shown.used_by) == (True, True, ())
    assert kept.vault.find("a") == "value-of-a"
    assert list(kept.copy.kept) == [shown.secret]
    await kept.secrets.delete("a", author=ANNA)
    assert (kept.vault.find("a"), list(kept.copy.kept)) == (None, [])
    with pytest.raises(UnknownSecretError, match="There is no secret a"):
        await kept.secrets.delete("a", author=ANNA)


async def test_whoever_waits_for_a_secret_is_told_of_every_change_once_it_is_known(kept: Kept) -> None:
    await kept.secrets.put("a", "value-of-a", author=ANNA)
    await kept.store.put("a", Sealing(KEY).seal("a", "another-value"), author=ANNA)
    await kept.secrets.follow()
    await kept.secrets.follow()
    await kept.secrets.delete("a", author=ANNA)
    assert kept.known_at_changes == ["value-of-a", "another-value", None]


async def test_what_is_not_stored_is_not_in_use(kept: Kept) -> None:
    kept.store.available = False
    with pytest.raises(DatabaseUnavailableError):
        await kept.secrets.put("a", "value-of-a", author=ANNA)
    assert kept.vault.find("a") is None


async def test_what_was_changed_by_another_way_is_followed(kept: Kept) -> None:
    await kept.secrets.put("a", "value-of-a", author=ANNA)
    await kept.store.put("a", Sealing(KEY).seal("a", "another-value"), author=ANNA)
    await kept.secrets.follow()
    assert kept.vault.find("a") == "another-value"
    assert list(kept.copy.kept) == list(await kept.store.all())
    kept.copy.kept = ()
    await kept.secrets.follow()
    assert kept.copy.kept == (), "nothing was changed, nothing is written"


async def test_a_webhook_holds_on_to_its_secret_once_however_often_it_names_it(kept: Kept) -> None:
    await kept.secrets.put("a", "value-of-a", author=ANNA)
    headers = (("X", "${secrets.a}"), ("Y", "${secrets.a}:${secrets.a}"))
    await kept.webhooks.insert(url="https://x.example", heartbeat_name=None, headers=headers, by=Author("anna"))
    with pytest.raises(SecretInUseError) as refused:
        await kept.secrets.require_unused("a")
    assert refused.value.used_by == ("webhook:1",)
    await kept.secrets.require_unused("b")


async def test_what_texts_refer_to_has_to_be_there(kept: Kept) -> None:
    await kept.secrets.put("a", "value-of-a", author=ANNA)
    kept.secrets.require_known("headers", ["${secrets.a}", "plain"])
    with pytest.raises(InvalidInputError, match="b is not: medic-cli secret set b"):
        kept.secrets.require_known("headers", ["${secrets.a}", "${secrets.b}"])


async def test_a_start_says_what_is_missing_or_cannot_be_opened(kept: Kept) -> None:
    environment = {"MEDIC_SECRETS_KEY": KEY, "PAGERDUTY_ROUTING_KEY": "${secrets.pager}"}
    settings = load_settings(environment)
    assert "PAGERDUTY_ROUTING_KEY refers to the secret pager" in "".join(secret_remarks(settings, kept.vault))
    shown, _ = await kept.secrets.put("pager", "value-of-pager", author=ANNA)
    assert secret_remarks(settings, kept.vault) == ()
    foreign = replace(shown.secret, name="lost", sealed=Sealed("0a1b2c3d", bytes(12), bytes(20)))
    kept.vault.replace_all([shown.secret, foreign])
    assert secret_remarks(settings, kept.vault) == ("secrets that no key opens: lost",)
    without = Vault(None, Concealer())
    without.replace_all([shown.secret])
    assert "MEDIC_SECRETS_KEY opens, which is not set: pager" in secret_remarks(load_settings({}), without)[0]


def test_the_keys_of_an_environment() -> None:
    assert sealing_of(load_settings({})) is None
    both = sealing_of(load_settings({"MEDIC_SECRETS_KEY": OTHER_KEY, "MEDIC_SECRETS_KEY_BEFORE": KEY}))
    assert both is not None
    assert both.key_id == Sealing(OTHER_KEY).key_id
