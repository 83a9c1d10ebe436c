"""The snapshot: everything Medic knows, in one file that a start reads in place of an old journal and PostgreSQL."""
