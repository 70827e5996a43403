"""Logs, metrics and health: what a running service tells about itself."""
