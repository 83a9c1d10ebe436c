"""The certificate Medic shows: `MEDIC_TLS_CERT` and `MEDIC_TLS_KEY`, read before any socket is opened."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from medic.errors import ConfigurationError, Fault

CERTIFICATE: Final = "MEDIC_TLS_CERT"
KEY: Final = "MEDIC_TLS_KEY"

PROTOCOLS: Final = ("h2", "http/1.1")
"""What ALPN offers, the best first."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS.

    Args:
        certificate: PEM file with the certificate and those between it and its root.
        key: PEM file with its private key, without a passphrase.

    Raises:
        ConfigurationError: one of the files cannot be read, or they do not belong together.
    """
    faults = [fault for name, path in ((CERTIFICATE, certificate), (KEY, key)) for fault in _unreadable(name, path)]
    if faults:
        raise ConfigurationError(tuple(faults))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(PROTOCOLS))
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        raise ConfigurationError((_mismatch(error),)) from None
    return context


def _unreadable(name: str, path: Path) -> tuple[Fault, ...]:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return (Fault(name, f"cannot be read: {(error.strerror or 'no reason given').lower()}"),)
    return ()


def _mismatch(error: ssl.SSLError) -> Fault:
    if error.reason == "KEY_VALUES_MISMATCH":
        return Fault(KEY, f"is not the key of the certificate in {CERTIFICATE}")
    return Fault(CERTIFICATE, f"and {KEY} must be PEM files with a certificate and its key, without a passphrase")


def _no_passphrase() -> str:
    """Asked for the passphrase of a key that has one: nobody is there to type it."""
    return ""
