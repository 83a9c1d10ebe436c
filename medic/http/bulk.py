"""`POST /v2/heartbeats`: many heartbeats in one request, each taken or refused by itself, one commit for all.

A relay that collects the heartbeats of a site sends them so, and one bad heartbeat must not cost the others theirs.
So each is taken in its turn, as `POST /heartbeat` would, and the answer says which were not, by index and reason:

    201   all were taken
    200   not all were; `success` is false, and what was refused is not worth sending again as it is
    503   the journal refused: what is not named as refused is safe, the rest is worth sending again
    400   the body is no array and no NDJSON, or holds none or too many; nothing was taken

Why 200 and not 207: that status promises WebDAV's body. A client that looks at the status alone takes both for done,
which for these heartbeats is right: sending them again changes nothing.

The aim is 200 000 heartbeats a second at 1 000 a request, 5 µs each. An array is read by one call of orjson, and there
is one wait for the journal, for the newest position. Nearly all heartbeats are a name and a usual word for a service
that is up: these are taken a run at a time (`Intake.take_plain_nowait`), with one reading of the clock and one look at
the journal's room. The heartbeat that a run stops at is taken by itself, and then the next run begins, so that they are
taken in the order in which they stand, whatever they say.

Every `BULK_SLICE` heartbeats everybody else has a turn (HARD-CASES H7), so others' heartbeats may come between. Reading
holds the loop as long as there are commas and brackets: they are counted first.

A service whose actor is being rebuilt refuses its heartbeat here with a 503 of its own, where `POST /heartbeat` waits:
one broken service must not hold the thousand others' answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson
import trio

from medic.access.caller import Caller
from medic.core.names import NAME_MAX, normal_name
from medic.errors import ActorBusyError, Fault, InvalidInputError, JournalRefusedError, MedicError, OverloadedError
from medic.http.answers import Answer, JsonObject, JsonValue
from medic.http.bodies import BYTE_ORDER_MARK, read_json, require_object
from medic.http.call import Call
from medic.http.heartbeats import check_heartbeat, named_ignored, note_refused, plain_beat, read_key
from medic.http.limits import BULK_HEARTBEATS_MAX, BULK_MARKS_MAX, BULK_SLICE, BULK_SLICE_OTHERS, FAULTS_MAX
from medic.http.parts import ApiParts
from medic.http.refusals import message_of, refuse, status_of
from medic.ports import Beat, Position

Item = JsonValue | bytes
"""One heartbeat of a body: its JSON, or a line of NDJSON that is still to be read."""

ALL_POSTED: Final = "Heartbeats Posted Successfully."
PART_POSTED: Final = "{count} of {total} heartbeats were taken; results.refused says which were not, and why."


def read_items(body: bytes) -> list[Item]:
    """The heartbeats of a body: an array where its first character is `[`, else a line each.

    Raises:
        InvalidInputError: it is neither, or holds none, or more than `BULK_HEARTBEATS_MAX`.
    """
    text = body.removeprefix(BYTE_ORDER_MARK).strip()
    if text.count(b",") + text.count(b"[") + text.count(b"{") > BULK_MARKS_MAX:
        raise _no_bulk(f"must have at most {BULK_MARKS_MAX} commas and opening brackets")
    items: list[Item]
    if text.startswith(b"["):
        try:
            items = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise _no_bulk(f"is no JSON: {error}") from None
    elif text.count(b"\n") > 2 * BULK_HEARTBEATS_MAX:
        raise _no_bulk(f"must have at most {2 * BULK_HEARTBEATS_MAX} lines")
    else:
        items = [line for line in text.split(b"\n") if line and not line.isspace()]
    if not 1 <= len(items) <= BULK_HEARTBEATS_MAX:
        raise _no_bulk(f"must hold 1 to {BULK_HEARTBEATS_MAX} heartbeats, this one has {len(items)}")
    return items


async def take_bulk(parts: ApiParts, body: bytes, caller: Caller, idempotency_key: str = "") -> Answer:
    """Take the heartbeats a body holds, and answer for each. Never raises what the caller could have caused.

    Args:
        parts: The parts of the API.
        body: The request's body.
        caller: Who sends it, and may come in.
        idempotency_key: That header, empty where it was not sent. With it, the n-th heartbeat has a key of its own, so
            that a bulk that is sent again counts once.
    """
    try:
        items = read_items(body)
        key = read_key(idempotency_key)
    except InvalidInputError as error:
        note_refused(parts, error, name=None, address=caller.address)
        return refuse(error)
    bulk = _Bulk(parts, items, caller, key)
    begin = bulk.take_slice(0)
    while begin < len(items):
        await trio.lowlevel.checkpoint()
        begin = bulk.take_slice(begin)
    await bulk.wait_durable()
    return bulk.answer()


async def post_heartbeats(parts: ApiParts, call: Call) -> Answer:
    """Take many heartbeats."""
    return await take_bulk(parts, call.body, call.caller, call.idempotency_key)


class _Bulk:
    """What became of the heartbeats of one request so far. What was not refused was taken."""

    def __init__(self, parts: ApiParts, items: list[Item], caller: Caller, key: str | None) -> None:
        self._parts = parts
        self._items = items
        self._caller = caller
        self._key = key
        self._strict = parts.settings.strict_status
        self._newest: Position | None = None
        self._refused: dict[int, JsonObject] = {}
        self._ignored: dict[str, None] = {}
        self._overload: OverloadedError | None = None
        self._asked = -1
        self._gate_said: MedicError | None = None

    def take_slice(self, begin: int) -> int:
        """Take the heartbeats from `begin` on, `BULK_SLICE` at the most; where the next slice begins."""
        items, take_plain_nowait = self._items, self._parts.intake.take_plain_nowait
        end, others = min(begin + BULK_SLICE, len(items)), 0
        while begin < end and others < BULK_SLICE_OTHERS:
            if self._overload is None:
                count, newest = take_plain_nowait(self._plain_from(begin, end))
                if count:
                    self._newest = newest
                    begin += count
            if begin < end:
                self._take_other(begin)
                others += 1
                begin += 1
        return begin

    def _plain_from(self, begin: int, end: int) -> Iterator[tuple[str, str]]:
        """Names and statuses from `begin` on, up to the first heartbeat that may say more, or that the gate refuses.

        The gate is asked for each as it is consumed, so for none that is not reached.
        """
        items, caller, admit = self._items, self._caller, self._parts.gatekeeper.admit_heartbeat
        for index in range(begin, end):
            item = items[index]
            if type(item) is not dict:
                item = self._read_line(index)
                if item is None:
                    return
            name, status = item.get("heartbeat_name"), item.get("status")
            if (
                type(name) is not str
                or type(status) is not str
                or not name.isascii()
                or (len(item) != 2 and (len(item) != 3 or "service_name" not in item))
            ):
                return
            self._asked, self._gate_said = index, admit(caller, name)
            if self._gate_said is not None:
                return
            yield name, status

    def _read_line(self, index: int) -> JsonObject | None:
        """The object of a line of NDJSON, which stands in the place of the line from now on; None where it has none."""
        item = self._items[index]
        if not isinstance(item, bytes):
            return None
        try:
            given = read_json(item)
        except InvalidInputError:
            return None  # whoever looks at it more closely says why
        self._items[index] = given
        return given

    def _take_other(self, index: int) -> None:
        """Take a heartbeat whatever it says."""
        beat = self._read(self._items[index], index)
        if beat is None:
            return
        refusal = self._overload or self._ask_gate(index, beat.name)
        if refusal is not None:
            self._refuse(index, refusal, beat.name)
            return
        beat.caller = self._caller
        try:
            self._newest = self._parts.intake.take_nowait(beat)
        except MedicError as error:
            if isinstance(error, OverloadedError) and not isinstance(error, ActorBusyError):
                self._overload = error
            self._refuse(index, error, beat.name)

    def _ask_gate(self, index: int, name: str) -> MedicError | None:
        """What the gate says of a heartbeat. It counts, so it is asked once for each."""
        if index != self._asked:
            self._asked, self._gate_said = index, self._parts.gatekeeper.admit_heartbeat(self._caller, name)
        return self._gate_said

    async def wait_durable(self) -> None:
        """Return once all that was taken is durable, or known not to be."""
        if self._newest is None:
            return
        try:
            await self._parts.intake.wait_durable(self._newest)
        except JournalRefusedError as error:
            self._overload = error
            for index, item in enumerate(self._items):
                if index not in self._refused:
                    self._refuse(index, error, _name_of(read_json(item) if isinstance(item, bytes) else item))

    def answer(self) -> Answer:
        """The answer to all of it."""
        total, overload = len(self._items), self._overload
        count = total - len(self._refused)
        message = ALL_POSTED if count == total else PART_POSTED.format(count=count, total=total)
        fields: JsonObject = {
            "success": count == total,
            "message": message + named_ignored(tuple(self._ignored)),
            "results": {"accepted": count, "refused": [self._refused[index] for index in sorted(self._refused)]},
        }
        if overload is None:
            return Answer(201 if count == total else 200, orjson.dumps(fields))
        return Answer(status_of(overload), orjson.dumps(fields), refuse(overload).headers)

    def _read(self, item: Item, index: int) -> Beat | None:
        """The heartbeat of an item, or None where it was refused."""
        key = None if self._key is None else f"{self._key}#{index}"
        if type(item) is dict and not self._strict and (beat := plain_beat(item, key)) is not None:
            return beat
        given: JsonValue = None
        try:
            given = read_json(item) if isinstance(item, bytes) else require_object(item)
            return self._check(given, key)
        except InvalidInputError as error:
            self._refuse(index, error, None, shown=_name_of(given))
            return None

    def _check(self, given: JsonObject, key: str | None) -> Beat:
        read = check_heartbeat(given, strict_status=self._strict, key=key)
        for name in read.ignored:
            if len(self._ignored) < FAULTS_MAX:
                self._ignored[name] = None
        return read.beat

    def _refuse(self, index: int, error: MedicError, name: str | None, *, shown: str | None = None) -> None:
        note_refused(self._parts, error, name=name, address=self._caller.address)
        self._refused[index] = {
            "index": index,
            "heartbeat_name": name or shown,
            "status": status_of(error),
            "message": message_of(error),
        }


def _name_of(given: JsonValue) -> str | None:
    """The name an object has, whether it may be one or not; None where it has none."""
    name = given.get("heartbeat_name") if isinstance(given, dict) else None
    return normal_name(name)[:NAME_MAX] if isinstance(name, str) else None


def _no_bulk(sentence: str) -> InvalidInputError:
    return InvalidInputError((Fault("body", sentence),))
