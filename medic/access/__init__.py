"""Who asks, and what they may: keys, scopes, limits' arithmetic. Pure: no clock, no I/O, no framework."""
