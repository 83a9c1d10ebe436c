"""Journal, segments and snapshots together against the life they have to bring back, killed after every action.

Services live, notifications are decided and settled, snapshots are written or fail at any block, PostgreSQL takes what
it takes, segments go. After each action the directory is copied, as a `kill -9` would leave it; the newest snapshot in
the copy may be cut or changed anywhere. What a start makes of the copy must be what lived.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from medic.core.effects import Notify, SettleNotification
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from tests.integration.test_recovery import NOW
from tests.integration.test_snapshot import Fleet, FullDisk, recovered_from, running, states

TARGETS = ("pagerduty", "slack")
ACTIONS = st.one_of(
    st.tuples(st.just("register"), st.integers(1, 6)),
    st.tuples(st.just("beat"), st.integers(0, 30)),
    st.tuples(st.just("beats"), st.integers(20, 60)),
    st.tuples(st.just("decide"), st.integers(1, 3)),
    st.tuples(st.just("settle"), st.integers(0, 5)),
    st.tuples(st.just("commit"), st.just(0)),
    st.tuples(st.just("snapshot"), st.just(1_000)),
    st.tuples(st.just("snapshot"), st.integers(0, 3)),
)
DAMAGE = st.none() | st.tuples(st.booleans(), st.integers(0, 1 << 16))


def owed(ledger) -> dict[str, tuple[str, ...]]:
    return {notification.notification_id: notification.targets for notification in ledger.pending()}


async def act(fleet: Fleet, disk: FullDisk, word: str, value: int) -> None:
    match word:
        case "register" if value not in fleet.members:
            fleet.register(value)
        case "beat" if fleet.members:
            names = sorted(fleet.members)
            fleet.beat(names[value % len(names)], ("UP", "DOWN", "DEGRADED")[value % 3])
        case "beats" if fleet.members:
            for _ in range(value):
                fleet.beat(min(fleet.members))
                await fleet.journal.wait_durable(fleet.journal.newest)
        case "decide":
            kind = NotificationKind.RESOLVE if len(fleet.ledger) % 3 == 2 else NotificationKind.TRIGGER
            one = Notification(f"{value}.{fleet.journal.newest}", kind, "medic-a", NOW, alert_id=value, targets=TARGETS)
            fleet.decide(Notify(NOW, NOW, one))
        case "settle" if len(fleet.ledger):
            pending = fleet.ledger.pending()
            one = pending[value % len(pending)]
            outcome = (Outcome.DELIVERED, Outcome.REFUSED)[value % 2]
            fleet.decide(SettleNotification(NOW, NOW, one.notification_id, 1, one.targets[0], outcome, 1))
        case "commit":
            fleet.committed = fleet.journal.durable
        case "snapshot":
            disk.blocks = value
            await fleet.keeper.finish()
    await fleet.journal.wait_durable(fleet.journal.newest)


async def compare(fleet: Fleet, copy: Path, damage: tuple[bool, int] | None) -> None:
    shutil.copytree(fleet.path, copy)
    snapshots = sorted((copy / "snapshot").glob("*.snapshot"))
    # With one snapshot alone the journal is whole, with two it is kept behind the older.
    if damage is not None and snapshots:
        is_cut, place = damage
        content = bytearray(snapshots[-1].read_bytes())
        place %= len(content)
        content[place] ^= 0x5A
        snapshots[-1].write_bytes(content[:place] if is_cut else content)
    recovered, _ = await recovered_from(copy)
    assert states(recovered.services) == states(fleet.members.values())
    assert owed(recovered.ledger) == owed(fleet.ledger)
    for alert_id in (1, 2, 3):
        assert recovered.ledger.reached_nobody(alert_id) == fleet.ledger.reached_nobody(alert_id)
    shutil.rmtree(copy)


@settings(max_examples=25)
@given(st.lists(st.tuples(ACTIONS, DAMAGE), min_size=4, max_size=14))
def test_after_every_action_a_start_brings_back_what_lived(story):
    async def live(place: Path) -> None:
        disk = FullDisk()
        async with running(place / "live", disk=disk) as fleet:
            for (word, value), damage in story:
                await act(fleet, disk, word, value)
                await compare(fleet, place / "copy", damage)

    with tempfile.TemporaryDirectory(prefix="medic-snapshot-") as place:
        trio.run(live, Path(place))
