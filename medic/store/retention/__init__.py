"""What is removed from PostgreSQL once it is old, and what is kept of it: counts of heartbeats, and of outages."""
