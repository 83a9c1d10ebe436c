"""What it costs to know who sends a heartbeat: on the express lane with keys, against the same lane that asks nobody.

    python -m bench.gate [--quick]

CPU time of this process, medians of several rounds, in microseconds. First the parts:

* recognised: the gatekeeper asked from the headers on, as for a connection's first heartbeat; by mode.
* remembered: the same for a connection that it knows, as for all but the first of a second.
* admitted: whose heartbeats the caller may send, by what kind of key.

Then the lane itself, over socket pairs: each of many connections sends heartbeats that are answered before the next
(`--quick`: fewer). The journal is one in memory, so what is measured is the way in, the turn and the way out. Rounds of
the modes take turns, so that whatever else the machine does befalls them alike; the ratio is of their medians.
"""

from __future__ import annotations

import argparse
import platform
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from bench.turn import SERVICES, World, each
from medic.access.caller import Caller
from medic.access.entrance import HEARTBEATS
from medic.access.introduction import Introduction
from medic.access.keyless import KeylessRules
from medic.access.keys import ApiKey, KeyRing, digest_of, key_id_of, secret_of, text_of
from medic.access.mode import AuthMode
from medic.access.scope import Scope
from medic.access.uses import KeyUses
from medic.core.units import InstantMs
from medic.http.express_lane import ExpressLane
from medic.http.framing import Framing, HotHead
from medic.http.gate import Gate
from medic.http.hot_routes import HEARTBEAT
from medic.http.lane_connection import LaneConnection
from medic.http.parts import ApiParts, ApiSettings
from medic.http.recognition import recognise_again
from medic.metrics.requests import RequestMeter
from medic.ports import Position, WhenDurable

KEYS: Final = 1_000
"""Keys in the ring. Finding one costs the same however many there are."""

CALLS: Final = 50_000
ROUNDS: Final = 9
CONNECTIONS: Final = 64
HEARTBEATS_EACH: Final = 200
ADDRESS: Final = "192.0.2.7"

Figures = dict[str, float]


class Parts:
    """What the express lane asks of `ApiParts`."""

    def __init__(self, world: World, gate: Gate) -> None:
        self.intake = world.intake
        self.clock = world.clock
        self.roster = world.directory
        self.settings = ApiSettings()
        self.meter = RequestMeter()
        self.gatekeeper = gate


def keys_of(ring: KeyRing) -> list[str]:
    """Many keys in the ring; the texts of a plain one, of one of certain names, and of one of certain teams."""
    shown = []
    for number in range(KEYS):
        key_id, secret = key_id_of(number.to_bytes(8)), secret_of(number.to_bytes(32))
        names = ("service-*",) if number == 1 else ()
        teams = tuple(f"team-{team}" for team in range(20)) if number == 2 else ()
        scopes = frozenset({Scope.HEARTBEAT})
        ring.put(ApiKey(key_id, f"key {number}", scopes, digest_of(secret), InstantMs(0), names=names, teams=teams))
        shown.append(text_of(key_id, secret))
    return shown[:3]


def gate_of(world: World, mode: AuthMode, ring: KeyRing) -> Gate:
    """A gatekeeper in this mode."""
    return Gate(
        mode,
        ring,
        KeyUses(),
        keyless=KeylessRules(),
        roster=world.directory,
        clock=world.clock,
        meter=RequestMeter(),
    )


def request_of(name: str, key: str = "") -> bytes:
    """A heartbeat as curl sends it."""
    body = f'{{"heartbeat_name":"{name}","status":"UP"}}'
    shown = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST /heartbeat HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n{shown}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def head_of(framing: Framing, request: bytes) -> HotHead:
    """Its head."""
    head = framing.head(request)
    if not isinstance(head, HotHead):
        raise TypeError(head)
    return head


