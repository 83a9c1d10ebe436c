"""The image that the Dockerfile makes, step by step, and a Medic run from it as a container engine would run it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic.store.embedded.cluster import PORT
from tests.e2e.forwarding import forwarded
from tests.e2e.image import Builder, Stage
from tests.e2e.process import BASE_ENVIRONMENT, MedicProcess
from tests.e2e.signals import catches_sigterm
from tests.patience import PATIENCE_SECONDS
from tests.shape.kubernetes import container_of, workloads


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """Where the image is built; its files end with it."""
    with Builder(tmp_path_factory.mktemp("image")) as builder:
        yield builder


@pytest.fixture(scope="module")
def image(builder: Builder) -> Stage:
    """The last stage, with a read-only root and its volume."""
    stage = builder.build()
    builder.protect(stage)
    return stage


class Container(MedicProcess):
    """A Medic run from the image. It is asked over the same loopback; its files and its processes are its own."""

    def __init__(self, builder: Builder, image: Stage, log: Path, **environment: str) -> None:
        super().__init__(log.parent / "nowhere", **environment)
        self._builder, self._image = builder, image
        self.command = image.command
        self.log = log
        self._given = {**BASE_ENVIRONMENT, "PORT": str(self.port), "MEDIC_AUTH": "keys", **environment}

    def launch(self, *options: str) -> MedicProcess:
        with self.log.open("ab") as log:
            self.child = self._builder.start(self._image, [*self.command, *options], log, self._given)
        return self

    @property
    def first(self) -> int:
        """The number outside of what is process 1 inside."""
        assert self.child is not None
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children")
        return int(self.wait_for(lambda: children.read_text().split())[0])

    def facts(self) -> dict[str, str]:
        """What the kernel says of process 1."""
        lines = Path(f"/proc/{self.first}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        assert self.child is not None
        if self.child.poll() is None:
            subprocess.run(["kill", f"-{signal_number}", str(self.first)], check=True)
        return self.child.wait(PATIENCE_SECONDS)

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as its user."""
        inside = self._builder.inside(self._image, words, user=self._image.user, **self._given)
        return subprocess.run(
            self._builder.enter(inside), capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
        )


KEY = "k" * 40


@pytest.fixture
def container(builder: Builder, image: Stage, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Container]:
    """Not started yet; a test that asks for `postgres` has it reached over TCP, for others nobody is there."""
    database = {
        "DB_HOST": "127.0.0.1",
        "DB_PORT": "9",
        "DB_NAME": "medic",
        "PG_USER": "medic",
        "PG_PASS": "not asked for",
    }
    with contextlib.ExitStack() as stack:
        if "postgres" in request.fixturenames:
            where = request.getfixturevalue("postgres").environment
            port = stack.enter_context(forwarded(f"{where['DB_HOST']}/.s.PGSQL.{PORT}"))
            database |= {"DB_PORT": str(port), "DB_NAME": where["DB_NAME"], "PG_USER": where["PG_USER"]}
        container = Container(builder, image, tmp_path / "container.log", MEDIC_ADMIN_API_KEY=KEY, **database)
        yield container
        container.end()


@pytest.mark.usefixtures("postgres")
def test_the_image_runs_medic_without_rights_on_a_read_only_root(container: Container, image: Stage) -> None:
    assert container.execute(*image.check).returncode == 1, "nothing runs yet"
    container.start()
    checked = container.execute(*image.check)
    assert (checked.returncode, checked.stdout) == (0, f"Medic on 127.0.0.1:{container.port} is alive.\n")

    facts = container.facts()
    assert facts["Uid"].split() == facts["Gid"].split() == [image.user.partition(":")[0]] * 4
    assert facts["NSpid"].split()[-1] == "1"
    assert facts["NoNewPrivs"] == "1"
    assert {int(facts[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Bnd", "Inh", "Amb")} == {0}
    for place in ("/", "/tmp", "/opt/medic", "/usr"):
        refused = container.execute("touch", f"{place}/written")
        assert "Read-only file system" in refused.stderr

    headers = {"Authorization": f"Bearer {KEY}"}
    body = {"heartbeat_name": "from-outside", "service_name": "any", "alert_interval": 10}
    assert container.post("/service", body, **headers).status == 201
    beat = {"heartbeat_name": "from-outside", "service_name": "any", "status": "UP"}
    assert container.post("/heartbeat", beat, **headers).status == 201
    assert container.post("/heartbeat", beat).status == 401

    assert container.stop() == 0, container.output()
    said = container.execute("ls", "-A", image.environment["MEDIC_DATA_DIR"]).stdout.split()
    assert {"journal", "snapshot", "watermark"} <= set(said)
    ended = container.execute(*image.check)
    assert (ended.returncode, "does not answer" in ended.stdout) == (1, True)


def test_process_1_obeys_sigterm_before_it_has_begun_to_start(container: Container) -> None:
    container.launch()
    container.wait_for(lambda: catches_sigterm(container.first))
    assert container.stop() == 0, container.output()
    assert "stops" in container.output()


def test_the_image_is_the_outside_watcher_too(builder: Builder, image: Stage, tmp_path: Path) -> None:
    worker = container_of(workloads()["medic-worker"])
    given = {one["name"]: one["value"] for one in worker["env"]}
    watcher = Container(builder, image, tmp_path / "watcher.log", **given)
    watcher.command = worker["args"]
    watcher.launch()
    watcher.wait_for(lambda: "Watching medic-host:8080 at http://medic-host:8080" in watcher.output())
    assert watcher.stop() == 0, watcher.output()
    assert "Traceback" not in watcher.output()


def test_the_image_holds_what_is_locked_and_nothing_to_install_with(container: Container) -> None:
    listed = container.execute("ls", "/opt/medic/bin", "/opt/medic/lib")
    assert {"medic", "medic-cli", "python"} <= set(listed.stdout.split())
    assert not [name for name in listed.stdout.split() if name.startswith("pip")]
    assert container.execute("medic", "--version").stdout.startswith("Medic ")
    assert "# Running Medic" in container.execute("medic", "docs", "operations").stdout
    # OTEL_EXPORTER_OTLP_ENDPOINT is enough here, where nobody can install an extra.
    assert container.execute("python", "-c", "import medic.tracing.assembly").returncode == 0
