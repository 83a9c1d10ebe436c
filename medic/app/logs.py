"""Log lines: for people on a terminal, as JSON for programs. Never a line a heartbeat, and no line a caller can forge.

Values are rendered by the renderers, not by string formatting. JSON escapes what a terminal might obey and what ends a
line. In readable lines the same is done here: whatever is not printable (a line's end, an escape sequence, a mark that
turns the writing round) is shown as its escape, and the lines of a traceback, which may say what a caller sent, are set
in, so that none of them looks like a line of its own. A value that could be taken for further fields stands in quotes:
structlog sees to that.

What a line concerns are its fields: `request_id` (the answer's X-Request-Id, and the audit's), `heartbeat_name`,
`service_id`, `alert_id`. Where a whole task is about one of them, it says so once (structlog's contextvars), and each
line that is written within it has the field, whichever part writes it.

Nor does a log that nobody reads hold Medic up: what is not taken at once is lost, and how many lines that were is said
once there is room again.

Tracebacks are plain: one with local variables would show what a request carried, and took the loop a second to draw.

The last step of every line, and of the traceback a crash ends with, takes out the secrets that are known
(`medic.access.concealment`). There is one stderr a process, so there is one `CONCEALER`.
"""

from __future__ import annotations

import logging
import sys
import traceback
from io import StringIO
from types import TracebackType
from typing import TYPE_CHECKING, Final, TextIO

import structlog

from medic.access.concealment import Concealer
from medic.alerting.outlet import Outlet
from medic.alerting.wording import printable

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

_log = structlog.get_logger(__name__)

NOISY_LIBRARIES: Final = ("hypercorn", "asyncio", "quart")
"""Libraries whose info lines repeat what Medic says itself."""

TALKATIVE_LIBRARIES: Final = ("httpx", "httpcore", "urllib3")
"""Libraries whose lines show whole addresses and what vendors answer, which may hold secrets that nobody knows as
such. They are kept quiet even where `DEBUG` is set."""

CONCEALER: Final = Concealer()
"""What this process keeps out of its log."""

TRACEBACK_MARGIN: Final = "    | "
"""Before each line of a traceback."""


LINE_SECONDS: Final = 0.02
"""How long a line may wait in the loop for whoever reads the log, before it is lost."""


class LogStream:
    """What `logging` writes to: a line or nothing, and never an exception.

    Args:
        outlet: Where the lines go.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._lost = 0

    def write(self, line: str) -> None:
        """Write the line, or count it. While nobody reads, lines do not wait one after the other."""
        try:
            self._outlet.write(line, seconds=0.0 if self._lost else LINE_SECONDS)
        except (OSError, ValueError):
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            _log.warning("lines of this log are lost: nobody took them", lines=lost)

    def flush(self) -> None:
        """Nothing is kept."""


def configure_logs(*, level: str, as_json: bool, debug: bool) -> None:
    """Send Medic's and its libraries' log lines to stderr in one form.

    Args:
        level: `LOG_LEVEL`; DEBUG when `debug` is set.
        as_json: One JSON object a line, for log collectors.
        debug: `DEBUG`: verbose and readable.
    """
    threshold = logging.DEBUG if debug else logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [
            _show_unprintable,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_print_traceback),
        ]
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(LogStream(Outlet(sys.stderr)))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer, _conceal],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in TALKATIVE_LIBRARIES if debug else (*TALKATIVE_LIBRARIES, *NOISY_LIBRARIES):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _print_crash


def _conceal(_logger: WrappedLogger, _method: str, rendered: EventDict | str) -> str:
    """The step behind the renderer, whose text is the line."""
    return CONCEALER.conceal(str(rendered))


def _print_crash(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """As Python prints it, without secrets: the text of a foreign error may quote what it was given."""
    sys.stderr.write(CONCEALER.conceal("".join(traceback.format_exception(kind, error, at))))


def _show_unprintable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Texts on one line, with what a terminal might obey shown as its escape. `repr` shows what is no text."""
    return {name: _shown(value) if isinstance(value, str) else value for name, value in event.items()}


def _shown(text: str) -> str:
    # A secret is looked for before it is spelt in another way.
    return text if text.isprintable() else printable(CONCEALER.conceal(text))


def _print_traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    whole = StringIO()
    structlog.dev.plain_traceback(whole, exc_info)
    lines = CONCEALER.conceal(whole.getvalue()).splitlines()
    stream.writelines(f"\n{TRACEBACK_MARGIN}{printable(line)}" for line in lines if line)
