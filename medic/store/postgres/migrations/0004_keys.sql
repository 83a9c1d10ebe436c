-- API keys: digests of their secrets and never these, who used them, and which services are heard without one. Before these, how
-- triggers know Medic's own sessions from now on.

-- What Medic's own sessions show in `medic.writer`, and triggers compare. A setting that everybody knows would make a session
-- Medic's by saying so. Drawn once a database; Medic reads it when it connects. Without a grant, only the owner of the tables
-- can read it: who has that role can be Medic, and no trigger of his own tables keeps him from anything.
CREATE TABLE medic.own_sessions (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    word     text NOT NULL DEFAULT gen_random_uuid()::text
);
INSERT INTO medic.own_sessions DEFAULT VALUES;
COMMENT ON TABLE medic.own_sessions IS 'Whoever can read this can write as Medic: grant it to nobody.';

-- As its owner, so that other roles can be compared without being able to read what they are compared with.
CREATE FUNCTION medic.is_own_session() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    SELECT coalesce(current_setting('medic.writer', true) = (SELECT word FROM medic.own_sessions), false)
$$;

ALTER TABLE medic.services ADD COLUMN require_key smallint NOT NULL DEFAULT 0 CHECK (require_key IN (0, 1));
COMMENT ON COLUMN medic.services.require_key IS '1: heartbeats of this service need an API key, whatever MEDIC_AUTH says.';

-- A key that was revoked stays for a while, so that whoever still shows it is told why it is refused. To revoke one by SQL:
-- UPDATE api_keys SET revoked_at = now() WHERE name = '…'; Medic knows of it at once.
CREATE TABLE medic.api_keys (
    key_id         text PRIMARY KEY CHECK (key_id ~ '^[a-z2-7]{12}$'),
    name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100 AND medic.is_printable(name)),
    scopes         text[] NOT NULL CHECK (
                       cardinality(scopes) > 0 AND scopes <@ ARRAY['heartbeat', 'read', 'write', 'admin']),
    names          text[] NOT NULL DEFAULT '{}',
    teams          text[] NOT NULL DEFAULT '{}',
    digest         bytea NOT NULL CHECK (octet_length(digest) = 32),
    former_digest  bytea CHECK (octet_length(former_digest) = 32),
    former_until   timestamptz CHECK (medic.is_sayable(former_until)),
    date_added     timestamptz NOT NULL CHECK (medic.is_sayable(date_added)),
    added_by       text NOT NULL DEFAULT '',
    expires_at     timestamptz CHECK (medic.is_sayable(expires_at)),
    revoked_at     timestamptz CHECK (medic.is_sayable(revoked_at)),
    rotated_at     timestamptz CHECK (medic.is_sayable(rotated_at)),
    told_days_left smallint,
    CHECK ((former_digest IS NULL) = (former_until IS NULL)),
    -- Whoever may make keys could make one that is not restricted.
    CONSTRAINT admin_is_not_restricted CHECK (NOT 'admin' = ANY (scopes) OR (names = '{}' AND teams = '{}'))
);
CREATE UNIQUE INDEX api_keys_name ON medic.api_keys (name) WHERE revoked_at IS NULL;
COMMENT ON COLUMN medic.api_keys.digest IS 'SHA-256 of the secret, which nothing keeps.';
COMMENT ON COLUMN medic.api_keys.former_digest IS 'Of the secret before the last rotation; it works until former_until.';
COMMENT ON COLUMN medic.api_keys.told_days_left IS 'Of how many days left people were told last.';

CREATE FUNCTION medic.note_api_keys() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_notify('medic_keys', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER api_keys_note AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON medic.api_keys FOR EACH STATEMENT
    EXECUTE FUNCTION medic.note_api_keys();

-- What Medic changes, Medic writes down in the same transaction; this is for all others. As its owner: who may change this
-- table needs no right to write the audit.
CREATE FUNCTION medic.audit_api_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    INSERT INTO medic.audit_log (at, actor, action, subject, before, after)
        VALUES (now(), 'SQL', 'key ' || CASE TG_OP WHEN 'INSERT' THEN 'added' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END,
                coalesce(NEW.name, OLD.name),
                to_jsonb(OLD) - 'digest' - 'former_digest', to_jsonb(NEW) - 'digest' - 'former_digest');
    RETURN NULL;
END
$$;
CREATE TRIGGER api_keys_audit AFTER INSERT OR UPDATE OR DELETE ON medic.api_keys FOR EACH ROW
    WHEN (NOT medic.is_own_session())
    EXECUTE FUNCTION medic.audit_api_key();

-- The newest use of each key, at most a minute late. Apart from api_keys, because it changes all the time.
CREATE TABLE medic.key_uses (
    key_id       text PRIMARY KEY REFERENCES medic.api_keys ON DELETE CASCADE,
    last_used_at timestamptz NOT NULL,
    address      text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);

-- The newest day (UTC) on which a heartbeat of the service was taken without a key. No foreign key: a service may have been
-- deleted since.
CREATE TABLE medic.keyless_services (
    service_id bigint PRIMARY KEY,
    day        date NOT NULL
);
CREATE INDEX keyless_services_day ON medic.keyless_services (day);
