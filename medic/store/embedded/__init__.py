"""Medic's own PostgreSQL: binaries from a package, a server that Medic keeps."""
