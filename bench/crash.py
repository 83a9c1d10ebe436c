"""Faults, one after the other, under load: what was answered 201 is there once, and everybody was told once.

    python -m bench.crash [--quick]

Fifty rounds (quick: five) on one data directory, with clients that write down the run_id of every 201 they got. Each
round picks a moment at random and a fault:

* kill -9 of Medic while it serves, or while it starts; PostgreSQL killed under it before, or not.
* the journal's last bytes, between kill and start: cut, flipped, or followed by the first half of a record.

Cutting and flipping destroy what had been synced, as no crash does. What the last few answers before that kill were
about may therefore be missing, and is counted apart; nothing else may.

Then a small file system that runs full under load (`bench.full_disk`), where mounting is allowed.

Three kinds of services: those that are well all the time and must never be paged for; those that fall silent one after
the other and must be told once each; and one a round that reports DOWN just before the fault and is well after it.
At the end PostgreSQL is asked, by SQL, and the local PagerDuty receiver. Exit status 1 if anything is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Figure, at_most, options, publish
from bench.fleet_seed import Group, name_of, seed
from bench.full_disk import fill_under_load
from bench.paced import Pace, PacedLoad, Plan, recorded
from bench.paging import environment, pagerduty
from bench.served import Medic, end, scratch
from tests.vendors import VendorProcess

ROUNDS, QUICK_ROUNDS = 50, 5
WELL, WELL_INTERVAL_MS = 100, 20_000
RATE = 300
"""Three heartbeats a second for each well service, which promises one in twenty seconds."""

WAITING_MAX = 50
"""Heartbeats of the well that wait for a connection: what is older is not sent, as no client waits for a minute."""

SILENT_A_ROUND = 2
ROUND_MS = 2_000
"""So long Medic serves in a round: deadlines pass in that time only."""

LEAD_MS = 12_000
TAIL_BYTES_MAX = 100
"""Of the journal's end, cut or flipped: two or three heartbeats."""

TAIL_ANSWERS = 24
"""Answers before a kill that may be about those bytes: three records, and what was answered beside them."""

LONGEST_SECONDS = 7_200.0
SETTLE_SECONDS = 60.0
CLOCKS_SECONDS = 1.0
"""Medic finds the beginning of its own absence in a watermark that is at most so old."""

FAULTS = ("kill", "kill", "kill", "kill while starting", "kill PostgreSQL too", "cut", "flip", "half a record")


@dataclass(slots=True)
class Found:
    """What the run came to."""

    rounds: Counter[str] = field(default_factory=Counter)
    destroyed: set[str] = field(default_factory=set)
    starts: list[float] = field(default_factory=list)
    away: list[tuple[float, float]] = field(default_factory=list)

    def awake(self, since: float, until: float) -> float:
        """Seconds between two instants in which Medic served."""
        gone = sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in self.away)
        return until - since - gone


