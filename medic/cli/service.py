"""`medic-cli service …`: what is watched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import typer

from medic.cli import show
from medic.cli.client import Api, connect, service_path
from medic.cli.show import Format, Output, Url
from medic.cli.spans import METAVAR, parse_interval, parse_span
from medic.cli.why import explain
from medic.core.names import name_key, normal_name
from medic.errors import RefusedError
from medic.http.answers import JsonObject

app = show.commands("What is watched: list, register, change, mute, explain.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The heartbeat name.", show_default=False)]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Heartbeat names.", show_default=False)]
SomeNames = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Heartbeat names.", show_default=False)]
Team = Annotated[str | None, typer.Option("--team", help="All services of this team.")]
Match = Annotated[
    str | None, typer.Option("--match", help="All services whose name matches, as in 'pay-*'. Beside --team: of both.")
]
Label = Annotated[str | None, typer.Option("--service", help="The service the heartbeat belongs to.")]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        "--alert-interval",
        parser=parse_interval,
        metavar=METAVAR,
        help="Promised time between heartbeats.",
    ),
]
Threshold = Annotated[int | None, typer.Option("--threshold", help="Heartbeats promised within one interval.")]
OfTeam = Annotated[str | None, typer.Option("--team", help="Whom it concerns.")]
Priority = Annotated[str | None, typer.Option("--priority", help="p1 (most urgent) to p5.")]
Runbook = Annotated[str | None, typer.Option("--runbook", help="Address of the runbook; '' for none.")]
Grace = Annotated[
    float | None, typer.Option("--grace", parser=parse_span, metavar=METAVAR, help="Patience after the interval.")
]
Recovery = Annotated[
    float | None,
    typer.Option(
        "--recovery", parser=parse_span, metavar=METAVAR, help="How long it must be well before its alert closes."
    ),
]
Renotify = Annotated[
    float | None,
    typer.Option("--renotify", parser=parse_span, metavar=METAVAR, help="Time between reminders; 0s for none."),
]
RequireKey = Annotated[
    bool | None,
    typer.Option(
        "--require-key/--no-require-key",
        help="Whether its heartbeats need an API key, whatever MEDIC_AUTH asks of others.",
        show_default=False,
    ),
]

COLUMNS = ("Name", "Status", "Interval", "Team", "Priority", "Muted until", "Last heartbeat", "Deadline")


@app.command("list")
def list_services(
    *,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Only those.", show_default=False)] = None,
    team: Annotated[str | None, typer.Option("--team", help="Only this team's.")] = None,
    muted: Annotated[bool | None, typer.Option("--muted/--not-muted", help="Only those.", show_default=False)] = None,
    down: Annotated[
        bool | None,
        typer.Option("--down/--well", help="Only those with an open alert, or without.", show_default=False),
    ] = None,
    match: Annotated[str | None, typer.Option("--match", help="Only names like this, as in 'pay-*'.")] = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """List services by name."""
    flags = {"active": active, "muted": muted, "down": down}
    query = {name: str(int(flag)) for name, flag in flags.items() if flag is not None}
    if team is not None:
        query["team"] = team
    with connect(url) as api:
        rows = list(_matching(api, query, match))
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(COLUMNS, (_line(row) for row in rows), empty="No service is like that.")


@app.command("get")
def get_service(name: Name, *, url: Url = None, output: Format = Output.TABLE) -> None:
    """Show a service."""
    with connect(url) as api:
        row = api.get(service_path(name)).row
    _show_one(row, output)


@app.command("why")
def why(name: Name, *, url: Url = None, output: Format = Output.TABLE) -> None:
    """Explain how a service stands: deadline, last heartbeats and refusals, mute, who would be told now."""
    with connect(url) as api:
        explanation = explain(api, name)
    if output is Output.JSON:
        show.print_json(explanation.evidence)
    else:
        for sentence in explanation.sentences:
            show.say(sentence)
    if not explanation.registered:
        raise typer.Exit(show.EXIT_REFUSED)


@app.command("register")
def register(
    name: Name,
    *,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            "--alert-interval",
            parser=parse_interval,
            metavar=METAVAR,
            help="Promised time between heartbeats; a number alone means minutes.",
            show_default=False,
        ),
    ],
    service: Annotated[
        str | None, typer.Option("--service", help="The service it belongs to.", show_default="the name")
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", help="Becomes a prefix of the name: ENV-NAME.")
    ] = None,
    threshold: Threshold = None,
    team: OfTeam = None,
    priority: Priority = None,
    runbook: Runbook = None,
    grace: Grace = None,
    recovery: Recovery = None,
    renotify: Renotify = None,
    require_key: RequireKey = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="Registered, and not watched yet.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Change it if it is registered already and differs.")
    ] = False,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Register a service. Registered before: nothing changes, and the difference is shown."""
    body: JsonObject = {"heartbeat_name": name, "service_name": service or name}
    body |= _columns(interval, threshold, team, priority, runbook, grace, recovery, renotify, require_key)
    if environment is not None:
        body["environment"] = environment
    if inactive:
        body["active"] = 0
    with connect(url) as api:
        reply = api.post("/service", body, {"update": "1"} if update else {})
    show.print_note(reply.message)
    differs = reply.fields.get("differs")
    if isinstance(differs, dict):
        for field_name, pair in differs.items():
            if isinstance(pair, list) and len(pair) == 2:
                verb = "was" if update else "is"
                show.print_note(f"  {field_name} {verb} {pair[0]}, asked for: {pair[1]}")
        if differs and not update:
            show.print_note("Nothing was changed. --update changes it.")
    _show_one(reply.row, output)


