"""How commands of `medic` end: which errors are the operator's to settle, in one message and with which exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import typer

from medic.alerting.wording import printable
from medic.config.folder import NO_ROOM
from medic.config.load import load_settings
from medic.config.settings import Settings
from medic.errors import ConfigurationError, Fault, OvertakenError, PassingError, UnavailableError

EXIT_UNAVAILABLE: Final = 1
"""Also for what the machine lacks and may give a moment later. A process manager tries again."""
EXIT_OVERTAKEN: Final = 1
"""The same: a process manager starts Medic again, and it stands by."""
EXIT_CONFIGURATION: Final = 2
"""Trying again does not help: `deploy/systemd/medic.service` does not."""
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it: somebody stopped it before it had begun to serve."""

_Error = TypeVar("_Error", bound=BaseException)

_DISK: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS}) | NO_ROOM


def settings_or_end(load: Callable[[Mapping[str, str]], Settings] = load_settings) -> Settings:
    """The settings of this process's environment; where they are faulty, one message and exit status 2."""
    try:
        return load(os.environ)
    except ConfigurationError as error:
        say_faults(error.faults)
        raise typer.Exit(EXIT_CONFIGURATION) from None


def end_as_it_should(act: Callable[[], None]) -> None:
    """Run `act`; what only the operator can settle ends the command with a message instead of a traceback.

    An error of another kind passes through: a bug should be seen whole.
    """
    status = 0
    try:
        act()
    except* PassingError as group:
        status = EXIT_UNAVAILABLE
        say_faults(tuple(fault for error in leaves(group) for fault in error.faults))
    except* ConfigurationError as group:
        status = EXIT_CONFIGURATION
        say_faults(tuple(fault for error in leaves(group) for fault in error.faults))
    except* UnavailableError as group:
        status = EXIT_UNAVAILABLE
        for unavailable in leaves(group):
            say(unavailable.message)
    except* OvertakenError as group:
        status = EXIT_OVERTAKEN
        for sentence in dict.fromkeys(overtaken.message for overtaken in leaves(group)):
            say(sentence)
    except* OSError as group:
        errors = leaves(group)
        status = EXIT_UNAVAILABLE if all(error.errno in NO_ROOM for error in errors) else EXIT_CONFIGURATION
        foreign = [error for error in errors if error.errno not in _DISK]
        if foreign:
            raise
        for sentence in dict.fromkeys(map(_disk_sentence, errors)):
            say(sentence)
    except* KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    if status:
        raise typer.Exit(status)


def leaves(group: BaseExceptionGroup[_Error]) -> list[_Error]:
    """The errors in a group and in the groups in it."""
    found: list[_Error] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += leaves(error)
        else:
            found.append(error)
    return found


def say_faults(faults: tuple[Fault, ...]) -> None:
    """One fault in one sentence; several under each other, each beginning with what it is about."""
    lines = [f"{fault.field}: {fault.message.rstrip('.')}." for fault in dict.fromkeys(faults)]
    if len(lines) == 1:
        say(lines[0])
    else:
        say(f"{len(lines)} settings are wrong, nothing was started:")
        for line in lines:
            print(f"  {_shown(line)}", file=sys.stderr)


def say(sentence: str) -> None:
    """A sentence for whoever started the command, on stderr."""
    print(f"medic: {_shown(sentence)}", file=sys.stderr)


def _shown(sentence: str) -> str:
    """The sentence with its own line ends, which some have on purpose, and nothing else that a terminal obeys."""
    return "\n".join(printable(line) for line in sentence.split("\n"))


def _disk_sentence(error: OSError) -> str:
    place = f" ({error.filename})" if isinstance(error.filename, str) else ""
    return f"the disk does not take what Medic has to write: {(error.strerror or 'no reason given').lower()}{place}."
