"""Under whom a change is written down."""

from __future__ import annotations

from medic.core.value import value


@value(frozen=True, slots=True)
class Author:
    """Who did it, as the audit says for ever: it travels with the change, through the journal where that is its way.

    Attributes:
        name: Whom people read: the key's name, else what `X-Actor` says, else the address. `SQL` and `Medic` are the
            two that send no request.
        key_id: Of the key that was shown; empty where none was.
        address: The caller's; empty where there is none.
        request_id: Of the request, as the answer's `X-Request-Id` says; empty where there is none.
        label: What `X-Actor` said, beside the authenticated name.
    """

    name: str
    key_id: str = ""
    address: str = ""
    request_id: str = ""
    label: str = ""


MEDIC = Author("Medic")
"""What Medic does by itself."""

BY_SQL = Author("SQL")
"""Who did it where the change says nothing better: it was made in the database."""
