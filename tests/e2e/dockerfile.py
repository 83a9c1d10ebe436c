"""Reads a Dockerfile: its steps, one by one."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCKERFILE = Path(__file__).resolve().parents[2] / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its word, and what follows it."""

    word: str
    rest: str

    def words(self) -> list[str]:
        """The list of words in brackets that ENTRYPOINT, CMD and VOLUME have."""
        found = json.loads(self.rest)
        assert isinstance(found, list)
        return [str(word) for word in found]

    def assignments(self) -> Iterator[tuple[str, str]]:
        """The names and values of ENV."""
        for word in shlex.split(self.rest):
            name, _, value = word.partition("=")
            yield name, value


def read_dockerfile(path: Path = DOCKERFILE) -> list[Step]:
    """Its steps. Comments are left out, and lines that end with a backslash go on."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = (line.partition(" ") for line in joined.splitlines())
    return [Step(word.upper(), rest.strip()) for word, _, rest in parts if word]


def stages(steps: list[Step]) -> list[list[Step]]:
    """The steps of each stage, FROM first."""
    found: list[list[Step]] = []
    for step in steps:
        if step.word == "FROM":
            found.append([])
        found[-1].append(step)
    return found


def environment_of_image() -> dict[str, str]:
    """What the image sets, of what is Medic's own."""
    steps = (step for step in read_dockerfile() if step.word == "ENV")
    return {name: value for step in steps for name, value in step.assignments() if name.startswith("MEDIC_")}
