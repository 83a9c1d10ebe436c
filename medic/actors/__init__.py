"""Trio: the host that turns the wheel and runs actors, the directory, the outbox, the supervisor."""
