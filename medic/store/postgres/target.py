"""Where a PostgreSQL is and as whom to speak to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class ConnectionTarget:
    """One database.

    Attributes:
        host: A name, an address, or the directory of a Unix socket.
        port: TCP port, or the number in the socket's name.
        database, user: Names there.
        password: Never shown; None where the server asks for none.
        sslmode: One of `SSL_MODES`; without meaning on a Unix socket.
        sslrootcert: File with the certificates to trust, or empty.
    """

    host: str
    database: str
    user: str
    password: str | None = field(default=None, repr=False)
    port: int = 5432
    sslmode: str = "prefer"
    sslrootcert: str = ""

    @classmethod
    def from_url(cls, url: str) -> ConnectionTarget:
        """The target that `postgresql://user:password@host:port/database?sslmode=…` names.

        Raises:
            ValueError: it names none, or asks for something Medic would have to ignore. The text shows no password.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"postgres", "postgresql"}:
            msg = "must begin with postgresql://"
            raise ValueError(msg)
        options = dict(parse_qsl(parts.query))
        host = options.pop("host", None) or unquote(parts.hostname or "")
        database = unquote(parts.path.lstrip("/"))
        user = options.pop("user", None) or unquote(parts.username or "")
        if not (host and database and user):
            msg = "must name host, user and database: postgresql://user:password@host:5432/database"
            raise ValueError(msg)
        sslmode = options.pop("sslmode", "prefer")
        if sslmode not in SSL_MODES:
            msg = f"sslmode must be one of {', '.join(SSL_MODES)}"
            raise ValueError(msg)
        port = options.pop("port", None) or str(parts.port or 5432)
        if not (port.isdecimal() and 0 < int(port) < 65_536):
            msg = "port must be a number from 1 to 65535"
            raise ValueError(msg)
        rootcert = options.pop("sslrootcert", "")
        if options:
            msg = f"has options that Medic does not know: {', '.join(sorted(options))}"
            raise ValueError(msg)
        password = None if parts.password is None else unquote(parts.password)
        return cls(host, database, user, password, int(port), sslmode, rootcert)

    @property
    def is_socket(self) -> bool:
        """Whether `host` is the directory of a Unix socket."""
        return self.host.startswith("/")

    def ssl_dsn(self) -> str:
        """A URL that says nothing but how to encrypt, for the driver."""
        if self.is_socket:
            return "postgresql://?sslmode=disable"
        options = {"sslmode": self.sslmode}
        if self.sslrootcert:
            options["sslrootcert"] = self.sslrootcert
        return f"postgresql://?{urlencode(options)}"

    def environment(self) -> Mapping[str, str]:
        """The variables with which psql and pg_dump reach it, the runbook's (`DB_HOST`, …) and libpq's own."""
        names = {
            "DB_HOST": self.host,
            "DB_PORT": str(self.port),
            "DB_NAME": self.database,
            "PG_USER": self.user,
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.database,
            "PGUSER": self.user,
        }
        if self.password is not None:
            names |= {"PG_PASS": self.password, "PGPASSWORD": self.password}
        if not self.is_socket:
            names["PGSSLMODE"] = self.sslmode
            if self.sslrootcert:
                names["PGSSLROOTCERT"] = self.sslrootcert
        return names
