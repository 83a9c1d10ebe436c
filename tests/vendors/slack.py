"""Slack's Web API, as far as `chat.postMessage` goes: its documented arguments, limits, errors and markup."""

from __future__ import annotations

import re
from typing import Any

import jsonschema

from tests.vendors.behaviour import Refuse
from tests.vendors.server import Answered, Arrival, VendorServer

TOKEN = "xoxb-test-token"
CHANNEL = "C0123456789"

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
_VALIDATOR = jsonschema.Draft202012Validator(MESSAGE_SCHEMA)

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
    def messages(self) -> list[str]:
        """The texts of the messages that were posted."""
        return [arrival.document["text"] for arrival in self.taken]

    def faults_of(self, arrival: Arrival) -> list[str]:
        """Schema, limits, headers, markup."""
        faults = []
        if (arrival.method, arrival.path) != ("POST", self.path):
            faults.append(f"{arrival.method} {arrival.path} is not chat.postMessage")
        kind = arrival.headers.get("content-type", "").lower().replace(" ", "")
        if kind != "application/json;charset=utf-8":
            faults.append("Content-Type must be application/json; charset=utf-8")
        if not arrival.headers.get("authorization", "").startswith("Bearer "):
            faults.append("no bearer token")
        if arrival.document is None:
            return [*faults, "invalid_json"]
        faults += [f"{error.json_path}: {error.message[:300]}" for error in _VALIDATOR.iter_errors(arrival.document)]
        return faults or self._markup(arrival.document)

    def answer(self, arrival: Arrival) -> Answered:
        """The message's `ts`, or the error Slack has for what is wrong."""
        if arrival.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answered(200, {"ok": False, "error": "invalid_auth"})
        if arrival.faults:
            return Answered(200, {"ok": False, "error": "invalid_arguments"})
        if arrival.document["channel"] != CHANNEL:
            return Answered(200, {"ok": False, "error": "channel_not_found"})
        arrival.taken = True
        self._posted += 1
        return Answered(200, {"ok": True, "channel": CHANNEL, "ts": f"1700000000.{self._posted:06d}", "message": {}})

    def refusal(self, behaviour: Refuse) -> Answered:
        """429 says `ratelimited`; with status 200 the error is the one ordered."""
        error = behaviour.error or ("ratelimited" if behaviour.status == 429 else "internal_error")
        return Answered(behaviour.status, {"ok": False, "error": error})

    @staticmethod
    def _markup(message: dict[str, Any]) -> list[str]:
        faults = markup_faults(message.get("text", ""), links_allowed=True)
        if message.get("mrkdwn", True) and re.search(r"[*_~`]", message.get("text", "")):
            faults.append("text is formatted as mrkdwn and holds formatting characters")
        for block in message.get("blocks", []):
            for shown in [block.get("text"), *block.get("fields", []), *block.get("elements", [])]:
                if shown is None:
                    continue
                formatted = shown["type"] == "mrkdwn"
                faults += markup_faults(shown["text"], links_allowed=formatted)
                if formatted and re.search(r"[*_~`]", _LINK.sub("", shown["text"])):
                    faults.append(f"formatting characters in {shown['text']!r}")
        return faults
