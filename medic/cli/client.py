"""Speaks HTTP to Medic for `medic-cli`: one request, one reply, every way it can go wrong as one of two errors.

`RefusedError` means that Medic answered and said no, or that it could not now (exit 1); `UnavailableError` that nobody
answered, or something that is not Medic (exit 3). A 429 or 503 with a Retry-After changed nothing, so the request is
sent again after that wait, whatever its method, until `PATIENCE_SECONDS` are used up.

Proxies named by the environment are not used: Medic is inside, and a heartbeat must not take another way because of a
variable in the shell.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlsplit

from medic.alerting.wording import clipped, printable
from medic.errors import Fault, RefusedError, UnavailableError
from medic.http.answers import JsonObject, JsonValue

if TYPE_CHECKING:
    import httpx

BASE_URL: Final = "http://localhost:8080"

CONNECT_SECONDS: Final = 5.0
"""DNS, TCP and TLS together: a Medic that is up answers within a few round trips."""

ANSWER_SECONDS: Final = 30.0
"""Longest silence within an answer: several times what Medic itself waits for PostgreSQL."""

PATIENCE_SECONDS: Final = 60.0
"""Longest time spent on the waits Medic asks for, all together: a person looks on, or a cron job that comes again."""

WAIT_DEFAULT_SECONDS: Final = 1.0
"""Waited where the Retry-After cannot be read."""

PAGE: Final = 1_000
"""Rows asked for at a time: Medic's own limit of a page."""

ACTOR_MAX: Final = 100
"""Characters of `X-Actor` that Medic takes."""

NOT_FOUND: Final = 404

HINTS: Final = {
    401: "Set MEDIC_API_KEY (or MEDIC_API_KEY_FILE) to a key that is valid; `medic-cli key create` makes one.",
    403: "Where the key does not do, set MEDIC_API_KEY to another one; `medic-cli key list` shows what each may.",
}
"""What to do about a refusal that is not about what was asked, but about who asks."""

KEY_BYTES_MAX: Final = 4_096
"""Bytes of the file that holds the key."""

# httpx draws a command line of its own, with rich and pygments, if it finds them: 0.1 s for each heartbeat from a cron
# job. An empty module in that place makes it do without, as it does where they are not installed.
sys.modules.setdefault("httpx._main", ModuleType("httpx._main"))

NOTHING: Final[JsonObject] = {}
NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reply:
    """What Medic answered: the status and the JSON object."""

    status: int
    fields: JsonObject = field(default_factory=dict)

    @property
    def message(self) -> str:
        """The envelope's message."""
        found = self.fields.get("message")
        return found if isinstance(found, str) else ""

    @property
    def rows(self) -> list[JsonObject]:
        """`results` as rows; one object is a list of one."""
        found = self.fields.get("results")
        if isinstance(found, dict):
            return [found]
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    @property
    def row(self) -> JsonObject:
        """The only row, or the first; no fields where there is none."""
        return next(iter(self.rows), NOTHING)


