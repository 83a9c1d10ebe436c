"""The tables of `docs/reference/configuration.md`, made from the variables: `python -m medic.config.reference FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from medic.config.load import secret_names
from medic.config.variables import TABLES, Table

BEGIN: Final = "<!-- made by medic.config.reference: begin -->"
END: Final = "<!-- made by medic.config.reference: end -->"


def tables() -> str:
    """All tables in Markdown."""
    parts = [part for table in TABLES for part in _table(table)]
    return "\n".join(parts) + "\n"


def renewed(document: str) -> str:
    """The document with the tables between its two marks made anew.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def _table(table: type[Table]) -> list[str]:
    title = (table.__doc__ or "").strip().rstrip(".")
    lines = [f"## {title}", "", "| Variable | Default | Means |", "|---|---|---|"]
    for field_name, declared in table.model_fields.items():
        name = field_name.upper()
        means = declared.description or ""
        if name in secret_names():
            means += " Secret."
        lines.append(f"| `{name}` | {_shown(declared.default)} | {means} |")
    return [*lines, ""]


def _shown(default: object) -> str:
    match default:
        case None | () | SecretStr():
            return ""
        case bool():
            return f"`{int(default)}`"
        case float():
            return f"`{default:g}`"
        case ZoneInfo(key=key):
            return f"`{key}`"
        case Path():
            return f"`./{default}`"
        case _:
            return f"`{default}`"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        path = Path(argument)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
