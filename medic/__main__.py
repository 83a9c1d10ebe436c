"""`python -m medic` is the command `medic`."""

from __future__ import annotations

from medic.cli.medic import main

if __name__ == "__main__":
    main()
