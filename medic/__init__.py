"""Medic: a heartbeat monitor. Start reading at ARCHITECTURE.md; the way of a heartbeat begins in `medic.http`."""
