"""The Dockerfile and the compose file say what Medic needs, and agree with it, with each other, and with Kubernetes."""

from __future__ import annotations

import re
from string import Template
from typing import Any

import yaml

from medic.config.load import load_settings
from tests.e2e.dockerfile import Step, environment_of_image, read_dockerfile
from tests.shape.checkout import ROOT
from tests.shape.kubernetes import container_of, pod_of, workloads
from tests.shape.test_kubernetes import longest_drain

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))


def steps(word: str) -> list[Step]:
    return [step for step in read_dockerfile() if step.word == word]


# ----------------------------------------------------------------------------------------------------------- Dockerfile


def test_the_image_has_two_stages_on_one_slim_base() -> None:
    first, second = (step.rest.split() for step in steps("FROM"))
    assert first[1:] == ["AS", "build"]
    assert second == first[:1]
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", second[0])


def test_the_image_runs_as_a_number_without_rights_and_takes_sigterm() -> None:
    [user] = steps("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.rest)
    assert [step.rest for step in steps("STOPSIGNAL")] == ["SIGTERM"]
    # As words and not as a line for a shell, which would be process 1 and keep signals to itself.
    assert [step.words() for word in ("ENTRYPOINT", "CMD") for step in steps(word)] == [["medic"], ["serve"]]
    for name in ("medic-web", "medic-standby", "medic-worker"):
        context = pod_of(workloads()[name])["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user.rest


def test_the_image_is_asked_for_its_health_without_a_program_of_others() -> None:
    [check] = steps("HEALTHCHECK")
    assert check.rest.endswith('CMD ["medic", "doctor", "--live"]')
    runs = " ".join(step.rest for step in steps("RUN"))
    assert not re.search(r"\b(curl|wget|apt|apt-get|apk)\b", runs)


def test_the_image_uses_a_database_of_others_and_keeps_its_data_on_a_volume() -> None:
    given = environment_of_image()
    assert given["MEDIC_DATABASE"] == "external"
    assert given["MEDIC_HOST"] == "0.0.0.0"
    assert [step.words() for step in steps("VOLUME")] == [[given["MEDIC_DATA_DIR"]]] == [["/var/lib/medic"]]
    assert [step.rest for step in steps("EXPOSE")] == ["8080"]


def test_what_the_image_is_built_from_is_named_and_is_there() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    named = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    assert named == sorted(named)
    assert [name for name in named if not (ROOT / name).exists() and name != "dashboards"] == []


# -------------------------------------------------------------------------------------------------------------- compose


def test_compose_sets_medic_to_what_it_takes() -> None:
    medic = COMPOSE["services"]["medic"]
    given = {"PG_PASS": "p" * 16, "MEDIC_ADMIN_API_KEY": "a" * 40}
    filled = {
        name: Template(re.sub(r"\$\{(\w+)(?::[?-]([^}]*))?\}", default_or_name(given), text)).substitute(given)
        for name, text in medic["environment"].items()
    }
    # The file that the head of compose.yaml has made, and nothing less: a name that is left out there reaches nobody.
    assert medic["env_file"] == [".env"]
    assert "> deploy/.env" in (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    asked = {"MEDIC_DEADMAN_URL": "https://hc.example/4f6b9a6e", "PORT": "9000", "DB_HOST": "elsewhere"}
    settings = load_settings(environment_of_image() | asked | filled)
    assert settings.deadman is not None
    assert settings.listen.addresses[0].port == 8080
    assert settings.database.target is not None
    assert settings.database.target.host in COMPOSE["services"]
    database = COMPOSE["services"]["postgres"]["environment"]
    assert (database["POSTGRES_USER"], database["POSTGRES_DB"]) == (
        settings.database.target.user,
        settings.database.target.database,
    )
    assert settings.limits.redis_url is not None
    assert settings.limits.redis_url.get_secret_value() == "redis://redis:6379/0"


def default_or_name(given: dict[str, str]) -> Any:
    """compose's `${NAME:-default}` and `${NAME:?complaint}`, as Python's templates have it."""

    def replaced(match: re.Match[str]) -> str:
        return f"${{{match[1]}}}" if match[1] in given else match[2]

    return replaced


def test_compose_gives_medic_a_volume_and_time_to_drain_and_no_rights() -> None:
    medic = COMPOSE["services"]["medic"]
    assert medic["volumes"] == ["medic:/var/lib/medic"]
    assert float(medic["stop_grace_period"].removesuffix("s")) > longest_drain()
    assert medic["read_only"] is True
    assert medic["cap_drop"] == ["ALL"]
    assert sorted(port.split(":")[1:] for port in medic["ports"]) == [["5000", "8080"], ["8080", "8080"]]
    assert set(COMPOSE["volumes"]) == {"medic", "postgres"}


def test_compose_and_kubernetes_use_the_same_database_and_the_same_redis() -> None:
    for ours, theirs in (("postgres", "medic-db"), ("redis", "medic-redis")):
        assert COMPOSE["services"][ours]["image"] == container_of(workloads()[theirs])["image"]
    assert COMPOSE["services"]["redis"]["command"] == container_of(workloads()["medic-redis"])["args"]
