"""Every limit of the HTTP side, by name and with its reason."""

from __future__ import annotations

from typing import Final

from medic.core.units import DAY_MS, HOUR_MS, DurationMs

# ------------------------------------------------------------------------------------------------------------ requests

BODY_BYTES_MAX: Final = 1 << 20
"""Bytes of a request's body: a thousand times the largest registration anybody needs."""

HEARTBEAT_BYTES_MAX: Final = 64 << 10
"""Bytes of one heartbeat's body: names, a status, a run id and some fields that are ignored fit many times over."""

BULK_HEARTBEATS_MAX: Final = 10_000
"""Heartbeats of one bulk request: some 50 ms of work, in slices, and one commit."""

BULK_BYTES_MAX: Final = 4 << 20
"""Bytes of a bulk request's body: 400 a heartbeat, five times what an ordinary one has."""

BULK_MARKS_MAX: Final = 20 * BULK_HEARTBEATS_MAX
"""Commas and opening brackets of a bulk request's body. JSON is read in one go, and 4 MiB of `[[],[],…` would hold the
loop for a quarter of a second; so many marks hold it for 10 ms at the most."""

BULK_SLICE: Final = 1_000
"""Heartbeats of a bulk taken between two chances for every other task: 2 ms where all of them are plain."""

BULK_SLICE_OTHERS: Final = 100
"""Those among them that are taken one by one: 1 ms more, or 2 where all of these are refused."""

BODY_SMALL_BYTES: Final = 64 << 10
"""Bytes of a body up to which it counts as a heartbeat's, or a bulk's of some 1 000: the express lane keeps these
itself, and they may use the budget's reserve."""

BODIES_BYTES_MAX: Final = 128 << 20
"""Bytes of bodies that are kept at once, all together: 24 of the largest bulks beside the reserve. Read and parsed they
take several times as much, which a machine that runs Medic has."""

BODIES_RESERVE_BYTES: Final = 32 << 20
"""Bytes of these that only small bodies may use: 512 of the largest of them, 100 000 ordinary heartbeats."""

BODY_DISCARD_MAX: Final = 16 << 20
"""Bytes beyond a body's limit that are still read and thrown away, so that the client reads its 413 and not a reset."""

BODY_SECONDS_MAX: Final = 30
"""Seconds a body may take to arrive once its head is read; then 408."""

LINGER_SECONDS: Final = 2
"""Seconds a refusal waits for the rest of a body it did not need, so that the client is done writing when it reads."""

HEAD_BYTES_MAX: Final = 16 << 10
"""Bytes of a request line and headers; then 431."""

QUERY_PARAMETERS_MAX: Final = 32
"""Parameters of a query string: four times the most any route has."""

FAULTS_MAX: Final = 20
"""Faults named in one refusal: a body of ten thousand unknown fields is not answered with ten thousand sentences."""

QUOTED_MAX: Final = 64
"""Characters of a caller's own text that a refusal repeats."""

# ------------------------------------------------------------------------------------------------------------- fields

STATUS_MAX: Final = 64
"""Characters of a heartbeat's status (CONTRACT 1)."""

RUN_ID_MAX: Final = 255
"""Characters of a run id: a UUID, a build's URL, a path of a scheduler."""

IDEMPOTENCY_KEY_MAX: Final = 255
"""Characters of an Idempotency-Key: seven times a UUID."""

RUNBOOK_MAX: Final = 2_048
"""Characters of an address, as browsers and proxies agree to carry."""

MUTE_REASON_MAX: Final = 500
NOTE_MAX: Final = 2_000
"""Characters an operator may write beside a mute, and beside an acknowledgement: a sentence, and a paragraph."""

ACTOR_MAX: Final = 100
"""Characters of `X-Actor`."""

WEBHOOK_HEADERS_MAX: Final = 32
WEBHOOK_HEADER_VALUE_MAX: Final = 4_096
"""Headers of one webhook, and characters of each: a signed token fits."""

OVERLAP_DEFAULT_MS: Final = DurationMs(24 * HOUR_MS)
OVERLAP_MAX_MS: Final = DurationMs(30 * DAY_MS)
"""How long a secret that was rotated is good beside the new one: a day to change the other side, a month at most."""

# ----------------------------------------------------------------------------------------------------------- listings

