"""The way to PostgreSQL: the one bridge, connections, the schema."""
