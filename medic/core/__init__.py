"""Pure: units, policy, events, effects, the service machine. No clock, no logging, no I/O."""
