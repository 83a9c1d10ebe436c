"""The vendors in a process of their own, for e2e tests: they share no interpreter with the test that times them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.patience import PATIENCE_SECONDS
from tests.vendors.behaviour import Behaviour, as_json

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.01


class VendorProcess:
    """`python -m tests.vendors`, a context manager.

    Attributes:
        environment: Variables that point Medic at these vendors.
        webhook_url: Address to register as a webhook.
    """

    def __init__(self, directory: Path) -> None:
        self._port_file = directory / "vendors.json"
        self._child: subprocess.Popen[str] | None = None
        self._control = ""
        self.environment: dict[str, str] = {}
        self.webhook_url = ""

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.vendors", "--port-file", str(self._port_file)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise AssertionError(f"the vendors ended with {self._child.wait()}")
        ports = json.loads(line)
        self._control = ports["control"]
        self.webhook_url = ports["webhook"]
        self.environment = {
            "MEDIC_ALLOWED_WEBHOOK_HOSTS": "127.0.0.1",
            "PAGERDUTY_EVENTS_URL": ports["pagerduty"],
            "PAGERDUTY_ROUTING_KEY": ports["routing_key"],
            "SLACK_API_URL": ports["slack"],
            "SLACK_API_TOKEN": ports["token"],
            "SLACK_CHANNEL_ID": ports["channel"],
        }
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._child is not None
        self._child.terminate()
        self._child.wait(PATIENCE_SECONDS)
        if self._child.stdout is not None:
            self._child.stdout.close()

    def snapshot(self, vendor: str) -> dict[str, Any]:
        """Everything `pagerduty`, `slack` or `webhook` knows."""
        return self._ask("GET", f"/{vendor}")

    def arrivals(self, vendor: str) -> list[dict[str, Any]]:
        """What arrived there, in order; `at` is wall time in seconds."""
        return list(self.snapshot(vendor)["arrivals"])

    def taken(self, vendor: str) -> list[dict[str, Any]]:
        """The arrivals that the vendor acts on."""
        return [arrival for arrival in self.arrivals(vendor) if arrival["taken"]]

    def faults(self) -> list[str]:
        """Everything that any vendor's documentation does not allow about what arrived."""
        return [
            f"{vendor}: {fault}"
            for vendor in ("pagerduty", "slack", "webhook")
            for arrival in self.arrivals(vendor)
            for fault in arrival["faults"]
        ]

    def wait_for(self, vendor: str, count: int, *, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        """The first `count` requests that the vendor took, or more.

        Raises:
            AssertionError: there were fewer within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            taken = self.taken(vendor)
            if len(taken) >= count:
                return taken
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{vendor} took {len(taken)} of {count} within {seconds} s: {self.arrivals(vendor)}"
                )
            time.sleep(POLL_SECONDS)

    def behave(self, vendor: str, behaviour: Behaviour, *, times: int | None = None, containing: str = "") -> None:
        """As `VendorServer.behave`."""
        self._ask("POST", f"/{vendor}/behave", {**as_json(behaviour), "times": times, "containing": containing})

    def limit(self, vendor: str, per_second: int | None) -> None:
        """As `VendorServer.limit`."""
        self._ask("POST", f"/{vendor}/limit", {"per_second": per_second})

    def order(self, vendor: str, verb: str) -> None:
        """`clear`, `release`, `refuse_connections` or `accept_connections`."""
        self._ask("POST", f"/{vendor}/{verb}", {})

    def _ask(self, method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            self._control + path, method=method, data=None if document is None else json.dumps(document).encode()
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
