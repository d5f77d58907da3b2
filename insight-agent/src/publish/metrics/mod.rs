//! The Prometheus exporter.
