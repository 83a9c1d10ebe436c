"""`/docs` and `/openapi.json`: the API's description of itself, and a page that shows it without the internet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Final

import orjson

from medic.http.answers import Answer
from medic.http.call import Call
from medic.http.openapi import describe
from medic.http.parts import ApiParts
from medic.http.route import Route, Told, View

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere: the page works without the internet, and no text in the description can become a script."""

TAG: Final = "Documentation"

HTML: Final = "text/html; charset=utf-8"
SCRIPT: Final = "text/javascript; charset=utf-8"
STYLE: Final = "text/css; charset=utf-8"


def routes(others: Sequence[Route]) -> tuple[Route, ...]:
    """The routes of the description, which describes `others` and these."""
    table: list[Route] = []

    @cache
    def description(version: str) -> bytes:
        return orjson.dumps(describe((*others, *table), version=version))

    async def show_description(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001 - one signature for all views
        return Answer(200, description(parts.version))

    async def show_swagger(parts: ApiParts, call: Call) -> Answer:
        return await show_description(parts, call)

    described = {200: Told("OpenAPI 3.1.", None, "application/json")}
    table += [
        Route("GET", "/openapi.json", show_description, TAG, "This description", described, query=None, scope=None),
        Route(
            "GET",
            "/docs/swagger.json",
            show_swagger,
            TAG,
            "This description, at its earlier place",
            described,
            query=None,
            scope=None,
        ),
        _page("/docs", "docs.html", HTML, "The page that shows this description"),
        _page("/docs/", "docs.html", HTML, "The same, at its earlier place"),
        _page("/docs/docs.js", "docs.js", SCRIPT, "Its script"),
        _page("/docs/docs.css", "docs.css", STYLE, "Its style"),
    ]
    return tuple(table)


def _page(path: str, file: str, content_type: str, summary: str) -> Route:
    return Route(
        "GET",
        path,
        _view(path, file, content_type),
        TAG,
        summary,
        {200: Told("The file.", None, content_type)},
        query=None,
        scope=None,
    )


def _view(path: str, file: str, content_type: str) -> View:
    @cache
    def static() -> Answer:
        content = (files("medic.http") / "static" / file).read_bytes()
        return Answer(200, content, (("Content-Security-Policy", PAGE_POLICY),), content_type)

    async def show_file(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001 - one signature for all views
        return static()

    show_file.__name__ = "show" + path.translate({ord("/"): "_", ord("."): "_"})
    return show_file
