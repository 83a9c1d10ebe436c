"""PostgreSQL, the journal and what moves one into the other. The only place with SQL and drivers."""
