"""Slack's Web API, as far as Medic speaks it, and what Slack sends when somebody presses a button.

`chat.postMessage`, `chat.update` and `chat.postEphemeral`: their documented arguments, limits, errors and markup.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import jsonschema

from tests.vendors.behaviour import Refuse
from tests.vendors.server import Answered, Arrival, VendorServer

TOKEN = "xoxb-test-token"
CHANNEL = "C0123456789"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
USER, USER_NAME = "U0123456789", "ada"

TEXT_MAX = 40_000
BLOCKS_MAX = 50
METADATA_MAX_BYTES = 8_000


def _text(kinds: list[str], longest: int) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "text"],
        "additionalProperties": False,
        "properties": {
            "type": {"enum": kinds},
            "text": {"type": "string", "minLength": 1, "maxLength": longest},
            "emoji": {"type": "boolean"},
            "verbatim": {"type": "boolean"},
        },
    }


_ANY_TEXT = ["plain_text", "mrkdwn"]
_BLOCKS: list[dict[str, Any]] = [
    {
        "required": ["type", "text"],
        "additionalProperties": False,
        "properties": {"type": {"const": "header"}, "text": _text(["plain_text"], 150), "block_id": {"maxLength": 255}},
    },
    {
        "required": ["type"],
        "additionalProperties": False,
        "anyOf": [{"required": ["text"]}, {"required": ["fields"]}],
        "properties": {
            "type": {"const": "section"},
            "text": _text(_ANY_TEXT, 3000),
            "fields": {"type": "array", "minItems": 1, "maxItems": 10, "items": _text(_ANY_TEXT, 2000)},
            "block_id": {"maxLength": 255},
        },
    },
    {
        "required": ["type", "elements"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": "context"},
            "elements": {"type": "array", "minItems": 1, "maxItems": 10, "items": _text(_ANY_TEXT, 2000)},
            "block_id": {"maxLength": 255},
        },
    },
    {"required": ["type"], "additionalProperties": False, "properties": {"type": {"const": "divider"}}},
    {
        "required": ["type", "elements"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": "actions"},
            "elements": {
                "type": "array",
                "minItems": 1,
                "maxItems": 25,
                "items": {
                    "type": "object",
                    "required": ["type", "text"],
                    "additionalProperties": False,
                    "properties": {
                        "type": {"const": "button"},
                        "text": _text(["plain_text"], 75),
                        "action_id": {"type": "string", "minLength": 1, "maxLength": 255},
                        "value": {"type": "string", "minLength": 1, "maxLength": 2000},
                        "style": {"enum": ["primary", "danger"]},
                    },
                },
            },
            "block_id": {"maxLength": 255},
        },
    },
]
MESSAGE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["channel"],
    "anyOf": [{"required": ["text"]}, {"required": ["blocks"]}],
    "additionalProperties": False,
    "properties": {
        "channel": {"type": "string", "minLength": 1},
        "text": {"type": "string", "minLength": 1, "maxLength": TEXT_MAX},
        "blocks": {
            "type": "array",
            "maxItems": BLOCKS_MAX,
            "items": {"type": "object", "oneOf": _BLOCKS},
        },
        "metadata": {
            "type": "object",
            "required": ["event_type", "event_payload"],
            "additionalProperties": False,
            "properties": {
                "event_type": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
                "event_payload": {
                    "type": "object",
                    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                },
            },
        },
        "mrkdwn": {"type": "boolean"},
        "parse": {"enum": ["none", "full"]},
        "link_names": {"type": "boolean"},
        "unfurl_links": {"type": "boolean"},
        "unfurl_media": {"type": "boolean"},
        "thread_ts": {"type": "string"},
    },
}


def _method(required: list[str], *names: str) -> dict[str, Any]:
    """The schema of another method, whose arguments of the same name are the same."""
    known = {**MESSAGE_SCHEMA["properties"], "ts": {"type": "string", "pattern": r"^\d+\.\d+$"}}
    known["user"] = {"type": "string", "minLength": 1}
    properties = {name: known[name] for name in ("channel", "text", "blocks", "parse", "link_names", *names)}
    return {**MESSAGE_SCHEMA, "required": required, "properties": properties}


UPDATE_SCHEMA = _method(["channel", "ts"], "ts", "metadata")
EPHEMERAL_SCHEMA = _method(["channel", "user"], "user", "thread_ts")

SCHEMAS = {
    "/api/chat.postMessage": MESSAGE_SCHEMA,
    "/api/chat.update": UPDATE_SCHEMA,
    "/api/chat.postEphemeral": EPHEMERAL_SCHEMA,
}
_VALIDATORS = {path: jsonschema.Draft202012Validator(schema) for path, schema in SCHEMAS.items()}

AUTH_TEST = "/api/auth.test"
"""Says whose token it is; it needs no argument, and no message comes of it."""

_CONTROL = re.compile(r"<[^>]*>?|>")
_AMPERSAND = re.compile(r"&(?!amp;|lt;|gt;)")
_LINK = re.compile(r"<https?://[^|<>\s]+(\|[^<>|]*)?>")


def markup_faults(text: str, *, links_allowed: bool) -> list[str]:
    """What Slack would not show as the letters that were meant: control sequences, and characters left unescaped."""
    faults = [f"& is not escaped in {text!r}"] if _AMPERSAND.search(text) else []
    return faults + [
        f"{found!r} is interpreted by Slack"
        for found in _CONTROL.findall(text)
        if not (links_allowed and _LINK.fullmatch(found))
    ]


class SlackServer(VendorServer):
    """Takes messages for `CHANNEL` with `TOKEN`. Errors come as Slack sends them: status 200 and `ok: false`."""

    path = "/api/chat.postMessage"

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._posted = 0

    @property
    def url(self) -> str:
        """The API's base, which is what `SLACK_API_URL` holds."""
        return f"{self.origin}/api"

    @property
    def updates(self) -> list[dict[str, Any]]:
        """What messages were replaced with."""
        return [arrival.document for arrival in self.taken if arrival.path.endswith("/chat.update")]

    @property
    def whispers(self) -> list[str]:
        """What single people were told."""
        return [arrival.document["text"] for arrival in self.taken if arrival.path.endswith("/chat.postEphemeral")]

    @property
    def messages(self) -> list[str]:
        """The texts of the messages that were posted."""
        return [arrival.document["text"] for arrival in self.taken if arrival.path == self.path]

    def faults_of(self, arrival: Arrival) -> list[str]:
        """Schema, limits, headers, markup."""
        faults = []
        if arrival.path == AUTH_TEST:
            return [] if arrival.method == "POST" else [f"{arrival.method} {arrival.path}"]
        validator = _VALIDATORS.get(arrival.path)
        if validator is None or arrival.method != "POST":
            return [f"{arrival.method} {arrival.path} is no method Medic speaks"]
        kind = arrival.headers.get("content-type", "").lower().replace(" ", "")
        if kind != "application/json;charset=utf-8":
            faults.append("Content-Type must be application/json; charset=utf-8")
        if not arrival.headers.get("authorization", "").startswith("Bearer "):
            faults.append("no bearer token")
        if arrival.document is None:
            return [*faults, "invalid_json"]
        faults += [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(arrival.document)]
        return faults or self._markup(arrival.document)

    def answer(self, arrival: Arrival) -> Answered:
        """The message's `ts`, or the error Slack has for what is wrong."""
        if arrival.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answered(200, {"ok": False, "error": "invalid_auth"})
        if arrival.path == AUTH_TEST:
            return Answered(200, {"ok": True, "url": f"{self.origin}/", "team": "Night watch", "user": "medic"})
        if arrival.faults:
            return Answered(200, {"ok": False, "error": "invalid_arguments"})
        if arrival.document["channel"] != CHANNEL:
            return Answered(200, {"ok": False, "error": "channel_not_found"})
        arrival.taken = True
        if arrival.path.endswith("/chat.postEphemeral"):
            return Answered(200, {"ok": True, "message_ts": "1700000000.999999"})
        if arrival.path.endswith("/chat.update"):
            return Answered(
                200, {"ok": True, "channel": CHANNEL, "ts": arrival.document["ts"], "text": "", "message": {}}
            )
        self._posted += 1
        return Answered(200, {"ok": True, "channel": CHANNEL, "ts": f"1700000000.{self._posted:06d}", "message": {}})

    def refusal(self, behaviour: Refuse) -> Answered:
        """429 says `ratelimited`; with status 200 the error is the one ordered."""
        error = behaviour.error or ("ratelimited" if behaviour.status == 429 else "internal_error")
        return Answered(behaviour.status, {"ok": False, "error": error})

    @staticmethod
    def _markup(message: dict[str, Any]) -> list[str]:
        faults = markup_faults(message.get("text", ""), links_allowed=True)
        # The other two methods have no such argument: beside blocks, their text is for notifications, unformatted.
        is_formatted = message.get("mrkdwn", not {"ts", "user"} & message.keys())
        if is_formatted and re.search(r"[*_~`]", message.get("text", "")):
            faults.append("text is formatted as mrkdwn and holds formatting characters")
        for block in message.get("blocks", []):
            for element in [block.get("text"), *block.get("fields", []), *block.get("elements", [])]:
                if element is None:
                    continue
                shown = element["text"] if element["type"] == "button" else element
                formatted = shown["type"] == "mrkdwn"
                faults += markup_faults(shown["text"], links_allowed=formatted)
                if formatted and re.search(r"[*_~`]", _LINK.sub("", shown["text"])):
                    faults.append(f"formatting characters in {shown['text']!r}")
        return faults


