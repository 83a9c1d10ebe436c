-- Secrets that vendor tokens and webhook headers refer to. Sealed by Medic before they come here (AES-256-GCM, the name as
-- associated data): neither a dump nor whoever reads this table learns a value.

CREATE TABLE medic.secrets (
    name          text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9_])?$'),
    key_id        text NOT NULL CHECK (key_id ~ '^[0-9a-f]{8}$'),
    nonce         bytea NOT NULL CHECK (octet_length(nonce) = 12),
    sealed        bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 17 AND 20000),
    date_added    timestamptz NOT NULL CHECK (medic.is_sayable(date_added)),
    date_modified timestamptz NOT NULL CHECK (medic.is_sayable(date_modified)),
    modified_by   text NOT NULL DEFAULT ''
);
COMMENT ON COLUMN medic.secrets.key_id IS 'Of the key that sealed it: which MEDIC_SECRETS_KEY opens it.';
COMMENT ON COLUMN medic.secrets.date_modified IS 'When it got its present value; a rotation of keys is none.';

-- Whoever listens for changed keys reads secrets as well: one connection does for both.
CREATE TRIGGER secrets_note AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON medic.secrets FOR EACH STATEMENT
    EXECUTE FUNCTION medic.note_api_keys();

-- What Medic changes, Medic writes down in the same transaction; this is for all others. As its owner: who may change this
-- table needs no right to write the audit.
CREATE FUNCTION medic.audit_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    INSERT INTO medic.audit_log (at, actor, action, subject, before, after)
        VALUES (now(), 'SQL', 'secret ' || CASE TG_OP WHEN 'INSERT' THEN 'added' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END,
                coalesce(NEW.name, OLD.name),
                to_jsonb(OLD) - 'sealed' - 'nonce', to_jsonb(NEW) - 'sealed' - 'nonce');
    RETURN NULL;
END
$$;
CREATE TRIGGER secrets_audit AFTER INSERT OR UPDATE OR DELETE ON medic.secrets FOR EACH ROW
    WHEN (NOT medic.is_own_session())
    EXECUTE FUNCTION medic.audit_secret();
