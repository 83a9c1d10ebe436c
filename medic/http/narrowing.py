"""What a key that is restricted to names or teams sees and changes: every view that takes a service asks here.

What is out of its reach is not there for it: a listing leaves it out, a look at it and a change of it are answered 404,
in the same words as for a name that nobody registered, so that the answer says nothing of what others have. Only a
registration is told 403, since a name is taken or free for all of them together.
"""

from __future__ import annotations

from medic.access.reach import reach_of
from medic.access.restriction import may_see, reaches
from medic.core.service import Service
from medic.core.units import EventId
from medic.errors import ForbiddenError, UnknownAlertError, UnknownServiceError
from medic.history import AlertRow
from medic.http.call import Call
from medic.http.parts import ApiParts


def sees(call: Call, service: Service) -> bool:
    """Whether the service is there for this caller."""
    key = call.caller.key
    return key is None or may_see(key, service)


def find_service(parts: ApiParts, call: Call, name: str) -> Service:
    """The service of that name.

    Raises:
        UnknownServiceError: there is none for this caller.
    """
    service = parts.roster.find(name)
    if service is None or not sees(call, service):
        raise UnknownServiceError(name)
    return service


def require_within(call: Call, name: str, team: str) -> None:
    """Return if this caller may have a service of that name in that team.

    Raises:
        ForbiddenError: their key does not reach so far.
    """
    key = call.caller.key
    if key is not None and not reaches(key, name, team):
        raise ForbiddenError(
            f"The key {key.name} does not reach {name} there: it is restricted to other names or teams.", reason="name"
        )


async def require_alert(parts: ApiParts, call: Call, alert_id: EventId) -> None:
    """Return if the alert is there for this caller.

    Raises:
        UnknownAlertError: it is not.
        DatabaseUnavailableError: it is closed, and PostgreSQL does not answer.
    """
    reach = reach_of(call.caller)
    if reach.is_everything:
        return
    service = parts.roster.by_alert(alert_id)
    if service is not None and service.alert is not None:
        seen = reach.covers(service.row.heartbeat_name, service.alert.team)
    else:
        history = await parts.history.alert(alert_id)
        seen = history is not None and sees_row(call, history.alert)
    if not seen:
        raise UnknownAlertError(alert_id)


def sees_row(call: Call, row: AlertRow) -> bool:
    """Whether the alert is there for this caller."""
    return reach_of(call.caller).covers(row.heartbeat_name, row.team)
