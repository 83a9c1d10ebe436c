"""A client of the API over the real application, that holds every answer against the API's own description."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import httpx
import jsonschema

from medic.alerting.guard import Guard
from medic.core.author import Author
from medic.http.application import create_app
from medic.http.call import canonical_path
from medic.http.openapi import describe
from medic.http.parts import ApiSettings
from medic.http.routes import ROUTES
from tests.contract.served import serve
from tests.fakes.http_parts import ApiWorld

CALLER = "192.0.2.7"

DESCRIPTION: Any = describe(ROUTES, version="9.9.9")
PATTERNS = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in DESCRIPTION["paths"]}


@cache
def validator(reference: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": reference, "components": DESCRIPTION["components"]})


def check_described(method: str, path: str, answer: httpx.Response) -> None:
    """The answer is one that the description has for this route, in the shape that it has there."""
    bare = canonical_path(path.partition("?")[0].encode())
    template = next((template for template, pattern in PATTERNS.items() if pattern.fullmatch(bare)), None)
    if template is None:
        assert answer.status_code == 404, f"{bare} is not described"
        return
    operation = DESCRIPTION["paths"][template].get(("get" if method == "HEAD" else method).lower())
    if operation is None:
        assert answer.status_code == 405 or method == "OPTIONS"
        return
    assert str(answer.status_code) in operation["responses"], f"{method} {template}: {answer.status_code} {answer.text}"
    described = operation["responses"][str(answer.status_code)].get("content", {})
    if answer.headers.get("content-type", "").startswith("text/csv"):
        assert "text/csv" in described
        return
    content = described.get("application/json")
    if content is not None and method != "HEAD":
        assert answer.headers["content-type"] == "application/json"
        validator(content["schema"]["$ref"]).validate(answer.json())


class Api:
    """Speaks to the application of a world, in this process."""

    def __init__(self, world: ApiWorld, http: httpx.AsyncClient, *, address: str) -> None:
        self.world = world
        self.address = address
        self._http = http

    async def request(
        self, method: str, path: str, body: object = None, *, content: bytes | None = None, **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
        if body is not None:
            answer = await self._http.request(method, path, json=body, headers=named)
        else:
            answer = await self._http.request(method, path, content=content, headers=named)
        check_described(method, path, answer)
        return answer

    async def ask(self, method: str, url: httpx.URL) -> httpx.Response:
        """The answer to any address, described or not."""
        return await self._http.request(method, url)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.request("GET", path, **headers)

    async def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        return await self.request("POST", path, body, **headers)

    async def delete(self, path: str, **headers: str) -> httpx.Response:
        return await self.request("DELETE", path, **headers)

    async def register(self, name: str, **fields: object) -> httpx.Response:
        body = {"heartbeat_name": name, "service_name": "owner", "alert_interval": 5, **fields}
        return await self.post("/service", body)

    async def beat(self, name: str, status: str = "UP", **fields: object) -> httpx.Response:
        return await self.post("/heartbeat", {"heartbeat_name": name, "status": status, **fields})

    async def service(self, name: str) -> Any:
        return (await self.get(f"/service/{name}")).json()["results"][0]

    async def open_alert(self, name: str = "job", **fields: object) -> Any:
        """Register a service and let it report DOWN; its alert."""
        await self.register(name, **fields)
        await self.beat(name, "DOWN")
        return next(
            alert for alert in (await self.get("/alerts?active=1")).json()["results"] if alert["heartbeat_name"] == name
        )


Way = Callable[[ApiSettings | None], AbstractAsyncContextManager[Api]]
"""Opens the API, and says by which way requests come to it."""


@asynccontextmanager
async def open_api(settings: ApiSettings | None = None, guard: Guard | None = None) -> AsyncIterator[Api]:
    """The API over real actors, with a journal, a PostgreSQL and vendors of paper."""
    world = ApiWorld(settings, guard)
    transport = httpx.ASGITransport(app=create_app(world.parts), client=(CALLER, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://medic") as http:
        yield Api(world, http, address=CALLER)


@asynccontextmanager
async def open_lane(settings: ApiSettings | None = None) -> AsyncIterator[Api]:
    """The same behind a real socket, where the express lane takes what is hot: each request on a connection of its own.

    A connection that was Hypercorn's once is not the lane's again. Tests that own the clock may let any time go by.
    """
    limits = httpx.Limits(max_keepalive_connections=0)
    async with (
        serve(settings=settings, patience=float("inf")) as served,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{served.port}", trust_env=False, timeout=None, limits=limits
        ) as http,
    ):
        api = Api(served.world, http, address="127.0.0.1")
        await served.world.changes.delete("job", by=Author("test"))
        yield api


def faults(answer: httpx.Response) -> dict[str, str]:
    """Faults by field of a refusal."""
    assert answer.json()["success"] is False
    assert answer.json()["results"] == ""
    return {fault["field"]: fault["message"] for fault in answer.json()["errors"]}
