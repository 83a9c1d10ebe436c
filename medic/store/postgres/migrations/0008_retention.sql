-- What is left of heartbeats once they are removed: counts by the hour, later by the day, and what removing them needs.
-- docs/decisions/0024-retention.md says why it is so.

-- ---------------------------------------------------------------------------------------------------------- counts

-- An hour (UTC) of a service in which it was heard of, was down, or went down. There is no row for any other hour.
CREATE TABLE medic.heartbeat_hours (
    service_id  bigint NOT NULL,
    hour        timestamptz NOT NULL,
    up          integer NOT NULL DEFAULT 0,
    down        integer NOT NULL DEFAULT 0,
    degraded    integer NOT NULL DEFAULT 0,
    started     integer NOT NULL DEFAULT 0,
    completed   integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    other       integer NOT NULL DEFAULT 0,
    late_ms     integer NOT NULL DEFAULT 0,
    reported_ms integer NOT NULL DEFAULT 0,
    outages     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (service_id, hour)
);
CREATE INDEX heartbeat_hours_hour ON medic.heartbeat_hours (hour);
COMMENT ON TABLE medic.heartbeat_hours IS 'Heartbeats by what they said, and outages, of each service and hour.';
COMMENT ON COLUMN medic.heartbeat_hours.late_ms IS 'Milliseconds of the hour in which an alert was open because of silence.';
COMMENT ON COLUMN medic.heartbeat_hours.reported_ms IS 'Milliseconds in which one was open because the service reported DOWN or FAILED.';
COMMENT ON COLUMN medic.heartbeat_hours.outages IS 'Alerts that opened in the hour.';

-- The same by the day (UTC): hours are folded into it once they are old.
CREATE TABLE medic.heartbeat_days (
    service_id  bigint NOT NULL,
    day         date NOT NULL,
    up          bigint NOT NULL DEFAULT 0,
    down        bigint NOT NULL DEFAULT 0,
    degraded    bigint NOT NULL DEFAULT 0,
    started     bigint NOT NULL DEFAULT 0,
    completed   bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    other       bigint NOT NULL DEFAULT 0,
    late_ms     bigint NOT NULL DEFAULT 0,
    reported_ms bigint NOT NULL DEFAULT 0,
    outages     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (service_id, day)
);
CREATE INDEX heartbeat_days_day ON medic.heartbeat_days (day);
COMMENT ON TABLE medic.heartbeat_days IS 'What medic.heartbeat_hours said, folded by the day.';

-- ------------------------------------------------------------------------------------------------- late arrivals

-- Stands on the partition of a day from the moment that day is counted. So that it is counted can be seen by it, the two
-- cannot come apart, and whoever writes an old heartbeat, Medic's writer or SQL by hand, is counted then. The day that is
-- written to has no trigger, and costs nothing.
CREATE FUNCTION medic.count_late_heartbeat() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
DECLARE
    word text := upper(NEW.status COLLATE "C");
BEGIN
    INSERT INTO medic.heartbeat_hours AS stored
        (service_id, hour, up, down, degraded, started, completed, failed, other)
    VALUES (NEW.service_id, date_bin('1 hour', NEW."time", 'epoch'::timestamptz), (word = 'UP')::int, (word = 'DOWN')::int,
            (word = 'DEGRADED')::int, (word = 'STARTED')::int, (word = 'COMPLETED')::int, (word = 'FAILED')::int,
            (word NOT IN ('UP', 'DOWN', 'DEGRADED', 'STARTED', 'COMPLETED', 'FAILED'))::int)
    ON CONFLICT (service_id, hour) DO UPDATE SET
        up = stored.up + EXCLUDED.up, down = stored.down + EXCLUDED.down, degraded = stored.degraded + EXCLUDED.degraded,
        started = stored.started + EXCLUDED.started, completed = stored.completed + EXCLUDED.completed,
        failed = stored.failed + EXCLUDED.failed, other = stored.other + EXCLUDED.other;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION medic.count_late_heartbeat IS 'Adds a heartbeat to the counts of its hour; for days that are counted already.';

-- -------------------------------------------------------------------------------------------------------- the days

