"""A small HTTP server that speaks as much of CONTRACT 1 as `medic-cli` uses, and keeps what it was asked.

It holds services in a dict and decides nothing about deadlines. A test may put answers in `scripted`, which are given
first, whatever is asked.
"""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

SERVICE = {
    "service_id": 1,
    "service_name": "payments",
    "active": 1,
    "alert_interval": 5,
    "threshold": 1,
    "team": "site-reliability",
    "priority": "p3",
    "muted": 0,
    "down": 0,
    "runbook": "",
    "grace_period_seconds": 0,
    "recovery_seconds": 0,
    "renotify_minutes": 60,
    "require_key": 0,
    "date_added": "2026-11-24T00:00:00.000Z",
    "date_modified": "2026-11-24T00:00:00.000Z",
    "date_muted": None,
    "mute_until": None,
    "mute_reason": None,
    "muted_by": None,
    "status": "new",
    "last_heartbeat_at": None,
    "last_status": None,
    "deadline_at": "2026-11-24T00:15:00.000Z",
    "last_refusal": None,
}

ALERT = {
    "alert_id": 77,
    "alert_name": "Medic - Heartbeat failure for pay-nightly",
    "service_id": 1,
    "heartbeat_name": "pay-nightly",
    "service_name": "payments",
    "team": "platform",
    "priority": "p1",
    "runbook": "https://example.com/pay",
    "active": 1,
    "external_reference_id": "medic-pay-nightly",
    "alert_cycle": 3,
    "reason": "late",
    "created_date": "2026-11-24T00:00:00.000Z",
    "closed_date": None,
    "closed_reason": None,
    "duration": None,
    "acknowledged_date": None,
    "acknowledged_by": None,
    "muted": 0,
    "flapping": 0,
}


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """A status, a body and headers."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class SmallMedic:
    """Serves while its block lasts."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.heartbeats: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.webhooks: list[dict[str, Any]] = []
        self.health: dict[str, Any] = {
            "status": "healthy",
            "timestamp": "2026-11-24T00:00:00.000Z",
            "version": "0.1.0",
            "components": {
                "database": {"status": "healthy", "since": "2026-11-24T00:00:00.000Z", "kind": "embedded"},
                "pagerduty": {"status": "configured", "since": "2026-11-24T00:00:00.000Z"},
                "slack": {"status": "not_configured", "since": "2026-11-24T00:00:00.000Z"},
            },
        }
        self.targets = ["pagerduty"]
        self.asked: list[Asked] = []
        self.scripted: list[Answer] = []
        medic = self

        class Handler(_Handler):
            small = medic

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def speak_tls(self, context: ssl.SSLContext) -> None:
        """From now on connections begin with a handshake."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def add(self, name: str, **fields: Any) -> None:
        """Have a service."""
        self.services[name] = {**SERVICE, "service_id": len(self.services) + 1, "heartbeat_name": name, **fields}

    @property
    def last(self) -> Asked:
        """The newest request."""
        return self.asked[-1]

    # ---------------------------------------------------------------------------------------------------------- routes

    def answer(self, asked: Asked) -> Answer:
        """What Medic would say."""
        if self.scripted:
            return self.scripted.pop(0)
        parts = [unquote(part) for part in asked.path.split("/")[1:]]
        match asked.method, parts:
            case "GET", ["health"]:
                return Answer(503 if self.health["status"] == "unhealthy" else 200, self.health)
            case "GET", ["health", "ready"]:
                return Answer(200, {"status": "ready"})
            case "GET", ["service"]:
                return self._services(asked.query)
            case "POST", ["service"]:
                return self._register(asked)
            case "GET", ["service", name]:
                return self._named(name) or good(200, "", [self.services[self._key(name)]])
            case "POST", ["service", name]:
                return self._named(name) or self._change(self._key(name), asked)
            case "DELETE", ["service", name]:
                missing = self._named(name)
                self.services.pop(self._key(name), None)
                return missing or good(200, "Heartbeat successfully deleted.", "")
            case "POST", ["v2", "services", name, "test"]:
                return self._named(name) or good(200, "A test page goes out.", {"targets": self.targets})
            case "POST", ["heartbeat"]:
                self.heartbeats.insert(0, {"time": "2026-11-24T00:00:00.000Z", "run_id": None, **asked.body})
                return self._named(asked.body["heartbeat_name"]) or good(201, "Heartbeat Posted Successfully.", "")
            case "GET", ["heartbeat"]:
                return self._heartbeats(asked.query)
            case "GET", ["v2", "refused"]:
                return good(200, "", self.refused, total_count=len(self.refused))
            case "GET", ["alerts"]:
                return self._alerts(asked.query)
            case (_, ["alerts", number]) | (_, ["alerts", number, _]):
                return self._alert(number, parts[2:])
            case "POST", ["v2", "webhooks"]:
                return self._add_webhook(asked)
            case "POST", ["v2", "webhooks", number, "rotate"]:
                return self._rotate_webhook(int(number))
            case "GET", ["v2", "webhooks"]:
                return good(200, "", self.webhooks, total_count=len(self.webhooks))
            case "DELETE", ["v2", "webhooks", number]:
                known = any(row["webhook_id"] == int(number) for row in self.webhooks)
                return good(200, "Webhook deleted.", "") if known else bad(404, f"There is no webhook {number}.")
            case _:
                return bad(404, "There is no such route.")

    def _key(self, name: str) -> str:
        return next((known for known in self.services if known.lower() == name.lower()), name)

    def _named(self, name: str) -> Answer | None:
        if self._key(name) in self.services:
            return None
        return bad(404, f"{name} is not registered. POST it to /service first.")

    def _services(self, query: dict[str, str]) -> Answer:
        rows = [
            row
            for _, row in sorted(self.services.items())
            if all(str(row[name]) == query[name] for name in ("active", "team", "muted", "down") if name in query)
        ]
        first, limit = int(query.get("cursor", "0")), int(query.get("limit", "1000000"))
        page = rows[first : first + limit]
        more = str(first + limit) if first + limit < len(rows) else None
        return good(200, "", page, next_cursor=more, total_count=len(rows))

    def _register(self, asked: Asked) -> Answer:
        body = dict(asked.body)
        if not isinstance(body["alert_interval"], int | float) or body["alert_interval"] <= 0:
            faults = [
                {"field": "alert_interval", "message": "must be a number of minutes"},
                {"field": "team", "message": "must be a string"},
            ]
            return bad(400, "alert_interval must be a number of minutes; team must be a string", errors=faults)
        prefix = body.pop("environment", None)
        name = f"{prefix}-{body['heartbeat_name']}" if prefix else body["heartbeat_name"]
        if name in self.services:
            stored = self.services[name]
            differs = {key: [stored[key], value] for key, value in body.items() if stored[key] != value}
            if "update" in asked.query:
                stored |= body
            return good(200, "Heartbeat is already registered.", stored, differs=differs)
        self.add(name, **{**body, "heartbeat_name": name})
        return good(201, "Heartbeat successfully registered.", self.services[name])

    def _change(self, name: str, asked: Asked) -> Answer:
        body = dict(asked.body)
        row = self.services[name]
        if body.get("muted") == 1:
            row |= {"muted": 1, "muted_by": asked.headers.get("x-actor"), "mute_reason": body.pop("mute_reason", "")}
            if body.pop("mute_minutes", None) is not None:
                row["mute_until"] = "2096-11-24T00:00:00.000Z"
        row |= body
        return good(200, "Successfully posted update", row)

    def _heartbeats(self, query: dict[str, str]) -> Answer:
        name = query.get("heartbeat_name")
        rows = [row for row in self.heartbeats if name is None or row["heartbeat_name"] == name]
        return good(200, "", rows[: int(query["maxCount"])])

    def _alerts(self, query: dict[str, str]) -> Answer:
        rows = [
            row
            for row in self.alerts
            if all(str(row[key]) == query[key] for key in ("active", "team", "heartbeat_name") if key in query)
        ]
        return good(200, "", rows[: int(query.get("limit", "1000"))], next_cursor=None, total_count=len(rows))

    def _alert(self, number: str, verb: list[str]) -> Answer:
        row = next((row for row in self.alerts if str(row["alert_id"]) == number), None)
        if row is None:
            return bad(404, f"There is no alert {number}.")
        if not verb:
            return good(200, "", row)
        if not row["active"]:
            return bad(409, f"Alert {number} is closed already.")
        return good(200, f"Alert {verb[0]}d.", row)

    def _add_webhook(self, asked: Asked) -> Answer:
        row = {
            "webhook_id": len(self.webhooks) + 1,
            "heartbeat_name": None,
            "date_added": "2026-11-24T00:00:00.000Z",
            "added_by": asked.headers.get("x-actor"),
            "former_secret_until": None,
            **asked.body,
            "headers": dict.fromkeys(asked.body.get("headers", {}), "***"),
        }
        self.webhooks.append(row)
        return good(201, "Webhook created.", {**row, "secret": "whsec_new"})

    def _rotate_webhook(self, number: int) -> Answer:
        row = next((row for row in self.webhooks if row["webhook_id"] == number), None)
        if row is None:
            return bad(404, f"There is no webhook {number}.")
        row["former_secret_until"] = "2026-11-25T00:00:00.000Z"
        return good(200, "Webhook secret rotated.", {**row, "secret": "whsec_newer"})


def good(status: int, message: str, results: Any, **beside: Any) -> Answer:
    """The envelope of a success."""
    return Answer(status, {"success": True, "message": message, "results": results, **beside})


def bad(status: int, message: str, *, errors: Any = None, **headers: str) -> Answer:
    """The envelope of a refusal."""
    body = {"success": False, "message": message, "results": "", **({} if errors is None else {"errors": errors})}
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    small: SmallMedic

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(raw) if raw else None)
        self.small.asked.append(asked)
        answer = self.small.answer(asked)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
