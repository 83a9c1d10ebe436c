"""The table of refusals covers every error there is, and says nothing of what is inside."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from medic import errors
from medic.core.units import EventId, InstantMs
from medic.errors import Fault, MedicError
from medic.http.refusals import refuse, refuse_framework, status_of

CASES: list[tuple[MedicError, int]] = [
    (errors.InvalidInputError((Fault("x", "must be y"),)), 400),
    (errors.RefusedError("no"), 400),
    (errors.InactiveServiceError("job", InstantMs(0), "ann"), 400),
    (errors.UnknownServiceError("job"), 404),
    (errors.UnknownAlertError(EventId(1)), 404),
    (errors.UnknownWebhookError(1), 404),
    (errors.AlertClosedError(EventId(1)), 409),
    (errors.OverloadedError("wait", retry_after_seconds=7), 503),
    (errors.ActorBusyError("wait"), 503),
    (errors.MailboxFullError("wait"), 503),
    (errors.JournalRefusedError("wait"), 503),
    (errors.UnavailableError("host=secret"), 503),
    (errors.DatabaseUnavailableError("host=secret"), 503),
    (errors.OvertakenError(7), 503),
    (errors.InvariantError("secret"), 500),
    (errors.ConfigurationError((Fault("X", "secret"),)), 500),
    (errors.MedicError("secret"), 500),
]


def kinds(of: type[MedicError]) -> Iterator[type[MedicError]]:
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


@pytest.mark.parametrize(("error", "status"), CASES, ids=lambda case: type(case).__name__)
def test_each_error_has_its_status_and_its_json(error: MedicError, status: int) -> None:
    answer = refuse(error)
    assert answer.status == status
    body = json.loads(answer.body)
    assert (body["success"], body["results"]) == (False, "")
    assert "secret" not in body["message"]
    assert (dict(answer.headers).get("Retry-After") is not None) == (status == 503)


def test_faults_are_named_by_field() -> None:
    body = json.loads(refuse(CASES[0][0]).body)
    assert body["errors"] == [{"field": "x", "message": "must be y"}]
    assert "errors" not in json.loads(refuse(CASES[1][0]).body)


def test_retry_after_is_the_errors_own() -> None:
    assert dict(refuse(CASES[7][0]).headers) == {"Retry-After": "7"}


def test_every_error_of_the_tree_is_tried_here() -> None:
    ours = {kind for kind in kinds(MedicError) if kind.__module__ == errors.__name__}
    tried = {type(error) for error, _ in CASES}
    untried = {kind for kind in ours - tried if not any(issubclass(kind, known) for known in tried - {MedicError})}
    assert untried == set()
    assert all(400 <= status_of(error) < 600 for error, _ in CASES)


@pytest.mark.parametrize("status", [400, 404, 405, 408, 413, 418, 500, 502])
def test_what_quart_refuses_is_refused_in_our_words(status: int) -> None:
    answer = refuse_framework(status, path="/service", limit=5)
    body = json.loads(answer.body)
    assert (answer.status, body["success"], body["results"]) == (status, False, "")
    assert body["message"].endswith(".")
