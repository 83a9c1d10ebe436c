"""What Slack sends when somebody presses a button, as far as Medic reads it.

Source: https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
"""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field

from medic.alerting.slack_buttons import Button, Person, Press
from medic.core.units import EventId
from medic.errors import Fault, InvalidInputError
from medic.http.bodies import read_body
from medic.http.cursor import ID_MAX

FORM_FIELDS_MAX: Final = 16
"""Fields of the form. Slack sends one."""

SLACK_ID_MAX: Final = 64
"""Characters of an id of Slack's. They have 9 to 11."""

PERSON_NAME_MAX: Final = 500
"""Characters of a person's name that are read; fewer are shown."""

SlackId = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$", max_length=SLACK_ID_MAX)]


class SlackForm(BaseModel):
    """The form that Slack posts."""

    payload: Annotated[str, Field(description="JSON: Slack's payload of the type `block_actions`.")]


class _Part(BaseModel):
    """One object of the payload; what Medic does not read is passed over."""

    model_config = ConfigDict(extra="ignore")


class _User(_Part):
    id: SlackId
    username: Annotated[str, Field(max_length=PERSON_NAME_MAX)] = ""
    name: Annotated[str, Field(max_length=PERSON_NAME_MAX)] = ""


class _Action(_Part):
    action_id: Button
    value: Annotated[str, Field(pattern=r"^[0-9]{1,16}$")]


class _Channel(_Part):
    id: SlackId


class _Container(_Part):
    message_ts: Annotated[str, Field(pattern=r"^[0-9]{1,16}\.[0-9]{1,16}$")]


class _Interaction(_Part):
    type: Literal["block_actions"]
    user: _User
    channel: _Channel
    container: _Container
    # One press is one action; the list is a list because Slack's other elements have several.
    actions: Annotated[list[_Action], Field(min_length=1, max_length=1)]


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        raise InvalidInputError((Fault("body", "must be a form in UTF-8, as Slack sends it"),)) from None


def read_press(form: dict[str, str], *, address: str, request_id: str) -> Press:
    """What was pressed, where and by whom.

    Raises:
        InvalidInputError: it is something else; names each field that is not as Slack sends it.
    """
    if "payload" not in form:
        raise InvalidInputError((Fault("payload", "is missing"),))
    said = read_body(_Interaction, form["payload"].encode())
    [action] = said.actions
    alert_id = int(action.value)
    if alert_id > ID_MAX:
        raise InvalidInputError((Fault("actions", "names no alert"),))
    return Press(
        button=action.action_id,
        alert_id=EventId(alert_id),
        person=Person(said.user.id, said.user.username or said.user.name),
        channel=said.channel.id,
        message=said.container.message_ts,
        address=address,
        request_id=request_id,
    )
