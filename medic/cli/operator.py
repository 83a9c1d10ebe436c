"""`medic-cli`: the operators' command. It speaks HTTP to a running Medic and decides nothing.

Exit status: 0 done, 1 refused or not found, 2 wrong usage, 3 Medic cannot be reached.
"""

from __future__ import annotations

import sys

import typer

from medic.cli import alerts, audit, heartbeat, key, report, secret, service, show, webhook
from medic.cli.client import connect
from medic.cli.show import Format, Output, Url, Version
from medic.errors import RefusedError, UnavailableError

app = show.commands(
    "Operate a running Medic. It is found at --url, else at MEDIC_BASE_URL, else at http://localhost:8080.",
    name="medic-cli",
    epilog="Exit status: 0 done, 1 refused or not found, 2 wrong usage, 3 Medic cannot be reached.",
)
service.app.command("report")(report.report)
app.add_typer(service.app, name="service")
app.add_typer(heartbeat.app, name="heartbeat")
app.add_typer(alerts.app, name="alerts")
app.add_typer(webhook.app, name="webhook")
app.add_typer(audit.app, name="audit")
app.add_typer(key.app, name="key")
app.add_typer(secret.app, name="secret")


@app.callback()
def medic_cli(*, version: Version = False) -> None:
    """Operate a running Medic."""


@app.command("health")
def health(*, url: Url = None, output: Format = Output.TABLE) -> None:
    """Show Medic's own health. Exit status 0 only if it is healthy."""
    with connect(url) as api:
        reply = api.health()
    status = show.text(reply.fields, "status")
    if output is Output.JSON:
        show.print_json(reply.fields)
    else:
        show.say(f"Medic {show.text(reply.fields, 'version')} is {status}.")
        components = reply.fields.get("components")
        rows = [
            (name, show.text(component, "status"), show.moment(component, "since"), _facts(component))
            for name, component in (components.items() if isinstance(components, dict) else ())
            if isinstance(component, dict)
        ]
        show.print_table(("Component", "Status", "Since", "More"), rows)
    if status != "healthy":
        raise typer.Exit(show.EXIT_REFUSED)


def _facts(component: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in component.items() if name not in {"status", "since"})


def main() -> None:
    """Run the command line and end with its exit status."""
    try:
        app()
    except RefusedError as error:
        show.print_refusal(error)
        sys.exit(show.EXIT_REFUSED)
    except UnavailableError as error:
        show.print_note(f"medic-cli: {error.message}")
        sys.exit(show.EXIT_UNREACHABLE)


if __name__ == "__main__":
    main()
