"""`medic env`: exports with which psql and pg_dump reach the database in use, quoted for a POSIX shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Final

from medic.config.folder import require_sight
from medic.config.settings import Settings
from medic.store.embedded.cluster import embedded_target
from medic.store.embedded.server import running_target
from medic.store.postgres.target import ConnectionTarget

SECRET_VARIABLES: Final = frozenset({"PG_PASS", "PGPASSWORD"})


def database_in_use(settings: Settings) -> tuple[ConnectionTarget, bool]:
    """Where the database is, and whether it can be expected to run: of an embedded one that is known.

    Raises:
        ConfigurationError: it is an embedded one in a folder that this user may not look into.
    """
    if settings.database.target is not None:
        return settings.database.target, True
    require_sight(settings.storage.folder)
    running = running_target(settings.storage.folder)
    return (embedded_target(settings.storage.folder), False) if running is None else (running, True)


def exports(variables: Mapping[str, str], *, show_secrets: bool) -> Iterator[str]:
    """Lines for `eval`. Without `show_secrets` a comment stands in place of a password."""
    for name, value in variables.items():
        if name in SECRET_VARIABLES and not show_secrets:
            yield f'# {name} is not shown on a terminal: eval "$(medic env)" sets it'
        else:
            yield f"export {name}={shlex.quote(value)}"
