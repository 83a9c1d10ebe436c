-- The schema as docs/decisions/0009-the-schema.md explains it. Needs PostgreSQL 14 and a database in UTF8.
--
-- Names that operators' SQL uses are kept from the earlier system: services, "heartbeatEvents", alerts. Ids are bigint of
-- at most 53 bits. `shard` stands wherever ownership will be divided one day; it is 0 until then.
--
-- Medic's own sessions have `medic.writer` set to 'on'. All other changes of services are SQL by hand: they get the next
-- version by themselves, and a note in service_changes that brings them to their actors.

CREATE SCHEMA IF NOT EXISTS medic;

-- ---------------------------------------------------------------------------------------------------- ids and identity

-- One row: which database this is, and the fencing token of the process that may write to it.
CREATE TABLE medic.medic_instance (
    singleton    boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    database_id  uuid NOT NULL DEFAULT gen_random_uuid(),
    token        bigint NOT NULL DEFAULT 0,
    active_name  text NOT NULL DEFAULT '',
    active_since timestamptz
);
INSERT INTO medic.medic_instance DEFAULT VALUES;

-- Ids are block * 2^20 + n. Medic takes whole blocks ahead. Blocks 0 to 1023 belong to services inserted by SQL.
CREATE TABLE medic.id_blocks (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    next_block bigint NOT NULL DEFAULT 1024 CHECK (next_block BETWEEN 1024 AND 8589934592)
);
INSERT INTO medic.id_blocks DEFAULT VALUES;

CREATE FUNCTION medic.take_id_blocks(wanted integer) RETURNS bigint
    LANGUAGE sql
AS $$
    UPDATE medic.id_blocks SET next_block = next_block + wanted RETURNING next_block - wanted
$$;
COMMENT ON FUNCTION medic.take_id_blocks IS 'The first of `wanted` blocks in a row that nobody else will ever get.';

CREATE SEQUENCE medic.service_id_by_sql AS bigint MINVALUE 1 MAXVALUE 1073741823;

-- ------------------------------------------------------------------------------------------------------------ services

