"""Where Redis is: `REDIS_URL` read into what a connection needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

PORT: Final = 6_379


@dataclass(frozen=True, slots=True, repr=False)
class RedisAddress:
    """One Redis. Never shown: it may hold a password.

    Attributes:
        host, port: Of a server that is reached by TCP.
        path: Of a Unix socket; empty for TCP.
        is_encrypted: TLS, with the certificate checked against what the system trusts.
        user, password: Empty where none is needed.
        database: The number of the database.
    """

    host: str = "localhost"
    port: int = PORT
    path: str = ""
    is_encrypted: bool = False
    user: str = ""
    password: str = ""
    database: int = 0

    @classmethod
    def of(cls, url: str) -> RedisAddress:
        """The address of `redis://`, `rediss://` or `unix://`, which `medic.config` has checked.

        The database is the path's number, as everywhere; with a Unix socket it is the query's `db`.
        """
        parts = urlsplit(url)
        is_unix = parts.scheme == "unix"
        number = parse_qs(parts.query).get("db", [""])[0] or ("" if is_unix else parts.path.strip("/"))
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or PORT,
            path=unquote(parts.path) if is_unix else "",
            is_encrypted=parts.scheme == "rediss",
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=int(number) if number.isascii() and number.isdigit() else 0,
        )
