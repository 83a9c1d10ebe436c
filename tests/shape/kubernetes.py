"""The Kubernetes objects of the checkout, and what lines of kubectl in a document ask for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from tests.shape.checkout import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"

Manifest = dict[str, Any]

KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet", "service": "Service", "configmap": "ConfigMap"}


@cache
def manifests() -> tuple[Manifest, ...]:
    """Every object of every file."""
    return tuple(
        document for path in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text("utf-8"))
    )


def of_kind(kind: str) -> dict[str, Manifest]:
    """Those of one kind, by name."""
    return {one["metadata"]["name"]: one for one in manifests() if one["kind"] == kind}


def workloads() -> dict[str, Manifest]:
    """What has pods, by name."""
    return of_kind("Deployment") | of_kind("StatefulSet")


def pod_of(workload: Manifest) -> Manifest:
    """The pod that it makes, as its template has it."""
    pod: Manifest = workload["spec"]["template"]
    return pod


def container_of(workload: Manifest) -> Manifest:
    """Its only container."""
    [container] = pod_of(workload)["spec"]["containers"]
    found: Manifest = container
    return found


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether a selector takes what has these labels."""
    return selector.items() <= labels.items()


def kubectl_lines(document: str) -> list[list[str]]:
    """The words of each line that begins with kubectl, or is quoted in a sentence; a backslash at its end goes on."""
    joined = re.sub(r"\\\n\s*", " ", document)
    lines = re.findall(r"^\s*(kubectl .+)$", joined, re.MULTILINE) + re.findall(r"`(kubectl [^`\n]+)`", joined)
    return [shlex.split(line, comments=True) for line in lines]


def missing(words: list[str]) -> Iterator[str]:
    """What a line of kubectl asks for and these objects do not have."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        kind, _, name = word.partition("/")
        if kind in KINDS and name and name not in of_kind(KINDS[kind]):
            yield f"{word} in {shlex.join(words)}"
        if word in {"-l", "--selector"}:
            asked = dict(part.split("=", 1) for part in after.split(","))
            if not any(selects(asked, pod_of(one)["metadata"]["labels"]) for one in workloads().values()):
                yield f"pods with {after}"
        if word in {"-f", "--filename"} and not (ROOT / after).exists():
            yield after
