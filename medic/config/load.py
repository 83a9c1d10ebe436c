"""Reads the environment: every variable, every NAME_FILE, the folder where it will be used; every fault at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from medic.config import folder, rules
from medic.config.fields import IsSecret
from medic.config.settings import Settings
from medic.config.variables import (
    OF_OTHERS,
    TABLES,
    Access,
    Database,
    Limits,
    Listening,
    Operation,
    RetentionTimes,
    Secrets,
    Storage,
    Table,
    Telling,
    Traces,
    Watched,
    Watching,
)
from medic.errors import ConfigurationError, Fault

SECRET_BYTES_MAX: Final = 64 << 10
"""Bytes of a file that NAME_FILE names: a key is a line, and no device file is read to its end."""

PREFIX: Final = "MEDIC_"

_OF_KUBERNETES: Final = re.compile(
    r"MEDIC_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""What Kubernetes sets in every pod for Services named medic, medic-web and the like."""

_OF_KUBERNETES_VALUE: Final = re.compile(r"(?:tcp|udp|sctp)://")
"""By this `MEDIC_PORT` and its kin are told from a typing error for `PORT`."""

_Table = TypeVar("_Table", bound=Table)


def load_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of this environment. An empty variable is as good as none.

    Raises:
        ConfigurationError: something is wrong; names every fault.
    """
    return _load(environment, rules.faults)


def load_settings_to_serve(environment: Mapping[str, str]) -> Settings:
    """As `load_settings`, and the data folder can be written: for whoever is about to write in it. Makes nothing.

    Raises:
        ConfigurationError: something is wrong; names every fault, the folder's among them.
    """
    return _load(environment, rules.faults, lambda given: folder.look(given.storage.medic_data_dir.absolute()))


def load_settings_to_watch(environment: Mapping[str, str]) -> Settings:
    """As `load_settings`, for the outside watcher, which neither listens nor has a database.

    What is missing or contradicts itself about these is no fault: its image and its environment may be a Medic's.
    """
    return _load(environment, rules.faults_of_telling)


def _load(environment: Mapping[str, str], *checks: Callable[[rules.Given], Iterator[Fault]]) -> Settings:
    reading = _Reading(environment)
    reading.refuse_unknown()
    given = rules.Given(
        listening=reading.table(Listening),
        access=reading.table(Access),
        database=reading.table(Database),
        storage=reading.table(Storage),
        retention=reading.table(RetentionTimes),
        watching=reading.table(Watching),
        telling=reading.table(Telling),
        operation=reading.table(Operation),
        traces=reading.table(Traces),
        limits=reading.table(Limits),
        secrets=reading.table(Secrets),
        watched=reading.table(Watched),
        names=frozenset(reading.names),
    )
    found: dict[str, Fault] = {}
    for fault in (*reading.faults, *(fault for check in checks for fault in check(given))):
        found.setdefault(fault.field, fault)  # one sentence a variable: what it is, before what it means beside others
    if found:
        raise ConfigurationError(tuple(found.values()))
    return rules.settings(given)


@lru_cache(maxsize=1)
def secret_names() -> frozenset[str]:
    """The variables that are never shown, and may be given as NAME_FILE."""
    return frozenset(
        name.upper()
        for table in TABLES
        for name, declared in table.model_fields.items()
        if any(isinstance(mark, IsSecret) for mark in declared.metadata)
    )


@lru_cache(maxsize=1)
def known_names() -> tuple[str, ...]:
    """Every variable Medic knows, NAME_FILE and those of `medic-cli` included."""
    names = [name.upper() for table in TABLES for name in table.model_fields]
    return (*names, *(f"{name}_FILE" for name in sorted(secret_names())), *OF_OTHERS)


@dataclass(slots=True)
class _Reading:
    """One reading of an environment: what is wrong so far, and which variables were set."""

    environment: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def refuse_unknown(self) -> None:
        """A variable that begins with MEDIC_ and is none of Medic's is most likely a typing error."""
        known = frozenset(known_names())
        for name, text in sorted(self.environment.items()):
            if not name.startswith(PREFIX) or name in known or not text.strip() or _is_of_kubernetes(name, text):
                continue
            self.faults.append(Fault(name, f"is no variable of Medic{_nearest(name)}"))

    def table(self, table: type[_Table]) -> _Table:
        """The table with what the environment says; a faulty variable is noted and has its default in it."""
        texts = {name: text for field_name in table.model_fields for name, text in self._texts(field_name.upper())}
        self.names.update(texts)
        try:
            return table.model_validate(texts)
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_context=False, include_input=False):
                name = str(fault["loc"][0])
                self.faults.append(Fault(name, fault["msg"]))
                texts.pop(name, None)
            return table.model_validate(texts)

    def _texts(self, name: str) -> Iterator[tuple[str, str]]:
        text = self.environment.get(name, "")
        if name not in secret_names():
            if text.strip():
                yield name, text.strip()
            return
        path = self.environment.get(f"{name}_FILE", "").strip()
        if text and path:
            self.faults.append(Fault(name, f"stands beside {name}_FILE: keep one of the two"))
        elif path:
            text = self._secret_in(name, Path(path).expanduser())
        if text:
            yield name, text

    def _secret_in(self, name: str, path: Path) -> str:
        """The first and only line of the file; the empty string, and a fault, where there is none."""
        self.names.add(name)  # counts as set, so that nobody is told it is missing as well
        try:
            with path.open("rb") as file:
                text = file.read(SECRET_BYTES_MAX + 1).decode()
        except OSError as error:
            self.faults.append(
                Fault(f"{name}_FILE", f"cannot be read: {(error.strerror or 'no reason given').lower()}")
            )
            return ""
        except UnicodeDecodeError:
            self.faults.append(Fault(f"{name}_FILE", "must be a text file in UTF-8"))
            return ""
        secret = text.removesuffix("\n").removesuffix("\r")
        if not secret or len(text) > SECRET_BYTES_MAX:
            what = "is larger than any secret" if secret else "is an empty file"
            self.faults.append(Fault(f"{name}_FILE", what))
            return ""
        return secret


def _is_of_kubernetes(name: str, text: str) -> bool:
    if name.endswith("_PORT") and _OF_KUBERNETES_VALUE.match(text):
        return True
    return _OF_KUBERNETES.fullmatch(name) is not None


def _nearest(name: str) -> str:
    if name.removesuffix("_FILE") in known_names():
        return f"; only secrets are taken from files: set {name.removesuffix('_FILE')}"
    by_bare_name = {known.removeprefix(PREFIX): known for known in known_names()}
    close = get_close_matches(name.removeprefix(PREFIX), by_bare_name, n=1, cutoff=0.7)
    return f"; did you mean {by_bare_name[close[0]]}?" if close else ""