-- The days there are. Partitions of other names are not Medic's, and are left alone; so is one that somebody else is
-- detaching. `is_leaving`: Medic detached it by half.
CREATE VIEW medic.heartbeat_partitions AS
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day,
       c.relname AS partition_name,
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'count_late_heartbeat') AS is_counted,
       i.inhdetachpending AS is_leaving,
       greatest(c.reltuples, 0)::bigint AS heartbeats,
       pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'medic."heartbeatEvents"'::regclass
  AND c.relname ~ '^heartbeatEvents_[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$'
  AND (NOT i.inhdetachpending OR obj_description(c.oid, 'pg_class') = 'Medic removes this day.');
COMMENT ON VIEW medic.heartbeat_partitions IS 'The days of "heartbeatEvents"; heartbeats is what PostgreSQL estimates.';

-- As before, and: a day that Medic is removing is out of the way before it is made anew. While somebody reads it still, the
-- writer waits and tries again, as for any lock.
CREATE OR REPLACE FUNCTION medic.ensure_heartbeat_day(day date) RETURNS boolean
    LANGUAGE plpgsql
AS $$
DECLARE
    partition_name text := 'heartbeatEvents_' || to_char(day, 'YYYYMMDD');
    begins timestamptz := day::timestamp AT TIME ZONE 'UTC';
    ends timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
    table_oid oid;
    is_leaving boolean;
BEGIN
    IF EXISTS (SELECT FROM pg_inherits
               WHERE inhrelid = to_regclass(format('medic.%I', partition_name)) AND NOT inhdetachpending) THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(1296385097, hashtext(partition_name));
    -- Not to_regclass: it may remember from before the wait that there was no such table.
    SELECT c.oid, i.inhdetachpending INTO table_oid, is_leaving
    FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE c.relname = partition_name AND c.relnamespace = 'medic'::regnamespace;
    IF FOUND THEN
        IF is_leaving AND obj_description(table_oid, 'pg_class') = 'Medic removes this day.' THEN
            PERFORM set_config('lock_timeout', '1s', true);
            EXECUTE format('ALTER TABLE medic."heartbeatEvents" DETACH PARTITION medic.%I FINALIZE', partition_name);
        END IF;
        IF NOT medic.drop_removed_day(day) THEN
            RETURN false;
        END IF;
    END IF;
    EXECUTE format('CREATE TABLE medic.%I (LIKE medic."heartbeatEvents" INCLUDING DEFAULTS)', partition_name);
    EXECUTE format('ALTER TABLE medic.%I ADD CONSTRAINT day CHECK ("time" >= %L AND "time" < %L)', partition_name, begins, ends);
    EXECUTE format('ALTER TABLE medic."heartbeatEvents" ATTACH PARTITION medic.%I FOR VALUES FROM (%L) TO (%L)',
                   partition_name, begins, ends);
    EXECUTE format('ALTER TABLE medic.%I DROP CONSTRAINT day', partition_name);
    RETURN true;
END
$$;

-- A day that was detached and not dropped yet: Medic was killed in between. Its comment tells it from one that an operator
-- detached, to keep it elsewhere, which is never touched.
CREATE FUNCTION medic.drop_removed_day(day date) RETURNS boolean
    LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM medic.removed_days removed WHERE removed.day = drop_removed_day.day) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE medic.%I', 'heartbeatEvents_' || to_char(day, 'YYYYMMDD'));
    RETURN true;
END
$$;
COMMENT ON FUNCTION medic.drop_removed_day IS 'Drops the table of a day that Medic detached; true where there was one.';

CREATE VIEW medic.removed_days AS
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
FROM pg_class c
WHERE c.relnamespace = 'medic'::regnamespace AND c.relkind = 'r'
  AND c.relname ~ '^heartbeatEvents_[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$'
  AND obj_description(c.oid, 'pg_class') = 'Medic removes this day.'
  AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid);
COMMENT ON VIEW medic.removed_days IS 'Days that Medic detached and has still to drop.';

-- --------------------------------------------------------------------------------------------------------- cleanup

-- One row. What is before `outages_until` is in medic.heartbeat_hours; alerts that closed before `alerts_from` are removed.
CREATE TABLE medic.cleanup (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    outages_until   timestamptz,
    alerts_from     timestamptz,
    last_success_at timestamptz
);
INSERT INTO medic.cleanup DEFAULT VALUES;

-- Notifications that belong to no alert, for whoever removes old ones. Those of alerts are found by their alert.
CREATE INDEX notifications_of_no_alert ON medic.notifications (decided_at) WHERE alert_id IS NULL;
