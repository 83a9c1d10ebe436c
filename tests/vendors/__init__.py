"""Vendors that run on this machine: PagerDuty's Events API v2, Slack's Web API, and somebody's webhook receiver.

Each is a real HTTP server on loopback that checks every request against the vendor's published schema and limits,
answers as the vendor does, keeps what arrived with the instant at which its head was read, and can be told to fail:

    with PagerDutyServer() as pagerduty:
        pagerduty.behave(Refuse(429, retry_after="2"), times=3)
        ...                                     # Medic is pointed at pagerduty.url
        pagerduty.wait_for(1)                   # blocks this thread; in trio: trio.to_thread.run_sync
        assert pagerduty.faults() == []         # nothing that the vendor would have refused

The servers run in threads, so they serve a trio test, a plain one and `python -m tests.vendors` alike. The last is for
e2e tests that want a vendor to outlive them or to be driven by HTTP; `VendorProcess` starts and drives it.
"""

from tests.vendors.behaviour import Behaviour, Hang, Refuse, Reset, Slow, Works
from tests.vendors.pagerduty import PagerDutyServer
from tests.vendors.process import VendorProcess
from tests.vendors.server import Arrival, VendorServer
from tests.vendors.slack import SlackServer
from tests.vendors.webhook import WebhookReceiver

__all__ = [
    "Arrival",
    "Behaviour",
    "Hang",
    "PagerDutyServer",
    "Refuse",
    "Reset",
    "SlackServer",
    "Slow",
    "VendorProcess",
    "VendorServer",
    "WebhookReceiver",
    "Works",
]
