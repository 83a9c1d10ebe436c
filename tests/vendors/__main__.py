"""`python -m tests.vendors --port-file FILE`: all three vendors in a process of their own, driven over a control port.

The file appears, complete, once all ports accept connections: a JSON object with `pagerduty`, `slack`, `webhook` (each
an address to configure Medic with) and `control`. On the control port:

    GET  /pagerduty                     what arrived: {"arrivals": [...], "open": {...}, "opened": [...]}
    POST /pagerduty/behave              {"behaviour": "refuse", "status": 429, "retry_after": "2", "times": 3}
    POST /pagerduty/limit               {"per_second": 50}
    POST /pagerduty/clear               forget what arrived
    POST /pagerduty/release             end the requests that hang
    POST /pagerduty/refuse_connections  close the port
    POST /pagerduty/accept_connections  open it again
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.vendors.behaviour import from_json
from tests.vendors.pagerduty import ROUTING_KEY, PagerDutyServer
from tests.vendors.server import VendorServer
from tests.vendors.slack import CHANNEL, TOKEN, SlackServer
from tests.vendors.webhook import WebhookReceiver


class _Control(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    vendors: dict[str, VendorServer]

    def do_GET(self) -> None:
        self._answer(200, self.vendors[self.path.strip("/")].snapshot())

    def do_POST(self) -> None:
        name, _, verb = self.path.strip("/").partition("/")
        vendor = self.vendors[name]
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        order: dict[str, Any] = json.loads(raw) if raw else {}
        if verb == "behave":
            vendor.behave(from_json(order), times=order.get("times"), containing=order.get("containing", ""))
        elif verb == "limit":
            vendor.limit(order["per_second"])
        elif verb in {"clear", "release", "refuse_connections", "accept_connections"}:
            getattr(vendor, verb)()
        else:
            self._answer(404, {"error": f"no verb {verb}"})
            return
        self._answer(200, {})

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.vendors")
    parser.add_argument("--port-file", type=Path, required=True)
    port_file: Path = parser.parse_args().port_file
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    pagerduty, slack, webhook = PagerDutyServer(), SlackServer(), WebhookReceiver()
    with pagerduty, slack, webhook:
        _Control.vendors = {"pagerduty": pagerduty, "slack": slack, "webhook": webhook}
        control = ThreadingHTTPServer(("127.0.0.1", 0), _Control)
        control.daemon_threads = True
        threading.Thread(target=control.serve_forever, daemon=True).start()
        ports = {
            "pagerduty": pagerduty.url,
            "slack": slack.url,
            "webhook": webhook.url,
            "control": f"http://127.0.0.1:{control.server_address[1]}",
            "routing_key": ROUTING_KEY,
            "token": TOKEN,
            "channel": CHANNEL,
        }
        written = port_file.with_name(port_file.name + ".part")
        written.write_text(json.dumps(ports))
        written.replace(port_file)
        print(json.dumps(ports), flush=True)
        ended.wait()
        control.shutdown()
        control.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
