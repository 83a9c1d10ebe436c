"""`medic`: runs Medic, and what belongs to running it. Operating a Medic that runs is `medic-cli`'s.

Exit status: 0 an orderly end, 1 something else is not as it should be, 2 the configuration is wrong.
"""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from medic.cli import show
from medic.cli.announcing import announce, announce_nowait, let_go_of_streams
from medic.cli.doctor_live import Live, say_life
from medic.cli.ending import end_as_it_should, say, settings_or_end
from medic.cli.show import Format, Output, Version
from medic.cli.watch import watch
from medic.config.load import load_settings_to_serve

app = show.commands(
    "Run Medic, a heartbeat monitor. It is configured by environment variables: docs/reference/configuration.md.",
    name="medic",
    epilog="Exit status: 0 an orderly end, 1 something is not as it should be, 2 the configuration is wrong.",
)

audit = show.commands("The record of who did what.")
app.add_typer(audit, name="audit")


secrets_app = show.commands("Stored secrets, in the database. To store one: medic-cli secret set.")
app.add_typer(secrets_app, name="secrets")


@secrets_app.callback()
def secrets() -> None:
    """Stored secrets, in the database. To store one: medic-cli secret set."""


@secrets_app.command("rotate")
def rotate() -> None:
    """Seal every secret with MEDIC_SECRETS_KEY; MEDIC_SECRETS_KEY_BEFORE is the key before. Medic may run meanwhile."""
    settings = settings_or_end()
    import trio  # noqa: PLC0415

    from medic.app.logs import configure_logs  # noqa: PLC0415
    from medic.cli.secrets import rotate_secrets  # noqa: PLC0415

    configure_logs(level="ERROR", as_json=False, debug=False)

    def act() -> None:
        if trio.run(rotate_secrets, settings, announce).unknown:
            raise typer.Exit(show.EXIT_REFUSED)

    end_as_it_should(act)


@app.callback()
def medic(*, version: Version = False) -> None:
    """Run Medic."""


