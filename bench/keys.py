"""What it costs to check a key, beside the ways it could have been done.

    python -m bench.keys [--rounds 7] [--keys 10000]

CPU time of this process in microseconds a check, the median of several rounds, all of them in the same run. The whole
check is what one heartbeat with a key costs more than one without: the key is found, its restriction asked, its use
noted. The rivals are an HMAC over the secret, a hash made for passwords, and keys that are not found by their id.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Final

from medic.access.keys import (
    ID_BYTES,
    SECRET_BYTES,
    ApiKey,
    KeyDraft,
    KeyRing,
    digest_of,
    key_id_of,
    secret_of,
    text_of,
)
from medic.access.restriction import may_beat
from medic.access.scope import Scope
from medic.access.uses import KeyUses
from medic.core.units import InstantMs
from medic.errors import UnauthorizedError

CHECKS: Final = 20_000
SLOW_CHECKS: Final = 5
NOW: Final = InstantMs(1_700_000_000_000)
NAME: Final = "pay-nightly-settlement"
SCRYPT: Final = {"n": 1 << 14, "r": 8, "p": 1}
"""The least that is advised for passwords."""


def make_keys(count: int) -> list[tuple[ApiKey, str]]:
    """Keys and their texts, the same in every run."""
    random = Random(7)
    made = []
    for number in range(count):
        key_id, secret = key_id_of(random.randbytes(ID_BYTES)), secret_of(random.randbytes(SECRET_BYTES))
        names = ("pay-*", "*-settlement") if number == 0 else ()
        draft = KeyDraft(f"key-{number}", frozenset({Scope.HEARTBEAT}), names)
        made.append((draft.key(key_id, digest_of(secret), NOW, ""), text_of(key_id, secret)))
    return made


def whole_check(ring: KeyRing, uses: KeyUses, text: str) -> None:
    """All that a heartbeat with a key pays for it where its connection does not remember it."""
    key = ring.find(text, NOW)
    if not may_beat(key, NAME, None):
        raise SystemExit("the key does not reach the name")
    uses.note(key, NOW, "192.0.2.7")


def refused(ring: KeyRing, text: str) -> None:
    """A key that is none."""
    with suppress(UnauthorizedError):
        ring.find(text, NOW)
        raise SystemExit("the key was found")


def by_hmac(secret: bytes, digest: bytes, pepper: bytes) -> bool:
    """A keyed hash of the secret."""
    return hmac.compare_digest(hmac.digest(pepper, secret, "sha256"), digest)


def by_looking_at_all(digests: list[bytes], secret: bytes) -> bool:
    """Keys without an id: the hash is compared with each."""
    shown = hashlib.sha256(secret).digest()
    return sum(hmac.compare_digest(shown, digest) for digest in digests) > 0


def cases(count: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """How often each is run a round, and what is run."""
    made = make_keys(count)
    (_, restricted), (free, text), *_ = made
    few, many = KeyRing([key for key, _ in made[:10]]), KeyRing([key for key, _ in made])
    uses, secret = KeyUses(), text[-43:].encode()
    digests = [key.digest for key, _ in made]
    return {
        "whole check": (CHECKS, partial(whole_check, many, uses, text)),
        "whole check, restricted": (CHECKS, partial(whole_check, many, uses, restricted)),
        "found among 10": (CHECKS, partial(few.find, text, NOW)),
        f"found among {count}": (CHECKS, partial(many.find, text, NOW)),
        "wrong secret": (CHECKS, partial(refused, many, f"{text[:-1]}{'a' if text[-1] != 'a' else 'b'}")),
        "unknown id": (CHECKS, partial(refused, many, text_of("a" * 12, text[-43:]))),
        "by HMAC, the hash alone": (CHECKS, partial(by_hmac, secret, free.digest, secret)),
        "by scrypt, the hash alone": (SLOW_CHECKS, partial(hashlib.scrypt, secret, salt=b"salt", **SCRYPT)),
        f"by looking at all {count}": (SLOW_CHECKS, partial(by_looking_at_all, digests, secret)),
    }


def cpu_us(times: int, run: Callable[[], object]) -> float:
    """CPU time of one call."""
    began = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - began) / times * 1e6


def main() -> None:
    """Measure in turn, round by round, and print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keys", type=int, default=10_000)
    asked = parser.parse_args()
    measured: dict[str, list[float]] = {name: [] for name in cases(asked.keys)}
    for _ in range(asked.rounds):
        for name, (times, run) in cases(asked.keys).items():
            measured[name].append(cpu_us(times, run))
    medians = {name: round(statistics.median(figures), 2) for name, figures in measured.items()}
    for name, figure in medians.items():
        print(f"{name:26} {figure:10.2f} µs")
    print(json.dumps({"bench": "keys", "rounds": asked.rounds, "keys": asked.keys, "cpu_us": medians}))


if __name__ == "__main__":
    main()
