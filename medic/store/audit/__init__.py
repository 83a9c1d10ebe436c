"""The audit once it is written: chained by hash, verified, read."""