@app.command("serve")
def serve(
    *,
    accept_gap: Annotated[
        bool,
        typer.Option("--accept-gap", help="Go on although PostgreSQL was put back to before where the journal begins."),
    ] = False,
    discard_journal: Annotated[
        bool,
        typer.Option(
            "--discard-journal",
            help="Where PostgreSQL was put back to a backup: go on from what it has, and put the journal aside.",
        ),
    ] = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM; then drain and stop what was started."""
    settings = settings_or_end(load_settings_to_serve)
    # Late, so that a wrong environment is told at once: these imports take half a second.
    import trio  # noqa: PLC0415

    from medic.app import sigterm  # noqa: PLC0415
    from medic.app.serve import serve as serve_medic  # noqa: PLC0415
    from medic.store.pairing import Gap  # noqa: PLC0415

    gap = Gap.DISCARD if discard_journal else Gap.ACCEPT if accept_gap else Gap.REFUSE
    sigterm.remember()
    end_as_it_should(partial(trio.run, serve_medic, settings, announce_nowait, gap))


@app.command("migrate")
def migrate(
    *,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Say what --adopt would do, and what has to be settled first. Changes nothing."),
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over the earlier system's tables; go on where that was ended.")
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Remove the old tables, once nobody wants to go back.")
    ] = False,
    back: Annotated[bool, typer.Option("--back", help="Put the old tables where they were.")] = False,
    zone: Annotated[
        str,
        typer.Option(
            "--zone",
            help="Time zone (IANA) of old columns that say none.",
            metavar="ZONE",
            show_default="MEDIC_TIMEZONE",
        ),
    ] = "",
) -> None:
    """Bring the database's schema up to this release, as `medic serve` does; or take over the earlier system's."""
    steps = {"plan": plan, "adopt": adopt, "finish": finish, "back": back}
    asked = [name for name, is_asked in steps.items() if is_asked]
    if len(asked) > 1:
        raise typer.BadParameter(f"--{asked[0]} and --{asked[1]}: one of them")
    read_in = zone_of(zone)
    settings = settings_or_end()
    import trio  # noqa: PLC0415

    from medic.app.logs import configure_logs  # noqa: PLC0415
    from medic.cli.adoption import Step, take_step  # noqa: PLC0415
    from medic.cli.migration import migrate_database  # noqa: PLC0415

    configure_logs(level="ERROR", as_json=False, debug=False)

    def act() -> None:
        if not asked:
            trio.run(migrate_database, settings, announce)
        elif not trio.run(take_step, settings, Step(asked[0]), read_in, announce):
            raise typer.Exit(show.EXIT_REFUSED)

    end_as_it_should(act)


@app.command("cleanup")
def cleanup(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be counted and removed, and do nothing.")
    ] = False,
    output: Format = Output.TABLE,
) -> None:
    """Count what is over and remove what is old, as Medic does by itself at 00:00 UTC. Medic may run meanwhile."""
    settings = settings_or_end()
    import trio  # noqa: PLC0415

    from medic.app.logs import configure_logs  # noqa: PLC0415
    from medic.cli import cleanup as cleaning  # noqa: PLC0415

    configure_logs(level="ERROR", as_json=False, debug=False)

    def act() -> None:
        if dry_run:
            plan = trio.run(cleaning.plan_cleanup, settings)
            show.print_json(cleaning.plan_json(plan)) if output is Output.JSON else cleaning.print_plan(plan)
            return
        report = trio.run(cleaning.clean_up, settings)
        show.print_json(cleaning.report_json(report)) if output is Output.JSON else cleaning.print_report(report)
        if report.left:
            raise typer.Exit(show.EXIT_REFUSED)

    end_as_it_should(act)


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written anew; what is there stays until it is whole.")],
) -> None:
    """Write all of the embedded database into one file, beside a Medic that runs or without."""
    settings = settings_or_end()
    import trio  # noqa: PLC0415

    from medic.app.logs import configure_logs  # noqa: PLC0415
    from medic.cli.backup import back_up  # noqa: PLC0415

    configure_logs(level="ERROR", as_json=False, debug=False)

    def act() -> None:
        if not trio.run(back_up, settings, file, announce):
            raise typer.Exit(show.EXIT_REFUSED)

    end_as_it_should(act)


@app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What medic backup has written.")],
    *,
    discard_journal: Annotated[
        bool,
        typer.Option("--discard-journal", help="Although a Medic has worked here: all that is here is put aside."),
    ] = False,
) -> None:
    """Put a backup in place of the embedded database, while Medic is stopped. Deletes nothing."""
    settings = settings_or_end()
    import trio  # noqa: PLC0415

    from medic.app.logs import configure_logs  # noqa: PLC0415
    from medic.cli.backup import restore as restore_backup  # noqa: PLC0415

    configure_logs(level="ERROR", as_json=False, debug=False)
    end_as_it_should(partial(trio.run, partial(restore_backup, may_discard=discard_journal), settings, file, announce))


@app.command("doctor")
def doctor(
    *,
    live: Live = False,
    output: Format = Output.TABLE,
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Really send PagerDuty a marked page, and its end.")
    ] = False,
) -> None:
    """Check what Medic needs, and say what to do about each finding. Pages nobody, unless --send-test asks for it."""
    settings = settings_or_end()
    if live:
        raise typer.Exit(say_life(settings))
    import trio  # noqa: PLC0415

    from medic.app.logs import configure_logs  # noqa: PLC0415
    from medic.cli.doctor import CHECKS, SEND_TEST, Verdict, examine  # noqa: PLC0415

    configure_logs(level="CRITICAL", as_json=False, debug=False)  # what fails is a finding, and stands in the table
    findings = trio.run(examine, settings, (*CHECKS, SEND_TEST) if send_test else CHECKS)
    if output is Output.JSON:
        show.print_json([finding.as_json() for finding in findings])
    else:
        show.print_table(
            ("Part", "Verdict", "Found", "To do"),
            ((finding.part, finding.verdict.value, finding.found, finding.to_do) for finding in findings),
        )
    if any(finding.verdict is Verdict.BAD for finding in findings):
        raise typer.Exit(show.EXIT_REFUSED)


@audit.command("verify")
def audit_verify(*, output: Format = Output.TABLE) -> None:
    """Show that nobody changed the audit, or which entry was: exit status 0 only if all of it is as it was sealed."""
    settings = settings_or_end()
    import trio  # noqa: PLC0415

    from medic.app.logs import configure_logs  # noqa: PLC0415
    from medic.cli.audit_verify import as_json, print_verified, verify_audit  # noqa: PLC0415

    configure_logs(level="ERROR", as_json=False, debug=False)

    def act() -> None:
        verified = trio.run(verify_audit, settings)
        if output is Output.JSON:
            show.print_json(as_json(verified))
        else:
            print_verified(verified)
        if verified.verdict.wrong:
            raise typer.Exit(show.EXIT_REFUSED)

    end_as_it_should(act)


@app.command("env")
def env() -> None:
    """Print exports with which psql and pg_dump reach the database in use: eval "$(medic env)"."""
    settings = settings_or_end()
    from medic.cli.environment import database_in_use, exports  # noqa: PLC0415
    from medic.store.embedded.cluster import find_install  # noqa: PLC0415

    def act() -> None:
        target, runs = database_in_use(settings)
        for line in exports(target.environment(), show_secrets=not sys.stdout.isatty()):
            print(line)
        if settings.database.target is None:
            # The server's own release: a psql of another one may do, an older pg_dump refuses.
            print(f'export PATH={shlex.quote(str(find_install() / "bin"))}:"$PATH"')
        if not runs:
            say("the embedded PostgreSQL does not run now: it runs while medic serve does.")

    end_as_it_should(act)


@app.command("docs")
def docs(
    page: Annotated[str | None, typer.Argument(metavar="[PAGE]", show_default=False, help="Which to print.")] = None,
) -> None:
    """Print a page of this release's documentation, or another file that came with it; without PAGE, list them."""
    from medic.cli.pages import print_list, print_page  # noqa: PLC0415

    if page is None:
        print_list()
    elif not print_page(page):
        raise typer.Exit(show.EXIT_REFUSED)


@app.command("demo")
def demo(
    *,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1, help="End after so long.", show_default="until Ctrl-C")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Where to listen; 0: any free port.")] = 0,
    folder: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Keep the data there.", show_default="a temporary folder, removed at the end"),
    ] = None,
) -> None:
    """Show Medic at work: fifty simulated services, some of which fail and recover. No vendor is told."""
    import trio  # noqa: PLC0415

    from medic.cli.demo import demo_folder, demo_settings, run_demo  # noqa: PLC0415

    def act() -> None:
        with demo_folder(folder) as place:
            settings = demo_settings(os.environ, port=port, folder=place)
            trio.run(partial(run_demo, settings, announce_nowait, seconds=seconds))

    end_as_it_should(act)


app.command("watch")(watch)


def zone_of(name: str) -> ZoneInfo | None:
    """The time zone of that name; None for no name.

    Raises:
        typer.BadParameter: there is none.
    """
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise typer.BadParameter(f"--zone: {name!r} is no time zone, as America/Chicago is") from None


def main() -> None:
    """Run the command line and end with its exit status."""
    try:
        app()
    finally:
        let_go_of_streams()


if __name__ == "__main__":
    main()
