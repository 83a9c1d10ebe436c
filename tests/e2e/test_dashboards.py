"""Every question of the dashboard and the rules is answered by what a loaded Medic says, and by the real Prometheus.

One Medic for all of it, with keys, Redis, a PagerDuty that takes and a Slack that refuses, and services in each status.
Prometheus scrapes it as `docs/operations.md` has it, but for the addresses and more often.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.process import Answer, MedicProcess, free_port
from tests.prometheus import PrometheusProcess
from tests.questions import (
    RULES,
    Question,
    documented_configuration,
    labels_named,
    matches,
    panel_questions,
    rule_questions,
    selectors,
)
from tests.redis_server import RedisServer
from tests.vendors import Refuse, VendorProcess

ADMIN = "an-admin-key-of-more-than-32-characters"
SERVICES = 12
"""So many are reported down: more than the critical threshold of open alerts."""

QUESTIONS = [*panel_questions(), *rule_questions()]
ADDED_BY_PROMETHEUS = ("job", "instance")

SURE_TO_FIRE = {
    ("MedicAlertsOpen", "warning"),
    ("MedicAlertsOpen", "critical"),
    ("MedicAlertsUntold", "critical"),
    ("MedicNotifierFailing", "warning"),
    ("MedicHeartbeatsUnknown", "warning"),
}
"""What is wrong with this Medic. What else the machine may make Prometheus say, a full disk say, is not asked."""


class KeyedMedic(MedicProcess):
    """A Medic whose callers show the operators' key."""

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        return super().request(method, path, body, **{"Authorization": f"Bearer {ADMIN}", **headers})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboards")


@pytest.fixture(scope="module")
def medic(folder: Path, first_data_dir: Path) -> Iterator[MedicProcess]:
    """A Medic to which everything has happened that a panel shows."""
    subprocess.run(["cp", "-a", first_data_dir, folder / "data"], check=True)
    redis = RedisServer(folder)
    with VendorProcess(folder) as vendors:
        vendors.behave("slack", Refuse(200, error="invalid_auth"))
        redis.start()
        medic = KeyedMedic(
            folder / "data",
            **vendors.environment,
            MEDIC_AUTH="keys",
            MEDIC_ADMIN_API_KEY=ADMIN,
            REDIS_URL=redis.url,
            MEDIC_DEADMAN_URL=vendors.webhook_url,
        )
        words = [sys.executable, "-m", "medic", "cleanup"]
        subprocess.run(words, env=medic.environment, cwd=folder, capture_output=True, check=True)
        try:
            load(medic.start())
            yield medic
            assert medic.stop() == 0, medic.output()
        finally:
            medic.end()
            redis.stop()


def load(medic: MedicProcess) -> None:
    """Services in each status, heartbeats of each kind, alerts that were told, refused and closed."""
    for number in range(SERVICES):
        medic.register(f"down-{number}", seconds=600, team="pay", priority="p1")
        medic.beat(f"down-{number}", "DOWN")
    for name in ("up", "degraded", "new", 'a "quoted" \\ name', "late", "muted", "inactive", "well-again"):
        medic.register(name, seconds=1 if name == "late" else 600)
    medic.post("/service/muted", {"muted": 1})
    medic.post("/service/inactive", {"active": 0})
    for name, *statuses in (("up", "UP", "as it likes"), ("degraded", "DEGRADED"), ("well-again", "DOWN", "UP")):
        for status in statuses:
            assert medic.beat(name, status).status == 201
    assert medic.beat("nobody").status == 404
    assert medic.request("GET", "/service", Authorization="Bearer wrong").status == 401
    assert medic.request("POST", "/v2/secrets", {"name": "token", "value": "no key seals it"}).status == 503
    medic.results("/heartbeat?heartbeat_name=up")
    medic.wait_for(lambda: "medic_alerts_untold 0.0" not in (text := scraped(medic)) and "medic_alerts_untold " in text)
    medic.wait_for(lambda: 'medic_services{status="late"} 1.0' in scraped(medic))


def scraped(medic: MedicProcess, path: str = "/metrics") -> str:
    """What Medic says, as Prometheus reads it."""
    answer = medic.get(path)
    assert answer.status == 200
    return answer.body.decode()


@pytest.fixture(scope="module")
def samples(medic: MedicProcess) -> list[tuple[str, Mapping[str, str]]]:
    """Names and labels of everything that Medic says."""
    medic.wait_for(lambda: "medic_snapshot_timestamp_seconds " in scraped(medic))
    families = text_string_to_metric_families(scraped(medic))
    return [(sample.name, sample.labels) for family in families for sample in family.samples]


def test_every_question_is_about_what_medic_says(samples: list[tuple[str, Mapping[str, str]]]) -> None:
    assert [fault for question in QUESTIONS for fault in faults(question, samples)] == []


