"""`medic docs`: what came with this release beside its code: pages, dashboards, files to deploy it with.

Their one source is at the top of the checkout. `medic/shipped/` holds symbolic links to them; building the wheel
follows these, so that the same paths hold in a checkout and where the wheel is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from medic.cli import show

SHIPPED: Final = Path(__file__).parents[1] / "shipped"

NEAREST_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Page:
    """A file that came with Medic.

    Attributes:
        name: What it is asked for by: `operations`, `reference/cli`, `dashboards/grafana.json`.
        path: Where it is.
    """

    name: str
    path: Path

    @property
    def title(self) -> str:
        """Its first heading, or what its first comment says; nothing where it begins otherwise."""
        with self.path.open(encoding="utf-8") as file:
            first = file.readline()
        return first.lstrip("# ").strip() if first.startswith("#") else ""

    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")


def shipped_pages(folder: Path = SHIPPED) -> tuple[Page, ...]:
    """All there are, by name: first the documents, then what is not for reading."""
    documents = [Page(_name(path, folder / "docs"), path) for path in _files(folder / "docs")]
    changelog = folder / "CHANGELOG.md"
    beside = [
        Page(f"{part}/{path.relative_to(folder / part).as_posix()}", path)
        for part in ("dashboards", "deploy")
        for path in _files(folder / part)
    ]
    return (*sorted((*documents, Page("changelog", changelog)), key=lambda page: page.name), *beside)


def find_page(asked: str, pages: Sequence[Page]) -> Page | None:
    """The one of that name, or whose name ends with it; None where there is none, or more than one."""
    name = asked.strip("/").removesuffix(".md").removeprefix("docs/").lower()
    exact = [page for page in pages if page.name.lower() == name]
    ending = [page for page in pages if page.name.lower().endswith(f"/{name}")]
    found = exact or ending
    return found[0] if len(found) == 1 else None


def nearest_names(asked: str, pages: Sequence[Page]) -> list[str]:
    """What may have been meant."""
    by_word = {page.name: page.name for page in pages} | {page.name.rpartition("/")[2]: page.name for page in pages}
    words = get_close_matches(asked, by_word, n=NEAREST_MAX, cutoff=0.6)
    holding = [page.name for page in pages if asked and asked.lower() in page.name.lower()]
    return list(dict.fromkeys([*holding, *(by_word[word] for word in words)]))[:NEAREST_MAX]


def print_list() -> None:
    """All there are, with their titles, and where they are."""
    show.print_table(("Page", "Title"), [(page.name, page.title) for page in shipped_pages()])
    show.print_note(f"\nmedic docs PAGE prints one. The files are in {SHIPPED}.")


def print_page(asked: str) -> bool:
    """Print it as it is; False, and what may have been meant, where there is no such page."""
    pages = shipped_pages()
    page = find_page(asked, pages)
    if page is not None:
        print(page.text(), end="")
        return True
    nearest = nearest_names(asked, pages)
    meant = f"did you mean {' or '.join(nearest)}?" if nearest else "medic docs lists them."
    show.print_note(f"medic: there is no page {asked}; {meant}")
    return False


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
