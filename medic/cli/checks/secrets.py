"""Stored secrets, and the tokens that refer to them. Asked of the copy in the data folder."""

from __future__ import annotations

from medic.access.concealment import Concealer
from medic.access.references import UnresolvedReferenceError, resolved
from medic.app.secrets import sealing_of
from medic.cli.checks.finding import Finding, Verdict
from medic.config.secret_rules import references_of
from medic.config.settings import Settings
from medic.store.tables.secret_copy import SecretCopy
from medic.store.vault import Vault


async def look_at_secrets(settings: Settings) -> list[Finding]:
    """Whether all that the settings refer to is stored."""
    if settings.secrets.key is None:
        return []
    missing = [
        Finding("secrets", Verdict.BAD, f"{variable}: there is no secret {name}", f"medic-cli secret set {name}")
        for variable, name in await missing_secrets(settings)
    ]
    stored = len((await open_vault(settings)).all())
    return missing or [Finding("secrets", Verdict.OK, f"{stored} stored, none is missing")]


async def open_vault(settings: Settings) -> Vault:
    """The secrets as this data folder knew them last."""
    vault = Vault(sealing_of(settings), Concealer())
    vault.replace_all(await SecretCopy(settings.storage.folder).read())
    return vault


async def token_of(settings: Settings, text: str) -> str | None:
    """The token with values in place of references; None where one is not there."""
    try:
        return resolved(text, (await open_vault(settings)).find)
    except UnresolvedReferenceError:
        return None


async def missing_secrets(settings: Settings) -> list[tuple[str, str]]:
    """Variables, and the secrets they refer to that are not there."""
    vault = await open_vault(settings)
    return [
        (variable, name)
        for variable, names in references_of(settings).items()
        for name in names
        if vault.find(name) is None
    ]
