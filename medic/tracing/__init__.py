"""OpenTelemetry: worn by the parts from outside, and only where `OTEL_EXPORTER_OTLP_ENDPOINT` is set."""
