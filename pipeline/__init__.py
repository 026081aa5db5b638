"""Live multi-camera person re-identification; the reading order is in docs/architecture.md."""