class Api:
    """A connection to one Medic.

    Args:
        url: Where it is.
        key: `MEDIC_API_KEY`, or None.
        actor: Said in `X-Actor`: who does this.
        sleep, report: What waits, and what says that it waits.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        actor: str = "",
        sleep: Callable[[float], None] = time.sleep,
        report: Callable[[str], None] = lambda sentence: print(sentence, file=sys.stderr),
    ) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._actor = actor
        self._sleep = sleep
        self._report = report
        self._patience = PATIENCE_SECONDS
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._client is not None:
            self._client.close()

    def get(self, path: str, query: Mapping[str, str] = NO_QUERY, *, patient: bool = True) -> Reply:
        """The reply to a question. `patient=False`: a wait Medic asks for is a refusal."""
        return self._ask("GET", path, query=query, patient=patient)

    def find(self, path: str) -> Reply | None:
        """The reply to a question about one thing; None where there is no such thing."""
        reply = self._ask("GET", path, may_be_missing=True)
        return None if reply.status == NOT_FOUND else reply

    def post(self, path: str, body: JsonObject | None = None, query: Mapping[str, str] = NO_QUERY) -> Reply:
        """The reply to an order."""
        return self._ask("POST", path, query=query, body=NOTHING if body is None else body)

    def delete(self, path: str, query: Mapping[str, str] = NO_QUERY) -> Reply:
        """The reply to a deletion."""
        return self._ask("DELETE", path, query=query)

    def pages(self, path: str, query: Mapping[str, str], *, limit: int | None = None) -> Iterator[JsonObject]:
        """The rows of a listing, page by page, `limit` of them at most."""
        cursor, left = "", limit
        while left is None or left > 0:
            asked = PAGE if left is None else min(PAGE, left)
            reply = self.get(path, {**query, "limit": str(asked), **({"cursor": cursor} if cursor else {})})
            yield from reply.rows
            following = reply.fields.get("next_cursor")
            if not isinstance(following, str) or not reply.rows:
                return
            cursor = following
            left = None if left is None else left - len(reply.rows)

    def health(self) -> Reply:
        """`GET /health`: its status is a finding, not a refusal."""
        return self._reply(self._send("GET", "/health", NO_QUERY, None))

    # ---------------------------------------------------------------------------------------------------------- inside

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = NO_QUERY,
        body: JsonObject | None = None,
        patient: bool = True,
        may_be_missing: bool = False,
    ) -> Reply:
        while True:
            answer = self._send(method, path, query, body)
            reply = self._reply(answer)
            if answer.is_success or (may_be_missing and reply.status == NOT_FOUND):
                return reply
            wait = _wait_asked_for(answer)
            if not patient or wait is None or wait > self._patience:
                raise _refused(reply)
            self._patience -= wait
            self._report(f"Medic asks to wait {wait:g} s: {printable(reply.message)}")
            self._sleep(wait)

    def _send(self, method: str, path: str, query: Mapping[str, str], body: JsonObject | None) -> httpx.Response:
        import httpx  # noqa: PLC0415 - 0.15 s that `--help` and a typing error do not pay
        import orjson  # noqa: PLC0415

        content = None if body is None else orjson.dumps(body)
        try:
            return self._connected().request(method, self.url + path, params=dict(query), content=content)
        except httpx.TimeoutException:
            raise self._unreachable("it does not answer") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise self._unreachable(_lowered(str(error))) from None
        except (httpx.InvalidURL, ValueError):
            raise self._unreachable("that is no address") from None

    def _connected(self) -> httpx.Client:
        import httpx  # noqa: PLC0415

        if self._client is None:
            headers = {b"Content-Type": b"application/json", b"User-Agent": b"medic-cli"}
            if self._key:
                headers[b"Authorization"] = f"Bearer {self._key}".encode()
            if self._actor:
                headers[b"X-Actor"] = self._actor.encode()
            # Reading the list of authorities takes longer than a request on loopback: only where there is TLS.
            verify = urlsplit(self.url).scheme == "https"
            timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
            self._client = httpx.Client(headers=headers, timeout=timeout, trust_env=False, verify=verify)
        return self._client

    def _reply(self, answer: httpx.Response) -> Reply:
        import orjson  # noqa: PLC0415

        try:
            found: JsonValue = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict) or not ("success" in found or "components" in found):
            what = f"something that is not Medic answers there, with status {answer.status_code}"
            raise self._unreachable(what)
        return Reply(answer.status_code, found)

    def _unreachable(self, why: str) -> UnavailableError:
        return UnavailableError(f"Medic cannot be reached at {printable(self.url)}: {printable(clipped(why, 200))}.")


def connect(url: str | None) -> Api:
    """A connection as `--url` or the environment say.

    Raises:
        RefusedError: `MEDIC_API_KEY_FILE` cannot be read.
    """
    actor = (os.environ.get("USER") or os.environ.get("LOGNAME") or "").strip()
    label = actor if actor.isprintable() else ""
    return Api(url or os.environ.get("MEDIC_BASE_URL") or BASE_URL, key=_key(), actor=label[:ACTOR_MAX])


def service_path(name: str) -> str:
    """The path of a service."""
    return f"/service/{segment(name)}"


def segment(name: str) -> str:
    """A name as one segment of a path: a slash in it is part of the name, and so are dots that are all of it."""
    return name.replace(".", "%2E") if name in {".", ".."} else quote(name, safe="")


def _key() -> str | None:
    path = os.environ.get("MEDIC_API_KEY_FILE", "")
    if not path:
        return os.environ.get("MEDIC_API_KEY") or None
    try:
        with Path(path).expanduser().open("rb") as file:
            key = file.read(KEY_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise RefusedError(f"MEDIC_API_KEY_FILE cannot be read: {why.lower()}.") from None
    return key or None


def _refused(reply: Reply) -> RefusedError:
    errors = reply.fields.get("errors")
    faults = tuple(
        Fault(str(error.get("field", "")), str(error.get("message", "")))
        for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, dict)
    )
    sentence = reply.message or f"Medic refused with status {reply.status}."
    return RefusedError(f"{sentence} {HINTS.get(reply.status, '')}".rstrip(), faults)


def _wait_asked_for(answer: httpx.Response) -> float | None:
    if answer.status_code not in {429, 503} or "retry-after" not in answer.headers:
        return None
    text = answer.headers["retry-after"].strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else WAIT_DEFAULT_SECONDS


def _lowered(sentence: str) -> str:
    """An error's own words, without its number, to go on in the middle of a sentence."""
    bare = sentence.partition("] ")[2] if sentence.startswith("[Errno") else sentence
    return bare[:1].lower() + bare[1:].rstrip(".") if bare else "the connection broke"
