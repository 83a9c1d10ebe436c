"""One Prometheus collector that reads `statistics()` of every part, and the streamed services."""
