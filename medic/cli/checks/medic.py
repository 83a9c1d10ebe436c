"""The Medic that may be running here, and the settings it would run with."""

from __future__ import annotations

import ssl

import httpx
import trio

from medic.cli.checks.asking import Said, ask
from medic.cli.checks.finding import Finding, Verdict, words
from medic.config.settings import Settings
from medic.http.standby import STANDS_BY

OTHER_NAME = "nothing, if the certificate is for another name than this one, and clients trust who made it"
"""The doctor asks by the address that Medic listens on, for which certificates rarely are."""


async def look_at_configuration(settings: Settings) -> list[Finding]:
    """What the settings come to. Faulty ones have ended the command before."""
    await trio.lowlevel.checkpoint()
    where = ", ".join(str(address) for address in settings.listen.addresses)
    sound = Finding("configuration", Verdict.OK, f"sound; listens on {where}, database {settings.database.kind}")
    return [
        sound,
        *(
            Finding("configuration", Verdict.NOTE, remark, "set it otherwise, or unset it")
            for remark in settings.remarks
        ),
    ]


async def look_at_medic(settings: Settings) -> list[Finding]:
    """How the Medic on the first address is."""
    address = settings.listen.addresses[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - asked, not bound
    place = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    try:
        said = await ask("GET", f"{settings.listen.scheme}://{place}/health")
    except httpx.ConnectError as error:
        if isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE" in str(error):
            return [Finding("Medic", Verdict.NOTE, f"answers on {place}, and TLS fails: {words(error)}", OTHER_NAME)]
        return [Finding("Medic", Verdict.NOTE, f"does not run on {place}", "medic serve starts it")]
    except httpx.HTTPError:
        said = Said()
    if STANDS_BY in str(said.fields.get("message", "")):
        return [Finding("Medic", Verdict.OK, f"runs on {place} and stands by")]
    if "components" not in said.fields:
        return [Finding("Medic", Verdict.BAD, f"another program listens on {place}", "set PORT to a free port")]
    status = str(said.fields.get("status", "unknown"))
    verdict = {"healthy": Verdict.OK, "degraded": Verdict.NOTE}.get(status, Verdict.BAD)
    to_do = "" if verdict is Verdict.OK else "medic-cli health"
    return [Finding("Medic", verdict, f"runs on {place} and is {status}", to_do)]