class Run:
    """One Medic through all rounds."""

    def __init__(self, medic: Medic, record: Path, *, rounds: int, seed: int) -> None:
        self.medic = medic
        self.record = record
        self.rounds = rounds
        self.random = random.Random(seed)
        self.found = Found()

    def reporter(self, number: int) -> str:
        """The service that reports in that round."""
        return name_of(WELL + SILENT_A_ROUND * self.rounds + number)

    def insist(self, name: str, status: str) -> None:
        """Send until it is answered 201, as a client that does not give up."""
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                if self.medic.ask("POST", "/heartbeat", {"heartbeat_name": name, "status": status})[0] == 201:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{status} of {name} was not taken within {SETTLE_SECONDS} s")

    def round(self, number: int, fault: str) -> None:
        """One fault, and the start after it."""
        self.found.rounds[fault] += 1
        time.sleep(self.random.uniform(0.2, 2.0))
        if fault == "kill PostgreSQL too" and (postmaster := self.medic.postmaster()) is not None:
            postmaster.kill()
            time.sleep(self.random.uniform(0.0, 1.0))
        self.insist(self.reporter(number), "DOWN")
        time.sleep(self.random.uniform(0.0, 0.3))
        begin = time.time()
        self.medic.kill()
        if fault in {"cut", "flip", "half a record"}:
            self.damage(fault)
        if fault == "kill while starting":
            self.medic.launch()
            time.sleep(self.random.uniform(0.1, 3.0))
            self.medic.kill()
        self.found.starts.append(self.medic.start())
        self.found.away.append((begin, time.time()))
        self.insist(self.reporter(number), "UP")

    def damage(self, fault: str) -> None:
        """Do that to the end of the newest journal file, behind its last byte that is not zero."""
        files = sorted((self.medic.data_dir / "journal").glob("*.journal"))
        written = files[-1].read_bytes().rstrip(b"\0")
        if len(written) < 4 * TAIL_BYTES_MAX:
            return
        size = self.random.randint(1, TAIL_BYTES_MAX)
        with files[-1].open("r+b") as file:
            if fault == "half a record":
                file.seek(len(written))
                file.write(written[-TAIL_BYTES_MAX:][: size // 2 + 1])
                return
            if fault == "cut":
                file.truncate(len(written) - size)
            else:
                file.seek(len(written) - size)
                file.write(bytes([written[-size] ^ (1 << self.random.randrange(8))]))
        self.found.destroyed.update(run_id for run_id, _ in recorded(self.record)[-TAIL_ANSWERS:])


def settle(medic: Medic, expected: int) -> None:
    """Wait until every silent service is late, and told."""
    until = time.monotonic() + SETTLE_SECONDS + (LEAD_MS + expected * ROUND_MS / SILENT_A_ROUND) / 1e3
    while medic.metrics().total("medic_alerts_active") < expected and time.monotonic() < until:
        time.sleep(0.2)
    while medic.metrics().total("medic_notifications_pending") > 0 and time.monotonic() < until:
        time.sleep(0.2)


def stored_heartbeats(medic: Medic, record: Path, found: Found, pace: Pace) -> list[Figure]:
    """Acknowledged and not there; there twice."""
    rows = Counter(medic.sql('SELECT run_id FROM medic."heartbeatEvents" WHERE run_id IS NOT NULL').split())
    acknowledged = [run_id for run_id, _ in recorded(record)]
    missing = [run_id for run_id in acknowledged if run_id not in rows]
    lost = [run_id for run_id in missing if run_id not in found.destroyed]
    twice = [run_id for run_id, count in rows.items() if count > 1]
    ids = int(medic.sql('SELECT count(*) - count(DISTINCT heartbeat_id) FROM medic."heartbeatEvents"'))
    extra = len(rows.keys() - set(acknowledged))
    words = f"{len(acknowledged)} answered 201, {len(rows)} stored, {extra} of them never answered; of those destroyed"
    words += f" by cutting and flipping {len(missing) - len(lost)} are missing; {pace.unanswered} cut off while waiting"
    return [
        at_most("acknowledged heartbeats that are not in PostgreSQL", len(lost), "", 0, words),
        at_most("heartbeats in PostgreSQL twice", len(twice) + ids, "", 0, ", ".join(twice[:5])),
    ]


def wrongly_late(medic: Medic, record: Path, found: Found, until: float) -> Figure:
    """Alerts of services that were answered 201 within their interval, as far as Medic served in it."""
    heard: dict[str, list[float]] = {}
    for run_id, at in recorded(record):
        heard.setdefault(name_of(int(run_id.rpartition("-")[2])), []).append(at)
    wrong, right = [], 0
    for line in medic.sql("SELECT heartbeat_name, extract(epoch FROM created_date) FROM medic.alerts").splitlines():
        name, opened = line.split("|")
        if (at := float(opened)) >= until or name >= name_of(WELL):
            continue
        last = max((one for one in heard.get(name, []) if one <= at), default=0.0)
        if found.awake(last, at) < WELL_INTERVAL_MS / 1e3 - CLOCKS_SECONDS:
            wrong.append(f"{name} heard {at - last:.1f} s before")
        else:
            right += 1
    words = f"{right} more of them were rightly late: their client could not get through"
    return at_most("alerts for services that were well", len(wrong), "", 0, "; ".join([words, *wrong[:5]]))


def alerts(medic: Medic, rounds: int, until: float) -> list[Figure]:
    """Opened once each before that instant, for those that were not well, and for nobody else."""
    ours = f"FROM medic.alerts WHERE created_date < to_timestamp({until})"
    opened = Counter(medic.sql(f"SELECT heartbeat_name {ours}").split())
    active = set(medic.sql(f"SELECT heartbeat_name {ours} AND active = 1").split())
    silent = {name_of(WELL + number) for number in range(SILENT_A_ROUND * rounds)}
    reporters = {name_of(WELL + SILENT_A_ROUND * rounds + number) for number in range(rounds)}
    wrong = [f"{name} {opened[name]}" for name in sorted(silent | reporters) if opened[name] != 1]
    stuck = sorted((reporters & active) | (silent - active))
    twice = medic.sql(
        "SELECT alert_id, kind, target, count(*) FROM medic.notifications"
        " GROUP BY alert_id, kind, target HAVING count(*) > 1"
    )
    pending = medic.sql(
        "SELECT count(*) FROM medic.notifications WHERE outcome = ''"
        f" AND decided_at < to_timestamp({until - WELL_INTERVAL_MS / 1e3})"
    )
    untold = medic.sql(
        f"SELECT alert_id {ours} AND active = 0 AND EXISTS (SELECT FROM medic.notifications told"
        " WHERE told.alert_id = alerts.alert_id) AND NOT EXISTS (SELECT FROM medic.notifications over"
        " WHERE over.alert_id = alerts.alert_id AND over.kind = 'resolve')"
    ).split()
    words = f"{len(silent)} silent services, {len(reporters)} that reported; alerts {sum(opened.values())}"
    return [
        at_most("services without exactly one alert", len(wrong), "", 0, ", ".join([words, *wrong[:5]])),
        at_most("alerts that are open and should not be, or the reverse", len(stuck), "", 0, ", ".join(stuck[:5])),
        at_most("alerts that were told, are closed, and whose end was not decided to be told", len(untold), "", 0),
        at_most("notifications decided twice", len(twice.splitlines()), "", 0, twice[:200]),
        at_most("notifications without an outcome", int(pending), "", 0),
    ]


def told(vendors: VendorProcess, rounds: int, until: float) -> list[Figure]:
    """What PagerDuty was sent before that instant. A request that the kill cut off is no event, and no fault."""
    events = [one for one in vendors.arrivals("pagerduty") if one["at"] < until and one["document"] is not None]
    triggers = [one["document"] for one in events if one["taken"] and one["document"]["event_action"] == "trigger"]
    keys = Counter(document["dedup_key"] for document in triggers)
    alert_ids = Counter(document["payload"]["custom_details"]["alert_id"] for document in triggers)
    faults = [fault for one in events for fault in one["faults"]]
    silent = [name_of(WELL + number) for number in range(SILENT_A_ROUND * rounds)]
    untold = [name for name in silent if not keys[f"medic-{name}"]]
    again = len(triggers) - len(alert_ids)
    words = f"{len(triggers)} triggers, of them {again} sent again by a kill between PagerDuty and the journal"
    return [
        at_most("silent services that nobody was told of", len(untold), "", 0, ", ".join([words, *untold[:5]])),
        at_most("faults in what PagerDuty was sent", len(faults), "", 0, "; ".join(faults[:3])),
    ]


def measure(place: Path, faults: Sequence[str], drawn: int) -> tuple[list[Figure], dict[str, object]]:
    """A round for each fault, and what they came to; `drawn` is the seed of the moments and places."""
    rounds = len(faults)
    silent, record = SILENT_A_ROUND * rounds, place / "answered"
    record.touch()
    seed(
        place / "data",
        Group(first=0, count=WELL, interval_ms=WELL_INTERVAL_MS),
        Group(first=WELL, count=silent, interval_ms=LEAD_MS, step_ms=ROUND_MS // SILENT_A_ROUND),
        Group(first=WELL + silent, count=rounds),
    )
    with pagerduty(place) as vendors:
        medic = Medic(place / "data", MEDIC_RENOTIFY_MINUTES="0", **environment(vendors))
        run = Run(medic, record, rounds=rounds, seed=drawn)
        try:
            medic.start()
            load = PacedLoad(
                Plan(
                    port=medic.port,
                    segments=[(LONGEST_SECONDS, RATE)],
                    services=WELL,
                    connections=16,
                    record=str(record),
                    waiting_max=WAITING_MAX,
                )
            )
            for number, fault in enumerate(faults):
                run.round(number, fault)
                print(f"round {number + 1} of {rounds}: ready after {run.found.starts[-1]:.1f} s", file=sys.stderr)
            settle(medic, silent)
            # The well services fall silent with the load: what is said of them an interval later is right.
            until = time.time() + WELL_INTERVAL_MS / 2e3
            pace = load.end()
            medic.wait_written(SETTLE_SECONDS)
            figures = stored_heartbeats(medic, record, run.found, pace)
            figures.append(wrongly_late(medic, record, run.found, until))
            figures += alerts(medic, rounds, until) + told(vendors, rounds, until)
        except BaseException:
            print(f"seed {drawn}; medic printed last:\n{medic.output()[-3000:]}", file=sys.stderr)
            raise
        finally:
            end(medic)
    facts: dict[str, object] = {"seed": drawn, "faults": dict(run.found.rounds), "answers": pace.answered}
    facts["slowest_start_seconds"] = round(max(run.found.starts), 2)
    return figures, facts


def main() -> None:
    """Run all of it, print the counts, and end with 1 if anything is wrong."""
    quick = options(__doc__)
    drawn = random.randrange(1 << 30)
    faults = random.Random(drawn).choices(FAULTS, k=QUICK_ROUNDS if quick else ROUNDS)
    with scratch() as place:
        os.chmod(place, 0o755)  # noqa: PTH101 - PostgreSQL, as another account, has to come through
        figures, facts = measure(place, faults, drawn)
        figures += fill_under_load(place, quick=quick)
    publish("crash", figures, quick=quick, **facts)
    print(json.dumps({"faults": facts["faults"]}))
    sys.exit(any(not figure.met for figure in figures))


if __name__ == "__main__":
    main()
