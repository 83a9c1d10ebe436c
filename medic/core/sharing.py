"""Columns that many objects have in common, kept once.

A million services have a few hundred teams, labels, promises and authors between them, but every row comes from
PostgreSQL, the journal or a request with copies of its own: 300 bytes a service for text that says the same. So a row
keeps what is its own in slots, and points at one tuple with the rest; rows with the same rest point at the same tuple.

It stays a frozen dataclass to whoever uses it: built by keyword, compared, shown, written as JSON and copied by
`dataclasses.replace` as if each column were a slot. Reading a shared column costs 0.05 µs more than a slot, so what a
heartbeat reads is not shared.

The table of tuples is bounded and begun anew when it is full: then rows of before and after share among themselves, and
nothing that was edited away years ago stays for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, fields
from operator import itemgetter
from typing import Final, NoReturn, TypeVar

SHARED_MAX: Final = 65_536
"""Tuples in the table, some 15 MB where no two services are alike. A fleet that has more different ones shares less."""

T = TypeVar("T", bound=type)

_tuples: Final[dict[tuple[object, ...], tuple[object, ...]]] = {}
_values: Final[dict[str, str]] = {}


def shared(values: tuple[object, ...]) -> tuple[object, ...]:
    """An equal tuple, the same object for every caller that has this one; its strings are shared as well."""
    known = _tuples.get(values)
    if known is None:
        if len(_tuples) >= SHARED_MAX:
            _tuples.clear()
            _values.clear()
        known = tuple(_values.setdefault(value, value) if isinstance(value, str) else value for value in values)
        _tuples[known] = known
    return known


def sharing(*names: str) -> Callable[[T], T]:
    """A decorator for a frozen dataclass of which these columns are shared; all are given by keyword.

    The class it makes has the undecorated one as `wide`, for code that fills fields one by one.
    """

    def share(wide: T) -> T:
        columns = tuple(column.name for column in fields(wide))
        defaults = {column.name: column.default for column in fields(wide) if column.default is not MISSING}
        own = tuple(name for name in columns if name not in names)
        slots = (*own, "_shared")
        pick_own, pick_shared, every = itemgetter(*own), itemgetter(*names), len(columns)

        def fill(row: object, **given: object) -> None:
            values = given if len(given) == every else defaults | given
            try:
                own_values, shared_values = pick_own(values), pick_shared(values)
            except KeyError:
                raise unlike(given) from None
            if len(values) != every:
                raise unlike(given)
            for set_slot, value in zip(setters, own_values):  # noqa: B905 - one for each own column
                set_slot(row, value)
            set_shared(row, _tuples.get(shared_values) or shared(shared_values))

        def unlike(given: dict[str, object]) -> TypeError:
            return TypeError(f"{wide.__name__} has the columns {columns}, not {tuple(given)}")

        def key(row: object) -> tuple[object, ...]:
            return tuple([getattr(row, name) for name in slots])

        def equals(row: object, other: object) -> bool:
            return key(row) == key(other) if other.__class__ is made else NotImplemented

        kept = {name: value for name, value in vars(wide).items() if name not in {"__dict__", "__weakref__", *defaults}}
        readers = {name: property(_reader(place)) for place, name in enumerate(names)}
        made = type(wide)(
            wide.__name__,
            (),
            {
                **kept,
                **readers,
                "__slots__": slots,
                "__init__": fill,
                "__eq__": equals,
                "__hash__": lambda row: hash(key(row)),
                "__setattr__": _refuse,
                "__copy__": lambda row: row,
                "__deepcopy__": lambda row, _memo: row,
                "wide": wide,
            },
        )
        *setters, set_shared = [vars(made)[slot].__set__ for slot in slots]
        return made

    return share


def _refuse(_row: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _reader(place: int) -> Callable[[object], object]:
    return lambda row: row._shared[place]  # type: ignore[attr-defined]  # noqa: SLF001 - a slot of what is made here