def parts_once(world: World, ring: KeyRing, keys: list[str]) -> Figures:
    """µs of each part."""
    plain, of_names, of_teams = keys
    asking, open_gate = gate_of(world, AuthMode.KEYS, ring), gate_of(world, AuthMode.OPEN, ring)
    framing = Framing((HEARTBEAT,))
    head = head_of(framing, request_of(world.names[0], plain))
    bare = head_of(framing, request_of(world.names[0]))
    ours, theirs = socket.socketpair()
    connection = LaneConnection(ours, Caller(ADDRESS))
    parts: ApiParts = Parts(world, asking)  # type: ignore[assignment]  # all of it that is asked for
    name = world.names[7]

    def recognised(gate: Gate, introduction: Introduction) -> Callable[[], object]:
        return lambda: gate.recognise(introduction, ADDRESS, HEARTBEATS)

    def admitted(key: str) -> Callable[[], object]:
        caller = asking.recognise(Introduction((f"Bearer {key}",)), ADDRESS, HEARTBEATS)
        return lambda: asking.admit_heartbeat(caller, name)

    def whole() -> None:
        connection.known = None
        asking.admit_heartbeat(recognise_again(parts, connection, head, 0.0), name)

    recognise_again(parts, connection, head, 0.0)
    nobody = Caller(ADDRESS)
    found = {
        "recognised by a key": each(CALLS, recognised(asking, head.introduction)),
        "recognised without one, open": each(CALLS, recognised(open_gate, bare.introduction)),
        "remembered": each(CALLS, lambda: recognise_again(parts, connection, head, 0.0)),
        "admitted by a plain key": each(CALLS, admitted(plain)),
        "admitted by a key of names": each(CALLS, admitted(of_names)),
        "admitted by a key of teams": each(CALLS, admitted(of_teams)),
        "admitted without one": each(CALLS, lambda: open_gate.admit_heartbeat(nobody, name)),
        "recognised and admitted by a key": each(CALLS, whole),
    }
    ours.close()
    theirs.close()
    return found


async def lane_once(world: World, gate: Gate, key: str, heartbeats_each: int) -> float:
    """µs of CPU a heartbeat of the whole lane, its clients' own calls included."""
    parts: ApiParts = Parts(world, gate)  # type: ignore[assignment]  # all of it that is asked for

    def at_once(_position: Position, call: WhenDurable) -> None:
        call(None)

    lane = ExpressLane(parts, when_durable=at_once, admit=lambda _opened, _peer: True, pass_on=_pass_on)
    listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
    listener.setblocking(False)
    async with trio.open_nursery() as nursery:
        await nursery.start(lane.run, [listener])
        clients = [socket.create_connection(listener.getsockname()) for _ in range(CONNECTIONS)]
        requests = [request_of(world.names[number * 7 % SERVICES], key) for number in range(CONNECTIONS)]
        for client in clients:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.process_time()
        for _ in range(heartbeats_each):
            for client, request in zip(clients, requests, strict=True):
                client.send(request)
            for client in clients:
                await trio.lowlevel.wait_readable(client)
                if not client.recv(4_096).startswith(b"HTTP/1.1 201"):
                    raise RuntimeError("a heartbeat was not taken")
        spent = time.process_time() - begun
        for client in clients:
            client.close()
        nursery.cancel_scope.cancel()
    return spent / (CONNECTIONS * heartbeats_each) * 1e6


def _pass_on(_opened: socket.socket, _peer: str, begun: bytes) -> None:
    raise RuntimeError(f"this is not the lane's: {begun!r}")


def show(figures: dict[str, list[float]]) -> None:
    """Print medians, with least and most."""
    for part, found in figures.items():
        print(f"  {part:<40} {statistics.median(found):7.2f}   ({min(found):.2f} to {max(found):.2f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for trying out")
    quick = parser.parse_args().quick
    rounds, heartbeats_each = (2, 20) if quick else (ROUNDS, HEARTBEATS_EACH)
    print(f"CPython {platform.python_version()}, {KEYS} keys, {rounds} rounds")
    parts: dict[str, list[float]] = {}
    lanes: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as directory:
        world = World(Path(directory), SERVICES)
        ring = KeyRing()
        keys = keys_of(ring)
        modes = {
            "lane, nobody asked": (gate_of(world, AuthMode.OPEN, ring), ""),
            "lane, a plain key": (gate_of(world, AuthMode.KEYS, ring), keys[0]),
            "lane, a key of names": (gate_of(world, AuthMode.KEYS, ring), keys[1]),
        }
        for _ in range(rounds):
            for part, figure in parts_once(world, ring, keys).items():
                parts.setdefault(part, []).append(figure)
            for mode, (gate, key) in modes.items():
                lanes.setdefault(mode, []).append(trio.run(lane_once, world, gate, key, heartbeats_each))
    print("µs of CPU, each part")
    show(parts)
    print("µs of CPU a heartbeat, clients included")
    show(lanes)
    base = statistics.median(lanes["lane, nobody asked"])
    for mode, found in lanes.items():
        pairs = [bare / own for bare, own in zip(lanes["lane, nobody asked"], found, strict=True)]
        ratio = base / statistics.median(found)
        print(f"  {mode}: {ratio:.3f} of the rate where nobody is asked ({min(pairs):.3f} to {max(pairs):.3f})")


if __name__ == "__main__":
    main()