-- As near to medic.core.names.name_fault as a regular expression comes: no controls, no spaces but the plain one, no
-- characters without a shape of their own. What it lets through and Python does not is not watched, and reported.
CREATE FUNCTION medic.is_printable(words text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT words !~ ('[\u0001-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u1680\u180e\u2000-\u200f'
                     '\u2028-\u202f\u205f-\u206f\u3000\ue000-\uf8ff\ufeff\ufff9-\uffff]')
$$;

-- The years that Medic can say. Later ones are understood differently by PostgreSQL and Python.
CREATE FUNCTION medic.is_sayable(moment timestamptz) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT moment >= '1970-01-01T00:00:00Z'::timestamptz AND moment < '10000-01-01T00:00:00Z'::timestamptz
$$;

CREATE TABLE medic.services (
    service_id           bigint PRIMARY KEY DEFAULT nextval('medic.service_id_by_sql')
                         CHECK (service_id BETWEEN 0 AND 9007199254740991),
    shard                smallint NOT NULL DEFAULT 0,
    version              bigint NOT NULL DEFAULT 1,
    heartbeat_name       text NOT NULL CONSTRAINT heartbeat_name_bounds CHECK (
                             char_length(heartbeat_name) BETWEEN 1 AND 249
                             AND heartbeat_name = btrim(heartbeat_name)
                             AND medic.is_printable(heartbeat_name)
                             AND heartbeat_name IS NFC NORMALIZED),
    service_name         text NOT NULL CONSTRAINT service_name_bounds CHECK (
                             char_length(service_name) BETWEEN 1 AND 249 AND medic.is_printable(service_name)),
    active               smallint NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    alert_interval       numeric NOT NULL,
    threshold            integer NOT NULL DEFAULT 1 CONSTRAINT threshold_bounds CHECK (threshold BETWEEN 1 AND 1000),
    team                 text NOT NULL DEFAULT 'site-reliability'
                         CONSTRAINT team_bounds CHECK (char_length(team) BETWEEN 1 AND 100 AND medic.is_printable(team)),
    priority             text NOT NULL DEFAULT 'p3'
                         CONSTRAINT priority_bounds CHECK (priority IN ('p1', 'p2', 'p3', 'p4', 'p5')),
    runbook              text NOT NULL DEFAULT '' CONSTRAINT runbook_bounds CHECK (
                             runbook = '' OR (runbook ~* '^https?://[^[:space:]"<>]+$' AND char_length(runbook) <= 2048)),
    muted                smallint NOT NULL DEFAULT 0 CHECK (muted IN (0, 1)),
    down                 smallint NOT NULL DEFAULT 0 CHECK (down IN (0, 1)),
    grace_period_seconds numeric NOT NULL DEFAULT 0,
    recovery_seconds     numeric NOT NULL DEFAULT 0,
    renotify_minutes     numeric,
    date_added           timestamptz NOT NULL DEFAULT now() CONSTRAINT date_added_bounds CHECK (medic.is_sayable(date_added)),
    date_modified        timestamptz NOT NULL DEFAULT now() CHECK (medic.is_sayable(date_modified)),
    date_muted           timestamptz CONSTRAINT date_muted_bounds CHECK (medic.is_sayable(date_muted)),
    mute_until           timestamptz CONSTRAINT mute_until_bounds CHECK (
                             mute_until = 'infinity' OR medic.is_sayable(mute_until)),
    mute_reason          text NOT NULL DEFAULT '',
    muted_by             text NOT NULL DEFAULT '',
    changed_by           text NOT NULL DEFAULT 'SQL',
    -- Medic counts in whole milliseconds. 20 s are no finite number of minutes, so the nearest millisecond is meant.
    interval_ms          bigint NOT NULL GENERATED ALWAYS AS (round(alert_interval * 60000)::bigint) STORED
                         CONSTRAINT alert_interval_bounds CHECK (interval_ms BETWEEN 1000 AND 31622400000),
    grace_ms             bigint NOT NULL GENERATED ALWAYS AS (round(grace_period_seconds * 1000)::bigint) STORED
                         CONSTRAINT grace_period_seconds_bounds CHECK (grace_ms BETWEEN 0 AND 31622400000),
    recovery_ms          bigint NOT NULL GENERATED ALWAYS AS (round(recovery_seconds * 1000)::bigint) STORED
                         CONSTRAINT recovery_seconds_bounds CHECK (recovery_ms BETWEEN 0 AND 31622400000),
    renotify_ms          bigint GENERATED ALWAYS AS (round(renotify_minutes * 60000)::bigint) STORED
                         CONSTRAINT renotify_minutes_bounds CHECK (renotify_ms BETWEEN 0 AND 31622400000)
) WITH (fillfactor = 85);

-- Case is ignored for A to Z only: the same function as medic.core.names.name_key.
CREATE UNIQUE INDEX services_name ON medic.services (lower(heartbeat_name COLLATE "C"));
CREATE INDEX services_label ON medic.services (service_name);

-- What the journal has told about each service so far. Apart from services, because it changes all the time; nothing that
-- changes is indexed, so that updates stay on their page. `hot` is the state as medic.store.codec packs it, open alert and
-- mute included, once the record at `position` of that journal was folded; `version` is that of the services row it was
-- folded under, so that a start notices an edit which the state does not know yet and takes it as an edit. The columns
-- beside these are for people who read by SQL. No foreign key: the writer may still be behind a deletion.
CREATE TABLE medic.service_states (
    service_id        bigint PRIMARY KEY,
    shard             smallint NOT NULL DEFAULT 0,
    version           bigint NOT NULL,
    journal_id        text NOT NULL,
    position          bigint NOT NULL,
    status            text NOT NULL,
    last_heartbeat_at timestamptz,
    last_status       text NOT NULL DEFAULT '',
    heartbeats_total  bigint NOT NULL DEFAULT 0,
    deadline_at       timestamptz,
    hot               bytea NOT NULL,
    written_at        timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Whose heartbeats and alerts these were, after the service is gone.
CREATE TABLE medic.deleted_services (
    service_id     bigint PRIMARY KEY,
    heartbeat_name text NOT NULL,
    service_name   text NOT NULL,
    team           text NOT NULL,
    priority       text NOT NULL,
    date_deleted   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deleted_services_label ON medic.deleted_services (service_name);

-- --------------------------------------------------------------------------------------------------------------- audit

-- Who did what. Triggers write it for every new version of a service, whoever made it; `before` and `after` are the row.
CREATE TABLE medic.audit_log (
    audit_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    service_id bigint,
    subject    text NOT NULL,
    before     jsonb,
    after      jsonb
);
CREATE INDEX audit_log_service ON medic.audit_log (service_id, at);
CREATE INDEX audit_log_at ON medic.audit_log (at);

-- ------------------------------------------------------------------------------------------ services changed by SQL

-- At most one note a service: the newest. `version` is null for a deleted service. Medic removes what it has read.
CREATE SEQUENCE medic.service_change_id AS bigint;
CREATE TABLE medic.service_changes (
    service_id   bigint PRIMARY KEY,
    change_id    bigint NOT NULL DEFAULT nextval('medic.service_change_id'),
    shard        smallint NOT NULL DEFAULT 0,
    version      bigint,
    mute_changed boolean NOT NULL DEFAULT false,
    resolved     boolean NOT NULL DEFAULT false,
    noted_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX service_changes_order ON medic.service_changes (change_id);

CREATE FUNCTION medic.prepare_service_update() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.service_id <> OLD.service_id THEN
        RAISE EXCEPTION 'service_id identifies a service for ever and cannot be changed' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.heartbeat_name <> OLD.heartbeat_name THEN
        RAISE EXCEPTION 'a service cannot be renamed: its alerts are known by that name'
            USING ERRCODE = 'integrity_constraint_violation', HINT = 'Insert a service of the new name and delete the old one.';
    END IF;
    IF NEW.down = 1 AND OLD.down = 0 THEN
        RAISE EXCEPTION 'down is what Medic finds; only setting it to 0 (resolve the open alert) has a meaning'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    NEW.version := OLD.version + 1;
    NEW.date_modified := now();
    IF NEW.changed_by = OLD.changed_by THEN
        NEW.changed_by := 'SQL';
    END IF;
    IF NEW.muted = 0 THEN
        NEW.date_muted := NULL;
        NEW.mute_until := NULL;
        NEW.mute_reason := '';
        NEW.muted_by := '';
    ELSIF OLD.muted = 0 AND NEW.date_muted IS NOT DISTINCT FROM OLD.date_muted THEN
        NEW.date_muted := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER services_prepare_update BEFORE UPDATE ON medic.services FOR EACH ROW
    WHEN (current_setting('medic.writer', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION medic.prepare_service_update();

CREATE FUNCTION medic.note_inserted_services() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO medic.audit_log (at, actor, action, service_id, subject, after)
        SELECT n.date_modified, n.changed_by, 'register', n.service_id, n.heartbeat_name, to_jsonb(n) FROM new_rows n;
    IF current_setting('medic.writer', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO medic.service_changes (service_id, shard, version, mute_changed)
        SELECT service_id, shard, version, muted = 1 FROM new_rows
        ON CONFLICT (service_id) DO UPDATE
            SET change_id = EXCLUDED.change_id, version = EXCLUDED.version, mute_changed = true, noted_at = now();
    PERFORM pg_notify('medic_services', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER services_note_insert AFTER INSERT ON medic.services REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION medic.note_inserted_services();

-- For each row, unlike the others: a join of the old rows with the new ones would be planned once a session, for the number
-- of rows it met first. Writes of `muted` and `down` keep the version, and so do not come here.
CREATE FUNCTION medic.note_updated_service() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO medic.audit_log (at, actor, action, service_id, subject, before, after)
        VALUES (NEW.date_modified, NEW.changed_by, 'update', NEW.service_id, NEW.heartbeat_name, to_jsonb(OLD), to_jsonb(NEW));
    IF current_setting('medic.writer', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO medic.service_changes AS note (service_id, shard, version, mute_changed, resolved)
        VALUES (NEW.service_id, NEW.shard, NEW.version,
                (NEW.muted, NEW.mute_until, NEW.mute_reason) IS DISTINCT FROM (OLD.muted, OLD.mute_until, OLD.mute_reason),
                NEW.down < OLD.down)
        ON CONFLICT (service_id) DO UPDATE
            SET change_id = EXCLUDED.change_id, version = EXCLUDED.version, noted_at = now(),
                mute_changed = note.mute_changed OR EXCLUDED.mute_changed,
                resolved = note.resolved OR EXCLUDED.resolved;
    PERFORM pg_notify('medic_services', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER services_note_update AFTER UPDATE ON medic.services FOR EACH ROW
    WHEN (NEW.version <> OLD.version) EXECUTE FUNCTION medic.note_updated_service();

CREATE FUNCTION medic.note_deleted_services() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO medic.deleted_services (service_id, heartbeat_name, service_name, team, priority)
        SELECT service_id, heartbeat_name, service_name, team, priority FROM old_rows
        ON CONFLICT (service_id) DO NOTHING;
    INSERT INTO medic.audit_log (at, actor, action, service_id, subject, before)
        SELECT now(), coalesce(nullif(current_setting('medic.actor', true), ''), 'SQL'), 'delete',
               o.service_id, o.heartbeat_name, to_jsonb(o)
        FROM old_rows o;
    IF current_setting('medic.writer', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO medic.service_changes (service_id, shard, version) SELECT service_id, shard, NULL FROM old_rows
        ON CONFLICT (service_id) DO UPDATE SET change_id = EXCLUDED.change_id, version = NULL, noted_at = now();
    PERFORM pg_notify('medic_services', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER services_note_delete AFTER DELETE ON medic.services REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT
    EXECUTE FUNCTION medic.note_deleted_services();

CREATE FUNCTION medic.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE says nothing of the rows it removes; use DELETE' USING ERRCODE = 'feature_not_supported';
END
$$;
CREATE TRIGGER services_refuse_truncate BEFORE TRUNCATE ON medic.services FOR EACH STATEMENT
    EXECUTE FUNCTION medic.refuse_truncate();

-- ---------------------------------------------------------------------------------------------------------- heartbeats

-- No default partition: its rows would block making the partition of their own day. No foreign key: COPY would check it.
CREATE TABLE medic."heartbeatEvents" (
    heartbeat_id bigint NOT NULL,
    "time"       timestamptz NOT NULL,
    status       text NOT NULL,
    service_id   bigint NOT NULL,
    run_id       text,
    said_at      timestamptz,
    PRIMARY KEY (heartbeat_id, "time")
) PARTITION BY RANGE ("time");
CREATE INDEX "heartbeatEvents_service" ON medic."heartbeatEvents" (service_id, "time");
CREATE INDEX "heartbeatEvents_time" ON medic."heartbeatEvents" ("time");

-- Attaching, unlike CREATE TABLE … PARTITION OF, does not wait for readers, pg_dump or COPY.
CREATE FUNCTION medic.ensure_heartbeat_day(day date) RETURNS boolean
    LANGUAGE plpgsql
AS $$
DECLARE
    partition_name text := 'heartbeatEvents_' || to_char(day, 'YYYYMMDD');
    begins timestamptz := day::timestamp AT TIME ZONE 'UTC';
    ends timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(format('medic.%I', partition_name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(1296385097, hashtext(partition_name));
    -- Not to_regclass: it may remember from before the wait that there was no such table.
    IF EXISTS (SELECT FROM pg_class WHERE relname = partition_name AND relnamespace = 'medic'::regnamespace) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE medic.%I (LIKE medic."heartbeatEvents" INCLUDING DEFAULTS)', partition_name);
    EXECUTE format('ALTER TABLE medic.%I ADD CONSTRAINT day CHECK ("time" >= %L AND "time" < %L)', partition_name, begins, ends);
    EXECUTE format('ALTER TABLE medic."heartbeatEvents" ATTACH PARTITION medic.%I FOR VALUES FROM (%L) TO (%L)',
                   partition_name, begins, ends);
    EXECUTE format('ALTER TABLE medic.%I DROP CONSTRAINT day', partition_name);
    RETURN true;
END
$$;
COMMENT ON FUNCTION medic.ensure_heartbeat_day IS 'Makes the partition of a UTC day unless it is there; true where it made it.';

-- -------------------------------------------------------------------------------------------------------------- alerts

CREATE TABLE medic.alerts (
    alert_id              bigint PRIMARY KEY,
    alert_name            text NOT NULL,
    service_id            bigint NOT NULL,
    heartbeat_name        text NOT NULL,
    service_name          text NOT NULL,
    team                  text NOT NULL,
    priority              text NOT NULL,
    runbook               text NOT NULL DEFAULT '',
    active                smallint NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    external_reference_id text NOT NULL DEFAULT '',
    alert_cycle           integer NOT NULL DEFAULT 1,
    reason                text NOT NULL,
    created_date          timestamptz NOT NULL,
    closed_date           timestamptz,
    closed_reason         text NOT NULL DEFAULT '',
    late_since            timestamptz,
    acknowledged_date     timestamptz,
    acknowledged_by       text NOT NULL DEFAULT '',
    muted                 smallint NOT NULL DEFAULT 0 CHECK (muted IN (0, 1)),
    flapping              smallint NOT NULL DEFAULT 0 CHECK (flapping IN (0, 1)),
    body                  jsonb,
    CONSTRAINT closed_when_inactive CHECK ((active = 1) = (closed_date IS NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX alerts_one_open ON medic.alerts (service_id) WHERE active = 1;
CREATE INDEX alerts_newest ON medic.alerts (created_date DESC, alert_id DESC);
CREATE INDEX alerts_name ON medic.alerts (lower(heartbeat_name COLLATE "C"), created_date DESC);
COMMENT ON COLUMN medic.alerts.body IS 'The whole alert as Medic has it, for people who look closer.';

-- What happened to an alert, one line a moment.
CREATE TABLE medic.alert_events (
    moment_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    alert_id  bigint NOT NULL,
    at        timestamptz NOT NULL,
    change    text NOT NULL,
    by        text NOT NULL DEFAULT '',
    note      text NOT NULL DEFAULT ''
);
CREATE INDEX alert_events_alert ON medic.alert_events (alert_id, moment_id);

-- One row a notification and target; outcome is empty while it is pending. `body` is the notification as codec packs it.
CREATE TABLE medic.notifications (
    notification_id text NOT NULL,
    target          text NOT NULL,
    kind            text NOT NULL,
    alert_id        bigint,
    service_id      bigint,
    decided_at      timestamptz NOT NULL,
    settled_at      timestamptz,
    attempts        integer NOT NULL DEFAULT 0,
    outcome         text NOT NULL DEFAULT '',
    detail          text NOT NULL DEFAULT '',
    body            bytea,
    PRIMARY KEY (notification_id, target)
) WITH (fillfactor = 70);
CREATE INDEX notifications_alert ON medic.notifications (alert_id);
CREATE INDEX notifications_pending ON medic.notifications (decided_at) WHERE outcome = '';

CREATE TABLE medic.webhooks (
    webhook_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url            text NOT NULL,
    heartbeat_name text,
    headers        jsonb NOT NULL DEFAULT '[]',
    date_added     timestamptz NOT NULL DEFAULT now(),
    added_by       text NOT NULL DEFAULT ''
);

-- ------------------------------------------------------------------------------------------------------------- journal

-- How far the writer has brought each journal: locked FOR UPDATE first in each of its transactions, moved in the same.
CREATE TABLE medic.journal_positions (
    journal_id        text PRIMARY KEY,
    shard             smallint NOT NULL DEFAULT 0,
    position          bigint NOT NULL DEFAULT 0,
    watermark_at      timestamptz,
    watermark_sighted bigint,
    updated_at        timestamptz NOT NULL DEFAULT now()
);
