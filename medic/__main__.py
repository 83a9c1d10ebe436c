"""`medic`, and `python -m medic`: the command, once signals are taken care of. Its imports take half a second."""

from __future__ import annotations

import sys
from typing import Final

from medic.app import sigterm

SERVERS: Final = ("serve", "watch")
"""Commands that run until they are told to stop, so that being told so before they began is an orderly end as well."""

INTERRUPTED: Final = 130
"""`medic.cli.ending.EXIT_INTERRUPTED`, which cannot be imported yet."""


def main() -> None:
    """Run the command line and end with its exit status."""
    if any(word in SERVERS for word in sys.argv[1:2]):
        sigterm.end_at_once()
    try:
        from medic.cli.medic import main as run_command  # noqa: PLC0415 - see above
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    run_command()


if __name__ == "__main__":
    main()
