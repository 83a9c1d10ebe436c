"""`medic`, and `python -m medic`: the command, once SIGTERM is taken care of. Its imports take half a second."""

from __future__ import annotations

import sys
from typing import Final

from medic.app import sigterm

SERVERS: Final = ("serve",)
"""Commands that run until they are told to stop, so that being told so before they began is an orderly end as well."""


def main() -> None:
    """Run the command line and end with its exit status."""
    if sys.argv[1:2] and sys.argv[1] in SERVERS:
        sigterm.end_at_once()
    from medic.cli.medic import main as run_command  # noqa: PLC0415 - see above

    run_command()


if __name__ == "__main__":
    main()