def faults(question: Question, samples: list[tuple[str, Mapping[str, str]]]) -> Iterator[str]:
    """What it asks of which Medic says nothing: series, and labels to group them by or to show."""
    known = set(ADDED_BY_PROMETHEUS)
    for selector in selectors(question.syntax):
        chosen = [labels for name, labels in samples if matches(selector, name, labels)]
        known.update(*chosen)
        if not chosen:
            yield f"{question.asker}: there is no {selector.prettify()}"
    for label in sorted((labels_named(question.expression) | question.legend) - known):
        yield f"{question.asker}: nothing has the label {label}"


def test_promtool_finds_nothing_wrong_with_what_medic_says(medic: MedicProcess, promtool: Path) -> None:
    for path in ("/metrics", "/metrics/services"):
        words = [promtool, "check", "metrics", "--extended"]
        done = subprocess.run(words, input=medic.get(path).body, capture_output=True, check=False)
        assert (done.returncode, done.stderr.decode()) == (0, "")
        assert b"medic_service_up" in done.stdout


@pytest.fixture(scope="module")
def prometheus(
    medic: MedicProcess, folder: Path, prometheus_binary: Path, promtool: Path
) -> Iterator[PrometheusProcess]:
    """The real one, as the documentation sets it up."""
    port = free_port()
    configuration: dict[str, Any] = yaml.safe_load(documented_configuration())
    key = folder / "medic.key"
    key.write_text(read_key(medic), encoding="ascii")
    configuration["global"] = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}
    configuration["rule_files"] = [str(RULES)]
    del configuration["alerting"]
    for scrape in configuration["scrape_configs"]:
        for name in ("scrape_interval", "scrape_timeout"):
            scrape.pop(name, None)
        assert scrape["authorization"]["credentials_file"]
        scrape["authorization"]["credentials_file"] = str(key)
        scrape["static_configs"] = [
            {**group, "targets": [f"127.0.0.1:{medic.port}"]} for group in scrape["static_configs"]
        ]
    with PrometheusProcess(prometheus_binary, folder / "prometheus", configuration, port) as process:
        yield process


def read_key(medic: MedicProcess) -> str:
    """A key that may read and nothing else."""
    made = medic.post("/v2/keys", {"name": "prometheus", "scopes": ["read"]})
    assert made.status == 201, made
    return str(made.json["results"]["key"])


def test_prometheus_answers_every_panel_and_evaluates_every_rule(
    medic: MedicProcess, prometheus: PrometheusProcess
) -> None:
    asked = [question for question in QUESTIONS if question.asker.startswith("panel")]
    asked += [
        Question(question.asker, selector.prettify())
        for question in QUESTIONS
        if question.asker.startswith("rule")
        for selector in selectors(question.syntax)
    ]
    prometheus.wait_until_none(lambda: silent(prometheus, asked))

    # A counter has grown only where two scrapes have it.
    assert medic.beat("nobody").status == 404
    prometheus.wait_until_none(lambda: SURE_TO_FIRE - firing(prometheus))
    for rule in rules_of(prometheus):
        assert (rule["name"], rule["health"], rule.get("lastError", "")) == (rule["name"], "ok", "")
        for alert in rule["alerts"]:
            assert "error" not in " ".join(alert["annotations"].values()), alert


def silent(prometheus: PrometheusProcess, asked: list[Question]) -> list[Question]:
    """The questions to which it has no answer; those that it has one to are taken out."""
    asked[:] = [question for question in asked if not prometheus.samples(question.expression)]
    return asked


def rules_of(prometheus: PrometheusProcess) -> list[dict[str, Any]]:
    """Each rule as Prometheus has it."""
    return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]


def firing(prometheus: PrometheusProcess) -> set[tuple[str, str]]:
    """What is wrong now, whether or not for long enough to tell."""
    return {(rule["name"], rule["labels"]["severity"]) for rule in rules_of(prometheus) if rule["alerts"]}


def test_shards_have_each_service_once_between_them(medic: MedicProcess, prometheus: PrometheusProcess) -> None:
    registered = len(medic.get("/service").json["results"])
    counted = 'count(count by (heartbeat_name) (medic_service_muted{job="medic-services"}))'
    everyone = f"{counted} == {registered}"
    prometheus.wait_until_none(lambda: () if prometheus.samples(everyone) else (everyone,))
    assert value(prometheus, 'count(medic_service_muted{job="medic-services"})') == registered
    shards = value(prometheus, 'count(up{job="medic-services"} == 1)')
    assert shards == value(prometheus, 'count(count by (shard) (up{job="medic-services"}))') > 1


def value(prometheus: PrometheusProcess, expression: str) -> float:
    """The one number that it answers."""
    [sample] = prometheus.samples(expression)
    return float(sample["value"][1])
