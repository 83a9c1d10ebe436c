-- One active Medic a database: where it can be reached, and what each of its transactions shows before it does anything.

ALTER TABLE medic.medic_instance
    ADD COLUMN active_address   text NOT NULL DEFAULT '',
    ADD COLUMN active_directory text NOT NULL DEFAULT '';
COMMENT ON COLUMN medic.medic_instance.active_directory IS 'The data directory for which the token was drawn; it stays when that Medic steps down.';
COMMENT ON COLUMN medic.medic_instance.active_since IS 'Null where nobody is active, or the last one stepped down in order.';

-- The lock is shared until the end of the transaction that shows its token, and whoever takes over wants it alone: so nobody
-- is overtaken in the midst of one. Not FOR SHARE on the row: that writes, and every transaction that only looks would wait
-- for the disk.
CREATE FUNCTION medic.require_token(shown bigint) RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    newest bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1296385097, 2);
    -- A statement of its own, with a younger view than the wait for the lock.
    SELECT token INTO newest FROM medic.medic_instance;
    IF newest IS DISTINCT FROM shown THEN
        RAISE EXCEPTION 'the token is % now', newest USING ERRCODE = 'MD001';
    END IF;
END
$$;
COMMENT ON FUNCTION medic.require_token IS 'Refuses a transaction of a Medic that is not the active one any more.';