@app.command("update")
def update_service(
    name: Name,
    *,
    service: Label = None,
    interval: Interval = None,
    threshold: Threshold = None,
    team: OfTeam = None,
    priority: Priority = None,
    runbook: Runbook = None,
    grace: Grace = None,
    recovery: Recovery = None,
    renotify: Renotify = None,
    require_key: RequireKey = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Change a service. No change pages by itself: a new interval, threshold or grace begins a fresh deadline."""
    body = _columns(interval, threshold, team, priority, runbook, grace, recovery, renotify, require_key)
    if service is not None:
        body["service_name"] = service
    if not body:
        raise show.fail_usage("say what to change; medic-cli service update --help lists it")
    with connect(url) as api:
        reply = api.post(service_path(name), body)
    show.print_note(reply.message)
    _show_one(reply.row, output)


@app.command("activate")
def activate(names: Names, *, url: Url = None, output: Format = Output.TABLE) -> None:
    """Watch services again, each with a fresh deadline."""
    with connect(url) as api:
        _change_each(api, names, {"active": 1}, lambda row: f"{show.text(row, 'heartbeat_name')} is watched.", output)


@app.command("deactivate")
def deactivate(names: Names, *, url: Url = None, output: Format = Output.TABLE) -> None:
    """Stop watching services: their open alerts close, their heartbeats are refused."""
    with connect(url) as api:
        _change_each(
            api, names, {"active": 0}, lambda row: f"{show.text(row, 'heartbeat_name')} is no longer watched.", output
        )


@app.command("mute")
def mute(
    names: SomeNames = None,
    *,
    team: Team = None,
    match: Match = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration", "-d", parser=parse_span, metavar=METAVAR, help="How long, as in 2h; else Medic's default."
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="Shown to whoever asks.")] = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Tell nobody about services for a while. Alerts open all the same; what is still down at the end is told then."""
    body: JsonObject = {"muted": 1}
    if duration is not None:
        body["mute_minutes"] = duration / 60
    if reason is not None:
        body["mute_reason"] = reason
    with connect(url) as api:
        _change_each(api, _selected(api, names, team, match), body, _muted_sentence, output)


@app.command("unmute")
def unmute(
    names: SomeNames = None,
    *,
    team: Team = None,
    match: Match = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Tell people again. What is down now is told at once."""
    with connect(url) as api:
        chosen = _selected(api, names, team, match)
        _change_each(api, chosen, {"muted": 0}, lambda row: f"{show.text(row, 'heartbeat_name')} is not muted.", output)


@app.command("delete")
def delete(
    names: Names,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Delete services. Their history keeps name and id; their names are free at once."""
    if not yes:
        if not sys.stdin.isatty():
            raise show.fail_usage("deleting asks for confirmation, and there is no terminal to ask on: say --yes")
        whom = names[0] if len(names) == 1 else f"these {len(names)} services"
        typer.confirm(f"Delete {whom}?", abort=True, err=True)
    deleted: list[JsonObject] = []

    def remove(name: str) -> None:
        reply = api.delete(service_path(name))
        deleted.append({"heartbeat_name": name, "message": reply.message})
        if output is Output.TABLE:
            show.print_note(f"{name}: {reply.message}")

    with connect(url) as api:
        try:
            _each(names, remove)
        finally:
            if output is Output.JSON:
                show.print_json(deleted)


# ------------------------------------------------------------------------------------------------------------- inside


def _columns(
    interval: float | None,
    threshold: int | None,
    team: str | None,
    priority: str | None,
    runbook: str | None,
    grace: float | None,
    recovery: float | None,
    renotify: float | None,
    require_key: bool | None,
) -> JsonObject:
    """The fields of a body that were given, in the API's units."""
    given: JsonObject = {
        "alert_interval": None if interval is None else _shortest(interval / 60),
        "threshold": threshold,
        "team": team,
        "priority": priority,
        "runbook": runbook,
        "grace_period_seconds": None if grace is None else _shortest(grace),
        "recovery_seconds": None if recovery is None else _shortest(recovery),
        "renotify_minutes": None if renotify is None else _shortest(renotify / 60),
        "require_key": None if require_key is None else int(require_key),
    }
    return {name: value for name, value in given.items() if value is not None}


def _shortest(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _matching(api: Api, query: dict[str, str], match: str | None) -> Iterator[JsonObject]:
    """The services a listing asks for whose name is like `match`, case of A-Z aside."""
    pattern = None if match is None else name_key(normal_name(match))
    for row in api.pages("/service", query):
        if pattern is None or fnmatchcase(name_key(show.text(row, "heartbeat_name")), pattern):
            yield row


def _selected(api: Api, names: Sequence[str] | None, team: str | None, match: str | None) -> list[str]:
    """The names given, and those that team and pattern choose."""
    if not names and team is None and match is None:
        raise show.fail_usage("name services, or choose them with --team or --match")
    chosen = list(names or ())
    if team is not None or match is not None:
        query = {} if team is None else {"team": team}
        found = [show.text(row, "heartbeat_name") for row in _matching(api, query, match)]
        if not found:
            raise RefusedError("No service is like that.")
        chosen += found
    return list(dict.fromkeys(chosen))


def _change_each(
    api: Api, names: Sequence[str], body: JsonObject, sentence: Callable[[JsonObject], str], output: Output
) -> None:
    """Post the same change to each service, and say how each stands then."""
    changed: list[JsonObject] = []

    def change(name: str) -> None:
        row = api.post(service_path(name), body).row
        changed.append(row)
        if output is Output.TABLE:
            show.say(sentence(row))

    try:
        _each(names, change)
    finally:
        if output is Output.JSON:
            show.print_json(changed)


def _each(names: Sequence[str], act: Callable[[str], None]) -> None:
    """Act on each name; a refusal of one does not keep the others waiting, and is the exit status in the end."""
    refused = False
    for name in names:
        try:
            act(name)
        except RefusedError as error:
            refused = True
            show.print_refusal(error)
    if refused:
        raise typer.Exit(show.EXIT_REFUSED)


def _muted_sentence(row: JsonObject) -> str:
    until = show.moment_and_distance(row, "mute_until")
    name = show.text(row, "heartbeat_name")
    return f"{name} is muted until {until}." if until else f"{name} is muted until somebody unmutes it."


def _line(row: JsonObject) -> tuple[str, ...]:
    muted = show.moment(row, "mute_until") or ("unmuted" if show.is_set(row, "muted") else "")
    return (
        show.text(row, "heartbeat_name"),
        show.text(row, "status"),
        show.minutes(row, "alert_interval"),
        show.text(row, "team"),
        show.text(row, "priority"),
        muted,
        show.moment(row, "last_heartbeat_at"),
        show.moment(row, "deadline_at"),
    )


def _show_one(row: JsonObject, output: Output) -> None:
    if output is Output.JSON:
        show.print_json(row)
        return
    threshold = show.text(row, "threshold")
    interval = show.minutes(row, "alert_interval")
    status = show.text(row, "last_status")
    heard = show.moment_and_distance(row, "last_heartbeat_at")
    muted = show.moment_and_distance(row, "mute_until") or "until somebody unmutes it"
    by, reason = show.text(row, "muted_by"), show.text(row, "mute_reason")
    muted += (f", by {by}" if by else "") + (f": {reason}" if reason else "")
    refusal = row.get("last_refusal")
    show.print_facts(
        (
            ("name", show.text(row, "heartbeat_name")),
            ("service", show.text(row, "service_name")),
            ("status", show.text(row, "status")),
            ("interval", interval if threshold == "1" else f"{threshold} heartbeats in {interval}"),
            ("grace", _unless_none(show.seconds(row, "grace_period_seconds"))),
            ("recovery", _unless_none(show.seconds(row, "recovery_seconds"))),
            (
                "reminders",
                f"every {renotify}" if (renotify := _unless_none(show.minutes(row, "renotify_minutes"))) else "none",
            ),
            ("last heartbeat", f"{heard} ({status})" if heard else "never"),
            ("deadline", show.moment_and_distance(row, "deadline_at")),
            ("muted", muted if show.is_set(row, "muted") else "no"),
            ("team", show.text(row, "team")),
            ("priority", show.text(row, "priority")),
            ("runbook", show.text(row, "runbook")),
            ("key", "required" if show.is_set(row, "require_key") else "as MEDIC_AUTH says"),
            ("registered", show.moment(row, "date_added")),
            ("changed", show.moment(row, "date_modified")),
            ("last refusal", _refusal_words(refusal) if isinstance(refusal, dict) else ""),
            ("id", show.text(row, "service_id")),
        )
    )


def _refusal_words(refusal: JsonObject) -> str:
    at = show.moment_and_distance(refusal, "at")
    return f"{at}, from {show.text(refusal, 'address')}: {show.text(refusal, 'reason')}"


def _unless_none(words: str) -> str:
    return "" if words == "0 s" else words
