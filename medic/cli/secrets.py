"""`medic secrets rotate`: every stored secret sealed with the newest key, also beside a Medic that runs.

The steps of a rotation, none of which a page waits for: set a new `MEDIC_SECRETS_KEY` and the old one as
`MEDIC_SECRETS_KEY_BEFORE`; start Medic anew, which opens with both and seals with the new one; run this with the same
environment; unset the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from medic.access.caller import Author
from medic.access.secrets import KEY_LINE, Rotation
from medic.actors.clock import SightedClock
from medic.app.secrets import sealing_of
from medic.cli.migration import open_target
from medic.config.settings import Settings
from medic.core.units import SightedMs
from medic.errors import ConfigurationError, Fault
from medic.store.directory_lock import DirectoryLock
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import open_database
from medic.store.postgres.migrate import migrate
from medic.store.tables.secret_copy import SecretCopy
from medic.store.tables.secrets import PgSecretStore

AUTHOR: Final = Author("medic secrets rotate")


async def rotate_secrets(settings: Settings, announce: Callable[[str], None]) -> Rotation:
    """Seal all secrets anew in one transaction, and say how many.

    Raises:
        ConfigurationError, DatabaseUnavailableError: it cannot be done; the sentence says why.
    """
    sealing = sealing_of(settings)
    if sealing is None:
        sentence = f"is missing: it is what secrets are sealed with. Set {KEY_LINE}"
        raise ConfigurationError((Fault("MEDIC_SECRETS_KEY", sentence),))
    async with (
        open_bridge() as bridge,
        open_target(settings, bridge) as target,
        open_database(target, connections_max=1, bridge=bridge) as database,
    ):
        await migrate(database)
        store = PgSecretStore(database, SightedClock(resume_at=SightedMs(0)))
        rotation = await store.rotate(sealing.reseal, sealing.key_id, author=AUTHOR)
        await _renew_copy(settings, store)
    _say(rotation, sealing.key_id, announce)
    return rotation


async def _renew_copy(settings: Settings, store: PgSecretStore) -> None:
    """Without a Medic that runs there, nobody else brings the copy in the data directory up to the new key."""
    folder = settings.storage.folder
    if not folder.exists():
        return
    try:
        with DirectoryLock(folder):
            await SecretCopy(folder).write(await store.all())
    except ConfigurationError:
        # A Medic runs there: PostgreSQL tells it, and it writes the copy itself.
        await trio.lowlevel.checkpoint()


def _say(rotation: Rotation, key_id: str, announce: Callable[[str], None]) -> None:
    count = len(rotation.rotated)
    announce(f"{count} {'secret' if count == 1 else 'secrets'} sealed anew with the key {key_id}.")
    if rotation.already:
        announce(f"{rotation.already} had been before.")
    for name, unknown in rotation.unknown:
        announce(f"{name} stays as it is: it was sealed with the key {unknown}, which is not set.")
    if not rotation.unknown:
        announce("MEDIC_SECRETS_KEY_BEFORE is needed no more.")
