"""A collector of traces: takes OTLP over HTTP on a real socket, reads the protobuf, and keeps what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.patience import PATIENCE_SECONDS


@dataclass(frozen=True)
class Span:
    """One span as it was sent. Ids in hex, as `traceparent` has them; instants in nanoseconds of wall time."""

    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    attributes: dict[str, Any]
    is_error: bool
    service: str


class Collector:
    """A context manager. `url` is for OTEL_EXPORTER_OTLP_ENDPOINT; while `answers` is not set, it hangs."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.authorizations: set[str] = set()
        self.answers = threading.Event()
        self.answers.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.answers.wait()
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                collector.authorizations.add(self.headers.get("Authorization", ""))
                collector.spans += spans_in(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Take no more: connections are refused from now on."""
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_SECONDS)

    def wait_for(self, wanted: Callable[[list[Span]], bool]) -> list[Span]:
        """All spans, once they are as wanted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not wanted(found := list(self.spans)):
            assert time.monotonic() < deadline, "\n".join(f"{span.trace[:6]} {span.name}" for span in found)
            time.sleep(0.02)
        return found


def spans_in(request: ExportTraceServiceRequest) -> list[Span]:
    found = []
    for resource in request.resource_spans:
        service = values(resource.resource.attributes)["service.name"]
        found += [
            Span(
                name=span.name,
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                began=span.start_time_unix_nano,
                ended=span.end_time_unix_nano,
                attributes=values(span.attributes),
                is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                service=service,
            )
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    return found


def values(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
