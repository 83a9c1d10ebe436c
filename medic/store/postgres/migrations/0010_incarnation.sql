-- How Medic knows that a dump was loaded: the database says which one it was when a Medic last began on it, and that is not
-- the one it is in. docs/decisions/0025-restored-databases.md.

ALTER TABLE medic.medic_instance ADD COLUMN incarnation text NOT NULL DEFAULT '';
COMMENT ON COLUMN medic.medic_instance.incarnation IS
    'Server, database and table in which a Medic last began. Another one than it is: this is a restored copy. Empty: not known.';

CREATE FUNCTION medic.incarnation_here() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog
AS $$
    SELECT (SELECT system_identifier FROM pg_control_system()) || '.' || (SELECT oid FROM pg_database WHERE datname = current_database())
           || '.' || 'medic.medic_instance'::regclass::oid
$$;
COMMENT ON FUNCTION medic.incarnation_here IS 'What a dump that was loaded elsewhere, or here once more, is not any more.';
