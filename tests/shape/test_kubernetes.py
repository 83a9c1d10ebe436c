"""Kubernetes objects: what the published schemas allow, fitting each other, and what the runbook's lines ask for."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

import kubernetes_validate
import pytest

from medic.alerting.pipeline import DRAIN_SECONDS
from medic.app.serve import SNAPSHOT_DRAIN_SECONDS, WRITER_DRAIN_SECONDS
from medic.cli import medic
from medic.config.load import load_settings
from medic.config.variables import Storage
from medic.http.serving import CUT_SECONDS
from tests.e2e.dockerfile import environment_of_image
from tests.shape.checkout import ROOT, files
from tests.shape.kubernetes import (
    Manifest,
    container_of,
    kubectl_lines,
    manifests,
    missing,
    of_kind,
    pod_of,
    selects,
    workloads,
)

RUNBOOK_LINES = """
kubectl logs -l app=medic-db
kubectl rollout restart deployment/medic-web
kubectl rollout restart deployment/medic-worker
"""
"""Every line of kubectl in the runbook that operators of the earlier system know, word for word."""

OLDEST = "1.29"
"""The oldest Kubernetes that these objects are held against, and the newest that the schemas know."""

VERSIONS = (OLDEST, kubernetes_validate.latest_version())

SECRETS = {
    "medic": {"PG_PASS": "p" * 16, "MEDIC_ADMIN_API_KEY": "a" * 40},
    "medic-worker": {"PAGERDUTY_ROUTING_KEY": "r" * 32},
}
"""What the Secrets have at least; docs/operations.md has the lines that make them."""

MEDICS = ("medic-web", "medic-standby")


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", manifests(), ids=named)
def test_each_object_is_what_the_published_schema_allows(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_refuse_what_is_misspelt() -> None:
    spoilt = copy.deepcopy(of_kind("Deployment")["medic-web"])
    spoilt["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, VERSIONS[-1], strict=True)


def test_objects_have_names_of_their_own() -> None:
    names = [named(one) for one in manifests()]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------------------------------------------------- the runbook


@pytest.mark.parametrize("words", kubectl_lines(RUNBOOK_LINES), ids=" ".join)
def test_each_line_of_the_runbook_finds_its_objects(words: list[str]) -> None:
    assert list(missing(words)) == []


def test_each_line_of_kubectl_in_the_documents_finds_its_objects() -> None:
    lines = [words for path in files(".md") for words in kubectl_lines(path.read_text("utf-8"))]
    assert ["kubectl", "rollout", "restart", "deployment/medic-web"] in lines
    assert [lost for words in lines for lost in missing(words)] == []


def test_a_line_that_asks_for_what_is_not_there_is_noticed() -> None:
    lines = """
    kubectl rollout restart deployment/medic-wbe
    kubectl logs \\
      -l app=medic-bd
    kubectl apply -f deploy/k8s
    """
    assert [lost for words in kubectl_lines(lines) for lost in missing(words)] == [
        "deployment/medic-wbe in kubectl rollout restart deployment/medic-wbe",
        "pods with app=medic-bd",
        "deploy/k8s",
    ]


def test_the_ports_of_the_runbook_lead_to_the_active_medic() -> None:
    service = of_kind("Service")["medic-host"]["spec"]
    assert {port["port"]: port["targetPort"] for port in service["ports"]} == {8080: "http", 5000: "http"}
    taken = [name for name, one in workloads().items() if selects(service["selector"], labels(one))]
    assert sorted(taken) == sorted(MEDICS)
    for name in MEDICS:
        container = container_of(workloads()[name])
        assert container["ports"] == [{"name": "http", "containerPort": 8080}]
        assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http"}
        assert container["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "http"}


# --------------------------------------------------------------------------------------------------- fitting each other


def labels(workload: Manifest) -> dict[str, str]:
    found: dict[str, str] = pod_of(workload)["metadata"]["labels"]
    return found


@pytest.mark.parametrize("name", workloads())
def test_a_workload_selects_its_own_pods_and_nobody_elses(name: str) -> None:
    selector = workloads()[name]["spec"]["selector"]["matchLabels"]
    assert [other for other, one in workloads().items() if selects(selector, labels(one))] == [name]


@pytest.mark.parametrize("service", of_kind("Service").values(), ids=named)
def test_a_service_leads_to_ports_that_are_there(service: Manifest) -> None:
    found = [one for one in workloads().values() if selects(service["spec"]["selector"], labels(one))]
    assert found
    for one in found:
        ports = {port["name"] for port in container_of(one)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("policy", of_kind("NetworkPolicy").values(), ids=named)
def test_a_network_policy_lets_the_medics_in_and_no_stranger(policy: Manifest) -> None:
    [closed] = [
        one for one in workloads().values() if selects(policy["spec"]["podSelector"]["matchLabels"], labels(one))
    ]
    [rule] = policy["spec"]["ingress"]
    [source] = rule["from"]
    assert all(selects(source["podSelector"]["matchLabels"], labels(workloads()[name])) for name in MEDICS)
    assert [port["port"] for port in rule["ports"]] == [port["name"] for port in container_of(closed)["ports"]]


@pytest.mark.parametrize("name", workloads())
def test_no_pod_may_do_more_than_it_needs(name: str) -> None:
    pod, container = pod_of(workloads()[name])["spec"], container_of(workloads()[name])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


# ---------------------------------------------------------------------------------------------------------------- Medic


def environment_of(name: str) -> dict[str, str]:
    """What `medic` has in that pod: the image's, the ConfigMap's, what its Secret has at least, and its own."""
    given = environment_of_image()
    container = container_of(workloads()[name])
    for source in container["envFrom"]:
        if "configMapRef" in source:
            given |= of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
        else:
            given |= SECRETS[source["secretRef"]["name"]]
    return given | {one["name"]: one["value"] for one in container.get("env", ())}


@pytest.mark.parametrize("name", MEDICS)
def test_medic_takes_what_it_is_set_to(name: str) -> None:
    settings = load_settings(environment_of(name))
    target = settings.database.target
    assert target is not None
    port = {port["name"]: port["port"] for port in of_kind("Service")[target.host]["spec"]["ports"]}
    assert port["postgresql"] == target.port
    database = {
        one["name"]: one.get("value") or one["valueFrom"]["secretKeyRef"]
        for one in container_of(workloads()["medic-db"])["env"]
    }
    assert (database["POSTGRES_USER"], database["POSTGRES_DB"]) == (target.user, target.database)
    assert database["POSTGRES_PASSWORD"] == {"name": "medic", "key": "PG_PASS"}
    redis = of_kind("Service")["medic-redis"]["spec"]["ports"][0]["port"]
    assert settings.limits.redis_url is not None
    assert settings.limits.redis_url.get_secret_value() == f"redis://medic-redis:{redis}/0"


def test_the_one_that_stands_by_is_the_other_once_more() -> None:
    def renamed(part: Any) -> Any:
        match part:
            case dict():
                return {key: renamed(value) for key, value in part.items()}
            case list():
                return [renamed(value) for value in part]
            case "medic-standby":
                return "medic-web"
            case _:
                return part

    for kind in ("Deployment", "PersistentVolumeClaim"):
        assert renamed(of_kind(kind)["medic-standby"]) == of_kind(kind)["medic-web"]


@pytest.mark.parametrize("name", [*MEDICS, "medic-worker"])
def test_a_volume_belongs_to_one_pod_at_a_time(name: str) -> None:
    deployment = of_kind("Deployment")[name]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    [volume] = pod_of(deployment)["spec"]["volumes"]
    [mount] = container_of(deployment)["volumeMounts"]
    assert mount == {"name": volume["name"], "mountPath": environment_of(name)["MEDIC_DATA_DIR"]}
    assert volume["persistentVolumeClaim"]["claimName"] == name
    assert of_kind("PersistentVolumeClaim")[name]["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize("name", MEDICS)
def test_a_volume_holds_the_longest_journal(name: str) -> None:
    asked = of_kind("PersistentVolumeClaim")[name]["spec"]["resources"]["requests"]["storage"]
    assert int(asked.removesuffix("Gi")) << 30 > Storage.model_fields["medic_journal_max_bytes"].default


def longest_drain() -> float:
    """The limits of a drain's steps together (medic/app/serve.py)."""
    answers = Storage.model_fields["medic_drain_seconds"].default + CUT_SECONDS
    return float(answers + DRAIN_SECONDS + WRITER_DRAIN_SECONDS + SNAPSHOT_DRAIN_SECONDS)


@pytest.mark.parametrize("name", MEDICS)
def test_the_grace_of_a_pod_is_longer_than_the_longest_drain(name: str) -> None:
    assert pod_of(workloads()[name])["spec"]["terminationGracePeriodSeconds"] > longest_drain()


def test_what_the_pods_run_are_commands() -> None:
    known = {command.name for command in medic.app.registered_commands}
    for name in (*MEDICS, "medic-worker"):
        assert container_of(workloads()[name])["args"][0] in known


def test_the_image_is_of_this_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    medics = {container_of(workloads()[name])["image"] for name in (*MEDICS, "medic-worker")}
    assert medics == {f"medic:{project['version']}"}


def test_the_watcher_watches_the_way_in_by_keys_of_its_own() -> None:
    container = container_of(workloads()["medic-worker"])
    assert container["args"] == ["watch", "http://medic-host:8080"]
    assert container["envFrom"] == [{"secretRef": {"name": "medic-worker"}}]
    settings = load_settings(environment_of("medic-worker"))
    assert settings.database.target is None
    assert settings.telling.pagerduty is not None
