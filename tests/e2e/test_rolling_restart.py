"""Both Medics of one database restarted one after the other, while clients send without a pause."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
from collections.abc import Sequence

from tests.e2e.pages import pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.vendors import VendorProcess

CLIENTS = 4

INTERVAL_SECONDS = 20.0
"""Longer than a busy machine keeps a client waiting, and no longer than two takeovers may take together."""

PAUSE_SECONDS = 0.02
"""Before a client tries the other Medic."""

LEAST = 20
"""So many heartbeats each client has to get answered between two steps."""

WRITTEN = """SELECT run_id, count(*) FROM medic."heartbeatEvents" GROUP BY run_id"""


class Client(threading.Thread):
    """Sends heartbeats of one service to whichever Medic takes them, each under a name of its own, and notes the 201s.

    What gets another answer, or none, is sent again under another name: so each name was answered 201 or is not known.
    """

    def __init__(self, name: str, medics: Sequence[MedicProcess]) -> None:
        super().__init__(name=name, daemon=True)
        self.taken: list[str] = []
        self._medics = itertools.cycle(medics)
        self._over = threading.Event()

    def run(self) -> None:
        names = (f"{self.name}-{number}" for number in itertools.count())
        while not self._over.wait(PAUSE_SECONDS):
            connection = http.client.HTTPConnection("127.0.0.1", next(self._medics).port, timeout=PATIENCE_SECONDS)
            # It goes on with a Medic for as long as that one takes what it sends.
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                while not self._over.is_set() and self._send(connection, next(names)):
                    pass

    def _send(self, connection: http.client.HTTPConnection, run_id: str) -> bool:
        body = {"heartbeat_name": self.name, "service_name": "", "status": "UP", "run_id": run_id}
        connection.request("POST", "/heartbeat", json.dumps(body))
        answer = connection.getresponse()
        answer.read()
        if answer.status == 201:
            self.taken.append(run_id)
        return answer.status == 201

    def end(self) -> None:
        """Send no more; returns once the last answer has come."""
        self._over.set()
        self.join(PATIENCE_SECONDS)


def test_a_rolling_restart_loses_no_heartbeat_that_was_taken_and_pages_nobody(
    vendors: VendorProcess, postgres: PostgresProcess, pair: tuple[MedicProcess, MedicProcess]
) -> None:
    first, second = pair
    clients = [Client(f"client-{number}", pair) for number in range(CLIENTS)]
    for client in clients:
        assert first.register(client.name, seconds=INTERVAL_SECONDS).status == 201
    for client in clients:
        client.start()

    def send_on() -> None:
        """Return once every client has got further answers."""
        counts = [len(client.taken) + LEAST for client in clients]
        first.wait_for(lambda: all(len(client.taken) >= count for client, count in zip(clients, counts, strict=True)))

    send_on()
    # As `kubectl rollout restart` of both: the other one takes over each time, and the new one stands by.
    for active, other in ((first, second), (second, first)):
        assert active.stop() == 0, active.output()
        other.wait_answer("/health/ready", 200)
        send_on()
        active.launch().wait_answer("/health/live", 200)
        assert active.get("/health/ready").status == 503
    for client in clients:
        client.end()
    assert first.stop() == 0, first.output()
    assert second.stop() == 0, second.output()

    rows = (line.rpartition("|") for line in postgres.ask(WRITTEN).splitlines())
    written = {run_id: int(count) for run_id, _, count in rows}
    taken = [run_id for client in clients for run_id in client.taken]
    assert len(set(taken)) == len(taken) >= 3 * CLIENTS * LEAST
    assert [run_id for run_id in taken if written.get(run_id) != 1] == []
    assert set(written.values()) == {1}
    assert pages(vendors, "trigger") == []