HEARTBEATS_MAX: Final = 250
"""Heartbeats of one answer, as the earlier system had it."""

ALERTS_DEFAULT: Final = 100
"""Alerts of an answer that asks for nothing in particular, as the earlier system had it."""

PAGE_MAX: Final = 1_000
"""Largest `limit` of a page."""

ENTRIES_DEFAULT: Final = 50
ENTRIES_MAX: Final = 200
"""Entries of the audit, and snapshots, on a page: as the earlier system had it, and at most; two rows stand in each."""

SERVICES_PER_PIECE: Final = 100
"""Services written between two chances for every other task: 1 to 2 ms of a streamed listing."""

SERVICES_PER_LOOK: Final = 500
"""Services looked at between two such chances where most of them do not match: under a millisecond."""

ALERTS_PER_READ: Final = 500
"""Alerts read from PostgreSQL at once while all of them are listed."""

REFUSED_NAMES_MAX: Final = 10_000
"""Names heard of that are not registered, newest kept: 5 MB at the longest, and nobody reads more."""

# -------------------------------------------------------------------------------------------------------- connections

CONNECTIONS_MAX: Final = 10_000
"""Open connections: 30 kB of memory each. One more is answered 503 at once, rather than left waiting."""

FILES_RESERVED: Final = 256
"""Open files kept for everything that is no client's connection: journal, PostgreSQL, vendors, modules."""

BACKLOG: Final = 2_048
"""Connections the kernel may hold until they are accepted: a restart of all clients in the same second."""

KEEP_ALIVE_SECONDS: Final = 75
"""How long a connection may be idle. Longer than the 60 s after which load balancers close theirs: they go first."""

PARTING_SECONDS: Final = 0.25
"""How long a drain waits for the next request of a client whose last one is no longer ago, to answer it and to say that
the connection ends. Closed at once, it would meet a reset. Who asks less often reads of the end before."""

KEEP_ALIVE_REQUESTS_MAX: Final = 1_000_000
"""Requests of one connection: a client that beats sixty times a second is asked to come anew after some hours."""

WRITE_SECONDS_MAX: Final = 30
"""How long a client may take to read one piece of an answer before its connection is cut."""

STREAMS_MAX: Final = 100
"""Requests that one HTTP/2 connection may have under way, as RFC 9113 says that it should not be fewer."""

GIVEN_UP_MAX: Final = 100
"""Requests of one HTTP/2 connection that their client gave up, one after another, before it is cut. A client that runs
out of patience gives up as many as it has under way at once; one that goes on so wants the work, not the answers."""

# ------------------------------------------------------------------------------------------------------- express lane

LANE_HEAD_BYTES_MAX: Final = 8 << 10
"""Bytes of a head that the express lane reads itself. Heartbeats have some 200; a longer one is Hypercorn's."""

LANE_HEADS_KNOWN_MAX: Final = 4_096
LANE_HEAD_KNOWN_BYTES_MAX: Final = 1 << 10
"""Heads remembered by their bytes, and how long one may be for that: 3 MB as clients send them, 8 MB at the longest."""

LANE_RECEIVE_BYTES: Final = 64 << 10
"""Bytes asked of one socket at once: a pipeline of 400 heartbeats, and then the next socket's turn."""

LANE_SLICE_REQUESTS: Final = 128
"""Requests read between two chances for every other task: 2 ms of work."""

LANE_UNANSWERED_MAX: Final = 64
"""Heartbeats of one connection that wait for the journal before it is read no further: some commits' worth."""

LANE_ACCEPTS_PER_SLICE: Final = 64
"""Connections accepted between two chances for every other task: 2 ms of work."""

ACCEPT_PAUSE_SECONDS: Final = 0.1
"""How long nothing is accepted once the system is out of file descriptors or memory: until some of ours have ended."""

REQUEST_SECONDS_MAX: Final = BODY_SECONDS_MAX
"""Seconds from a hot request's first byte to its last, where it does not arrive at once."""

HANDSHAKE_SECONDS_MAX: Final = 10
"""Seconds of a TLS handshake: several of the slowest mobile network's round trips."""

LANE_LOOK_SECONDS: Final = 1.0
"""How often the lane looks for connections whose time is up: 0.5 ms of work at the most connections there can be."""
