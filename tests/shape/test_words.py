"""One word a thing: the names that DESIGN 7 and STYLE refuse are given to nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.shape.checkout import ROOT, at, listed, names_given, parsed, python_files

REFUSED_WORDS = {
    "ping": "heartbeat",
    "pings": "heartbeats",
    "pulse": "heartbeat",
    "monitor": "service, or Medic",
    "monitors": "services",
    "job": "service",
    "jobs": "services",
    "ttl": "interval, grace or deadline",
    "expiry": "deadline",
    "flip": "transition",
    "bucket": "slot",
    "worker": "actor, writer or host",
    "workers": "actors",
    "registry": "directory",
    "manager": "what it does, by its own word",
    "dispatcher": "outbox",
    "wal": "journal",
    "flusher": "writer",
    "chunk": "batch",
    "chunks": "batches",
    "incident": "alert",
    "incidents": "alerts",
    "nag": "reminder",
    "downtime": "maintenance window",
    "utils": "the true word",
    "util": "the true word",
    "helper": "the true word",
    "helpers": "the true word",
}
"""Refused wherever it is a word of a name. What is refused in one meaning only (state, lock, epoch) is not here."""

REFUSED_NAMES = {"data", "info", "result", "ts", "delta"}
"""Say nothing on their own; `data_dir` says something."""

REFUSED_BEGINNINGS = ("get_", "handle_", "process_", "do_", "manage_")

ALLOWED = {
    "worker_interval_seconds": "WORKER_INTERVAL_SECONDS is a variable of the runbook's",
    "slack_channel_id": "SLACK_CHANNEL_ID is a variable of the runbook's",
}

FOREIGN = {
    "alerting/guard.py": {"handle_async_request": "httpx's method of a transport"},
    "cli/alerts.py": {"get_alert": "the verb is `alerts get`"},
    "cli/service.py": {"get_service": "the verb is `service get`"},
    "http/hypercorn_server.py": {
        "data": "the parameter of trio's SendStream.send_all",
        "do_handshake": "Hypercorn's name for a stream over TLS",
    },
    "http/requests.py": {
        "data": "the parameter of Quart's Body.append",
        "handle_request": "Quart-trio's method",
    },
    "metrics/exposition.py": {"_registry": "prometheus_client's CollectorRegistry"},
    "http/shapes.py": {"result": "a delivery's field in GET /alerts/{alert_id}"},
}
"""Names that others gave, where Medic overrides what is theirs or answers as it promised; by file under medic/."""


def is_foreign(path: Path, name: str) -> bool:
    """Whether somebody else named it."""
    return name in FOREIGN.get(path.relative_to(ROOT / "medic").as_posix(), {})


def words(name: str) -> set[str]:
    """The words of `snake_case` and `CamelCase`, in small letters."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return set(spaced.lower().strip("_").split("_"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("beat_at", {"beat", "at"}),
        ("HeartbeatReceived", {"heartbeat", "received"}),
        ("_SLICE_MOVES", {"slice", "moves"}),
        ("HTTPStatus", {"httpstatus"}),
    ],
)
def test_a_name_is_taken_apart_into_words(name, expected):
    assert words(name) == expected


def test_nothing_is_called_by_a_word_that_stands_for_something_else():
    found = []
    for path in python_files("medic"):
        names = [*names_given(parsed(path)), *((part, 1) for part in path.relative_to(ROOT).with_suffix("").parts)]
        for name, line in names:
            if name.lower() in ALLOWED or is_foreign(path, name):
                continue
            refused = sorted(words(name) & REFUSED_WORDS.keys())
            found += [f"{at(path, line)}: {name}: {word} is {REFUSED_WORDS[word]}" for word in refused]
    assert not found, listed(sorted(set(found)))


def test_names_say_what_they_name():
    found = []
    for path in python_files("medic"):
        for name, line in names_given(parsed(path)):
            plain = name.lower().lstrip("_")
            if (plain in REFUSED_NAMES or plain.startswith(REFUSED_BEGINNINGS)) and not is_foreign(path, name):
                found.append(f"{at(path, line)}: {name}")
    assert not found, listed(found)
