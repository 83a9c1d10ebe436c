"""Which house rules can be looked at here."""

from __future__ import annotations

import shutil

# systemd judges its unit itself, where it is.
collect_ignore = [] if shutil.which("systemd-analyze") else ["test_systemd.py"]
