"""Whoever is called while Medic lives, and notices when the calls end: takes any POST without a body."""

from __future__ import annotations

from tests.vendors.server import Answered, Arrival, VendorServer


class CallReceiver(VendorServer):
    """Takes calls at any path."""

    def faults_of(self, arrival: Arrival) -> list[str]:
        """It is a POST, and says nothing: the address is all there is to know."""
        return [] if (arrival.method, arrival.text) == ("POST", "") else [f"{arrival.method} {arrival.text!r}"]

    def answer(self, arrival: Arrival) -> Answered:
        """200."""
        arrival.taken = True
        return Answered(200, {})
