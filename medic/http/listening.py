"""Sockets to listen on, bound before anything else is started: a taken port costs one sentence, not half a start.

And how many connections they may bring.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Sequence
from typing import Final

from medic.errors import ConfigurationError, Fault, PassingError
from medic.http.limits import BACKLOG, CONNECTIONS_MAX, FILES_RESERVED

EVERY_ADDRESS: Final = "::"
"""Every address of this machine, IPv4 included."""


def bind_sockets(addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """A bound socket for each address, in order. They refuse connections until `listen` is called.

    Args:
        addresses: Hosts (IPv4, IPv6, or a name of this machine) and ports; port 0 takes a free one.

    Raises:
        ConfigurationError: names every address that cannot be bound, and why.
    """
    bound: list[socket.socket] = []
    faults: list[Fault] = []
    kinds: set[type[ConfigurationError]] = set()
    for host, port in addresses:
        try:
            bound.append(_bind(host, port))
        except OSError as error:
            faults.append(Fault(f"{host}:{port}", _sentence(error, port)))
            kinds.add(_kind(error))
    if faults:
        for opened in bound:
            opened.close()
        raise (ConfigurationError if ConfigurationError in kinds else PassingError)(tuple(faults))
    return bound


def listen(bound: Sequence[socket.socket]) -> None:
    """Let the kernel accept connections.

    Raises:
        ConfigurationError: another program began to listen there since.
    """
    for opened in bound:
        try:
            opened.listen(BACKLOG)
        except OSError as error:
            host, port = opened.getsockname()[:2]
            raise _kind(error)((Fault(f"{host}:{port}", _sentence(error, port)),)) from None


def connections_allowed() -> int:
    """How many connections may be open: `CONNECTIONS_MAX`, or what the system's limit on open files leaves for them.

    The soft limit is raised as far as the hard one allows. Without descriptors left nothing could be accepted, not even
    to say so, and the journal could not begin a file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(1, min(CONNECTIONS_MAX, soft - FILES_RESERVED))


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != EVERY_ADDRESS))
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    return opened


def _kind(error: OSError) -> type[ConfigurationError]:
    """A port is given back and a network comes up; a right does not come by itself."""
    return ConfigurationError if error.errno == errno.EACCES else PassingError


def _sentence(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there. Stop it, or set PORT to a free port."
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}. Set PORT to 1024 or more."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "this machine has no such address. Set MEDIC_HOST to one it has."
    return f"cannot be listened on: {error.strerror}."
