"""Takes the steps of the Dockerfile without a container engine, and runs what they make as an engine would.

The file system of a stage is an overlay over this machine's own, entered by chroot: what a step writes is seen by the
next ones and by nobody else. So the base image is this machine with the Python of the tests on its PATH, and every
COPY, RUN, ENV, USER, WORKDIR, VOLUME, HEALTHCHECK, ENTRYPOINT and CMD is taken as it is written. One step is replaced,
because it needs a network: in place of what pip would download, the environment is shown the same locked packages where
the tests have them installed (`LOCKED`), and nothing else of what the tests need.

What is run has a read-only root but for its volumes, is process 1 of its own, the image's user, without capabilities
and without a way to new ones. All of it is mounted in a mount namespace that ends with the process that holds it.
"""

from __future__ import annotations

import re
import shlex
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import IO, Self

from tests.e2e.dockerfile import Step, read_dockerfile, stages
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]

DOWNLOAD = (
    "pip --python /opt/medic/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: "
    "-r requirements/runtime.txt -r requirements/traces.txt"
)
"""The only step that needs a network, word for word."""

LOCKED = Path("/locked")
"""Where the stages see what is locked."""

# Everything is written into a file system in memory, which no overlay's lower layer may hold.
HOLD = """
mount -t tmpfs -o mode=0755 medic-test "$1"
for stage in $2; do
  mkdir -p "$1/$stage/upper" "$1/$stage/work" "$1/$stage/root"
  mount -t overlay -o "lowerdir=/,upperdir=$1/$stage/upper,workdir=$1/$stage/work" overlay "$1/$stage/root"
  mount --rbind /dev "$1/$stage/root/dev"
  mount -t proc proc "$1/$stage/root/proc"
done
echo ready
exec cat
"""


def locked_names() -> set[str]:
    """The packages that `requirements/runtime.txt` and `traces.txt` lock for Linux."""
    files = (ROOT / "requirements" / name for name in ("runtime.txt", "traces.txt"))
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    return {line.partition("==")[0] for line in lines if re.match(r"\w", line) and "'win32'" not in line}


def installed_parts(name: str) -> set[Path]:
    """The files and folders in site-packages that a distribution brought."""
    found = distribution(name)
    tops = {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}
    return {Path(str(found.locate_file(top))) for top in tops}


@dataclass
class Stage:
    """What the steps of one stage have come to."""

    name: str
    root: Path
    environment: dict[str, str]
    folder: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)


