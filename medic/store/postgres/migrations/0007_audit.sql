-- Who did what, so that it can be shown that nothing of it was changed; and services as they were before somebody changed
-- them. docs/decisions/0023-the-audit.md says why it is so.
--
-- An entry is written by whoever makes the change, in its transaction. A moment later Medic's sealer chains it: the seal's
-- hash covers the entry and the seal before it. `medic audit verify` computes all of them again.

-- ---------------------------------------------------------------------------------------------- the triggers of services

-- With the same name as in 0001, and the question of 0004.
CREATE OR REPLACE TRIGGER services_prepare_update BEFORE UPDATE ON medic.services FOR EACH ROW
    WHEN (NOT medic.is_own_session())
    EXECUTE FUNCTION medic.prepare_service_update();

-- Not by the version alone: whoever writes as Medic and leaves that as it is would leave no entry. All columns but those that
-- the writer writes with the version as it is; with the question above that is 75 ms instead of
-- 56 for 10 000 rows of the writer.
CREATE OR REPLACE TRIGGER services_note_update AFTER UPDATE ON medic.services FOR EACH ROW
    WHEN (NEW.version <> OLD.version OR
          (NEW.service_id, NEW.shard, NEW.heartbeat_name, NEW.service_name, NEW.active, NEW.alert_interval,
           NEW.threshold, NEW.team, NEW.priority, NEW.runbook, NEW.grace_period_seconds, NEW.recovery_seconds,
           NEW.renotify_minutes, NEW.require_key, NEW.date_added, NEW.date_modified, NEW.changed_by)
          IS DISTINCT FROM
          (OLD.service_id, OLD.shard, OLD.heartbeat_name, OLD.service_name, OLD.active, OLD.alert_interval,
           OLD.threshold, OLD.team, OLD.priority, OLD.runbook, OLD.grace_period_seconds, OLD.recovery_seconds,
           OLD.renotify_minutes, OLD.require_key, OLD.date_added, OLD.date_modified, OLD.changed_by))
    EXECUTE FUNCTION medic.note_updated_service();

-- ------------------------------------------------------------------------------------------------------------- entries

ALTER TABLE medic.audit_log
    ADD COLUMN key_id     text NOT NULL DEFAULT '',
    ADD COLUMN address    text NOT NULL DEFAULT '',
    ADD COLUMN request_id text NOT NULL DEFAULT '',
    ADD COLUMN label      text NOT NULL DEFAULT '';
COMMENT ON COLUMN medic.audit_log.label IS 'What X-Actor said beside the authenticated name; of SQL by hand, the role.';

-- Newest first, of everything or of one service, one name, one actor.
DROP INDEX medic.audit_log_service;
DROP INDEX medic.audit_log_at;
CREATE INDEX audit_log_newest ON medic.audit_log (at, audit_id);
CREATE INDEX audit_log_service ON medic.audit_log (service_id, at, audit_id) WHERE service_id IS NOT NULL;
CREATE INDEX audit_log_subject ON medic.audit_log (lower(subject COLLATE "C"), at, audit_id);
CREATE INDEX audit_log_actor ON medic.audit_log (actor, at, audit_id);

-- --------------------------------------------------------------------------------------------------------------- chain

-- Entries that wait for their seal. A table and not "everything after the newest": a transaction may commit late.
CREATE TABLE medic.audit_unsealed (
    audit_id bigint PRIMARY KEY
);
INSERT INTO medic.audit_unsealed SELECT audit_id FROM medic.audit_log;

-- One for each entry, numbered without gaps. What the hash covers, medic/store/audit/chain.py says.
CREATE TABLE medic.audit_seals (
    place     bigint PRIMARY KEY CHECK (place > 0),
    audit_id  bigint NOT NULL UNIQUE,
    sealed_at timestamptz NOT NULL,
    hash      bytea NOT NULL CHECK (octet_length(hash) = 32)
);

