"""What Medic says once it serves: where, with which database, whom it would tell, and three lines to try it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from medic.access.mode import AuthMode
from medic.alerting.outbound import host_of
from medic.app.access import describe_access, describe_signatures
from medic.app.slack import describe_buttons
from medic.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Started:
    """What a start found.

    Attributes:
        version: Medic's.
        addresses: URLs it listens on, the first one first.
        database: In words.
        services: Registered.
        alerts: Open.
        targets: Who would be told, in words.
        remarks: What the operator has to see to.
    """

    version: str
    addresses: tuple[str, ...]
    database: str
    services: int
    alerts: int
    targets: str
    remarks: tuple[str, ...] = ()


DURABILITY = {
    "always": "a heartbeat answered 201 survives kill -9 and loss of power",
    "interval": "a heartbeat answered 201 survives kill -9; loss of power may take the last 50 ms",
}
"""What `MEDIC_JOURNAL_SYNC` means for whoever reads the first screen."""


NOTHING_SIGNED = "no buttons in Slack, no signed heartbeats: SLACK_SIGNING_SECRET and MEDIC_WEBHOOK_SECRET are not set"


def describe_signed(settings: Settings) -> tuple[str, ...]:
    """What is taken for its signature: a line each, and one for both where neither is."""
    if settings.slack_signing_secret is None and settings.webhook_secret is None:
        return (NOTHING_SIGNED,)
    return describe_signatures(settings), describe_buttons(settings)


def describe_watched(settings: Settings) -> tuple[str, ...]:
    """Who is called while Medic makes progress; no line where nobody is."""
    deadman = settings.deadman
    if deadman is None:
        return ()
    return (f"{host_of(deadman.url.get_secret_value())} is called every {deadman.seconds:g} s, while progress is made",)


def say_started(started: Started, settings: Settings, announce: Callable[[str], None]) -> None:
    """Print the first screen."""
    url = started.addresses[0]
    services = "1 service" if started.services == 1 else f"{started.services} services"
    alerts = "none of them late" if not started.alerts else f"{started.alerts} with an open alert"
    shown = "" if settings.access.mode is AuthMode.OPEN else ' -H "X-API-Key: $MEDIC_API_KEY"'
    lines = [
        f"Medic {started.version} listens on {', '.join(started.addresses)}",
        f"  database  {started.database}",
        f"  watching  {services}, {alerts}" if started.services else "  watching  no service yet",
        f"  telling   {started.targets}",
        f"  access    {describe_access(settings)}",
        *(f"            {sentence}" for sentence in describe_signed(settings)),
        f"  journal   {DURABILITY[settings.storage.journal_sync]}",
        *(f"  watched   {sentence}" for sentence in describe_watched(settings)),
        *(f"  note      {remark}" for remark in (*settings.remarks, *started.remarks)),
        "",
        "To try it, copy these into another terminal: a service that promises a heartbeat every 12 seconds,",
        "one heartbeat and, 12 seconds later, the alert."
        + (" MEDIC_API_KEY there has to hold an admin key." if shown else ""),
        "",
        f"""  curl{shown} {url}/service -d '{{"heartbeat_name":"hello","service_name":"demo","alert_interval":0.2}}'""",
        f"""  curl{shown} {url}/heartbeat -d '{{"heartbeat_name":"hello","service_name":"demo","status":"UP"}}'""",
        f"  curl{shown} '{url}/alerts?active=1'",
        "",
        f"Documentation: {url}/docs   Stop: Ctrl-C",
    ]
    for line in lines:
        announce(line)