class Builder:
    """A context manager; `build` gives the last stage."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._stages: dict[str, Stage] = {}
        self._holder: subprocess.Popen[str]

    def __enter__(self) -> Self:
        names = [self._name_of(steps[0], number) for number, steps in enumerate(self._steps())]
        self._holder = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-euc",
                HOLD,
                "hold",
                self._place,
                " ".join(names),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *exc: object) -> None:
        self._holder.communicate(timeout=PATIENCE_SECONDS)

    def build(self) -> Stage:
        """Take every step."""
        for number, steps in enumerate(self._steps()):
            name = self._name_of(steps[0], number)
            path = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            stage = Stage(name, self._place / name / "root", {"PATH": path})
            self._provide_base(stage)
            for step in steps[1:]:
                self._take(stage, step)
            self._stages[name] = stage
        return stage

    def inside(self, stage: Stage, words: Sequence[str], *, user: str = "0:0", **environment: str) -> list[str]:
        """The words that run `words` in the stage's file system, as that user, with the stage's environment."""
        uid, _, gid = user.partition(":")
        rights = [
            "setpriv",
            "--no-new-privs",
            "--inh-caps=-all",
            "--bounding-set=-all",
            f"--reuid={uid}",
            f"--regid={gid}",
        ]
        given = [f"{name}={value}" for name, value in {**stage.environment, **environment}.items()]
        within = ["chroot", str(stage.root), "/usr/bin/env", "-i", f"--chdir={stage.folder}", *given]
        return [*within, *(() if user == "0:0" else (*rights, "--clear-groups")), *words]

    def enter(self, words: Sequence[str]) -> list[str]:
        """The words that run `words` where the stages are mounted."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", *words]

    def run(self, words: Sequence[str]) -> str:
        """What a command says that must succeed, run where the stages are mounted."""
        done = subprocess.run(self.enter(words), capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    # -------------------------------------------------------------------------------------------------------- steps

    def _steps(self) -> list[list[Step]]:
        return stages(read_dockerfile())

    def _name_of(self, step: Step, number: int) -> str:
        _, _, name = step.rest.partition(" AS ")
        return name or f"stage-{number}"

    def _provide_base(self, stage: Stage) -> None:
        """This machine as a base image: its Python can be reached by everybody, and what is locked is there."""
        parts = sorted({part for name in locked_names() for part in installed_parts(name)})
        ways = {parent for place in (Path(sys.base_prefix), *parts) for parent in place.parents}
        script = [
            'chmod a+rx "$@"',
            f"mkdir {LOCKED}",
            *(f"ln -s {shlex.quote(str(part))} {LOCKED}/" for part in parts),
        ]
        self.run(self.inside(stage, ["sh", "-euc", "\n".join(script), "base", *sorted(map(str, ways))]))

    def _take(self, stage: Stage, step: Step) -> None:
        match step.word:
            case "WORKDIR":
                stage.folder = step.rest
                self.run(["mkdir", "-p", f"{stage.root}{step.rest}"])
            case "COPY":
                self._copy(stage, step.rest.split())
            case "RUN" if step.rest == DOWNLOAD:
                packages = f"/opt/medic/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
                self.run(self.inside(stage, ["sh", "-euc", f"echo {LOCKED} > {packages}/locked.pth"]))
            case "RUN":
                self.run(self.inside(stage, ["sh", "-euc", step.rest], user=stage.user))
            case "ENV":
                for name, value in step.assignments():
                    stage.environment[name] = string.Template(value).substitute(stage.environment)
            case "USER":
                stage.user = step.rest
            case "VOLUME":
                stage.volumes += step.words()
            case "ENTRYPOINT":
                stage.entry = step.words()
            case "CMD":
                stage.command = step.words()
            case "HEALTHCHECK":
                stage.check = Step("CMD", step.rest.partition(" CMD ")[2]).words()
            case "EXPOSE" | "STOPSIGNAL":
                pass
            case _:
                raise AssertionError(f"nothing here knows the step {step}")

    def _copy(self, stage: Stage, words: list[str]) -> None:
        if words[0].startswith("--from="):
            source = self._stages[words.pop(0).removeprefix("--from=")].root
            [what, where] = words
            self.run(["mkdir", "-p", str(Path(f"{stage.root}{where}").parent)])
            self.run(["cp", "-a", f"{source}{what}", f"{stage.root}{where}"])
            return
        [what, where] = words
        target = f"{stage.root}{Path(stage.folder, where)}"
        self.run(["mkdir", "-p", target])
        for path in context(what):
            self.run(["cp", "-RP", "--", str(path), target])
        self.run(["find", target, "-name", "__pycache__", "-prune", "-exec", "rm", "-r", "{}", "+"])

    # -------------------------------------------------------------------------------------------------------- running

    def protect(self, stage: Stage) -> None:
        """Give the stage its volumes, filled with what the image has there, and take the right to write elsewhere."""
        for volume in stage.volumes:
            kept = self._place / "volume"
            self.run(["cp", "-a", f"{stage.root}{volume}", str(kept)])
            self.run(["mount", "--bind", str(kept), f"{stage.root}{volume}"])
        self.run(["mount", "-o", "remount,ro", str(stage.root)])

    def start(
        self, stage: Stage, command: Sequence[str], log: IO[bytes], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Run the image as an engine does: its entry point and a command, as process 1 of its own."""
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--"]
        words = self.inside(stage, [*stage.entry, *command], user=stage.user, **environment)
        return subprocess.Popen(self.enter([*alone, *words]), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def context(what: str) -> list[Path]:
    """What COPY takes from the checkout: the names that `.dockerignore` leaves in."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    named = [line[1:] for line in lines if line.startswith("!")]
    if what == ".":
        return [ROOT / name for name in named if (ROOT / name).exists()]
    assert what.strip("/").split("/")[0] in named
    return sorted((ROOT / what).iterdir())


def may_build() -> bool:
    """Whether this machine lets its tests mount file systems: root may, most containers may not."""
    trial = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", HOLD, "hold", "/mnt", "trial"]
    return subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