-- Where the chain begins, once retention has removed what was before: entries and seals up to `place` went, and the next
-- seal goes on from `hash`. Whoever removes writes this row, and an entry about it, in the same transaction.
CREATE TABLE medic.audit_checkpoints (
    place   bigint PRIMARY KEY,
    hash    bytea NOT NULL CHECK (octet_length(hash) = 32),
    made_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION medic.note_unsealed() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO medic.audit_unsealed SELECT audit_id FROM new_rows;
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_log_note_unsealed AFTER INSERT ON medic.audit_log REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION medic.note_unsealed();

-- Against accidents and whoever has no more than a session. A role that owns the tables can switch triggers off; what it
-- does then, the chain shows. Retention deletes with `SET LOCAL medic.audit_retention = 'on'`.
CREATE FUNCTION medic.refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('medic.audit_retention', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit is only ever added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON medic.audit_log FOR EACH STATEMENT
    EXECUTE FUNCTION medic.refuse_audit_change();
CREATE TRIGGER audit_seals_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON medic.audit_seals FOR EACH STATEMENT
    EXECUTE FUNCTION medic.refuse_audit_change();

-- Entries come from Medic's sessions, or from the triggers on services.
CREATE FUNCTION medic.refuse_audit_by_hand() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT medic.is_own_session() AND pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'entries of the audit are written by what they are about' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_log_refuse_by_hand BEFORE INSERT ON medic.audit_log FOR EACH STATEMENT
    EXECUTE FUNCTION medic.refuse_audit_by_hand();

-- ----------------------------------------------------------------------------------------------------------- snapshots

-- A service as it was before a change that may be regretted. `snapshot_data` is its row.
CREATE TABLE medic.service_snapshots (
    snapshot_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_id     bigint NOT NULL,
    heartbeat_name text NOT NULL,
    action_type    text NOT NULL,
    actor          text NOT NULL,
    created_at     timestamptz NOT NULL,
    snapshot_data  jsonb NOT NULL,
    restored_at    timestamptz,
    restored_by    text NOT NULL DEFAULT '',
    restored_as    bigint
);
COMMENT ON COLUMN medic.service_snapshots.restored_as IS 'The service that has its columns since: a deleted one came back under another id.';
CREATE INDEX service_snapshots_newest ON medic.service_snapshots (created_at, snapshot_id);
CREATE INDEX service_snapshots_service ON medic.service_snapshots (service_id, created_at, snapshot_id);
CREATE INDEX service_snapshots_name ON medic.service_snapshots (lower(heartbeat_name COLLATE "C"), created_at, snapshot_id);

-- The earlier system's word for what is about to be done to a service.
CREATE FUNCTION medic.action_type_of(old medic.services, new medic.services) RETURNS text
    LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN new.active < old.active THEN 'deactivate'
        WHEN new.active > old.active THEN 'activate'
        WHEN (old.service_name, old.interval_ms, old.grace_ms, old.threshold, old.recovery_ms, old.renotify_ms, old.runbook,
              old.require_key)
             IS DISTINCT FROM
             (new.service_name, new.interval_ms, new.grace_ms, new.threshold, new.recovery_ms, new.renotify_ms, new.runbook,
              new.require_key)
             THEN 'edit'
        WHEN new.priority <> old.priority AND new.team = old.team THEN 'priority_change'
        WHEN new.team <> old.team AND new.priority = old.priority THEN 'team_change'
        WHEN new.team <> old.team THEN 'edit'
    END
$$;
COMMENT ON FUNCTION medic.action_type_of IS 'Null where no column changes that a snapshot could bring back.';

-- ------------------------------------------------------------------------------------------- who, and the triggers again

-- Medic's sessions say it in `medic.author`, within the transaction. Of SQL by hand it is known who has the connection.
CREATE FUNCTION medic.author() RETURNS jsonb
    LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF medic.is_own_session() THEN
        RETURN coalesce(nullif(current_setting('medic.author', true), ''), '{}')::jsonb;
    END IF;
    RETURN jsonb_build_object('address', coalesce(host(inet_client_addr()), ''), 'label', session_user);
END
$$;

CREATE OR REPLACE FUNCTION medic.note_inserted_services() RETURNS trigger
    LANGUAGE plpgsql
AS $$
DECLARE
    author jsonb := medic.author();
BEGIN
    INSERT INTO medic.audit_log (at, actor, key_id, address, request_id, label, action, service_id, subject, after)
        SELECT n.date_modified, n.changed_by, coalesce(author->>'key_id', ''), coalesce(author->>'address', ''),
               coalesce(author->>'request_id', ''), coalesce(author->>'label', ''),
               coalesce(author->>'action', 'register'), n.service_id, n.heartbeat_name, to_jsonb(n)
        FROM new_rows n;
    IF medic.is_own_session() THEN
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

CREATE OR REPLACE FUNCTION medic.note_updated_service() RETURNS trigger
    LANGUAGE plpgsql
AS $$
DECLARE
    author jsonb := medic.author();
    action_type text := medic.action_type_of(OLD, NEW);
BEGIN
    INSERT INTO medic.audit_log (at, actor, key_id, address, request_id, label, action, service_id, subject, before, after)
        VALUES (NEW.date_modified, NEW.changed_by, coalesce(author->>'key_id', ''), coalesce(author->>'address', ''),
                coalesce(author->>'request_id', ''), coalesce(author->>'label', ''),
                coalesce(author->>'action', 'update'), NEW.service_id, NEW.heartbeat_name, to_jsonb(OLD), to_jsonb(NEW));
    IF action_type IS NOT NULL THEN
        INSERT INTO medic.service_snapshots (service_id, heartbeat_name, action_type, actor, created_at, snapshot_data)
            VALUES (OLD.service_id, OLD.heartbeat_name, coalesce(author->>'action', action_type), NEW.changed_by,
                    NEW.date_modified, to_jsonb(OLD));
    END IF;
    IF medic.is_own_session() THEN
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

CREATE OR REPLACE FUNCTION medic.note_deleted_services() RETURNS trigger
    LANGUAGE plpgsql
AS $$
DECLARE
    author jsonb := medic.author();
    actor text := coalesce(author->>'name', nullif(current_setting('medic.actor', true), ''), 'SQL');
BEGIN
    INSERT INTO medic.deleted_services (service_id, heartbeat_name, service_name, team, priority)
        SELECT service_id, heartbeat_name, service_name, team, priority FROM old_rows
        ON CONFLICT (service_id) DO NOTHING;
    INSERT INTO medic.audit_log (at, actor, key_id, address, request_id, label, action, service_id, subject, before)
        SELECT now(), actor, coalesce(author->>'key_id', ''), coalesce(author->>'address', ''),
               coalesce(author->>'request_id', ''), coalesce(author->>'label', ''), 'delete',
               o.service_id, o.heartbeat_name, to_jsonb(o)
        FROM old_rows o;
    INSERT INTO medic.service_snapshots (service_id, heartbeat_name, action_type, actor, created_at, snapshot_data)
        SELECT o.service_id, o.heartbeat_name, 'delete', actor, now(), to_jsonb(o) FROM old_rows o;
    IF medic.is_own_session() THEN
        RETURN NULL;
    END IF;
    INSERT INTO medic.service_changes (service_id, shard, version) SELECT service_id, shard, NULL FROM old_rows
        ON CONFLICT (service_id) DO UPDATE SET change_id = EXCLUDED.change_id, version = NULL, noted_at = now();
    PERFORM pg_notify('medic_services', '');
    RETURN NULL;
END
$$;

-- As their owner: who may change services needs no right to write the audit, and so cannot write it from a trigger of his own.
ALTER FUNCTION medic.note_inserted_services() SECURITY DEFINER SET search_path = pg_catalog;
ALTER FUNCTION medic.note_updated_service() SECURITY DEFINER SET search_path = pg_catalog;
ALTER FUNCTION medic.note_deleted_services() SECURITY DEFINER SET search_path = pg_catalog;