def buttons_of(message: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The buttons of a message by their labels."""
    rows = [block["elements"] for block in message["blocks"] if block["type"] == "actions"]
    return {button["text"]["text"]: button for row in rows for button in row}


def pressed(
    message: dict[str, Any], label: str, *, ts: str = "1700000000.000001", user: str = USER, name: str = USER_NAME
) -> bytes:
    """The body that Slack posts when somebody presses the button of that label under a message it was given."""
    button = buttons_of(message)[label]
    payload = {
        "type": "block_actions",
        "api_app_id": "A0123456789",
        "token": "a verification token, deprecated",
        "trigger_id": "1.2.3",
        "team": {"id": "T0123456789", "domain": "ops"},
        "user": {"id": user, "username": name, "name": name, "team_id": "T0123456789"},
        "channel": {"id": message["channel"], "name": "alerts"},
        "container": {"type": "message", "message_ts": ts, "channel_id": message["channel"], "is_ephemeral": False},
        "message": {"type": "message", "ts": ts, "text": message["text"], "blocks": message["blocks"], "bot_id": "B1"},
        "state": {"values": {}},
        "response_url": "https://hooks.slack.com/actions/T0123456789/1/x",
        "actions": [{**button, "block_id": "b", "action_ts": "1700000001.000001"}],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def slack_headers(body: bytes, *, seconds: int | None = None, secret: str = SIGNING_SECRET) -> dict[str, str]:
    """The headers that Slack posts with a body, signed now."""
    at = round(time.time()) if seconds is None else seconds
    digest = hmac.new(secret.encode(), b"v0:%d:%b" % (at, body), sha256).hexdigest()
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": str(at),
        "X-Slack-Signature": f"v0={digest}",
    }
