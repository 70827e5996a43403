"""structlog set-up: readable lines on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import logging
import sys

import structlog

from streamproc.settings import ObservabilitySettings

__all__ = ["configure_logs"]


def configure_logs(settings: ObservabilitySettings) -> None:
    """Set up structlog for this process, on stderr; called once by the command line."""
    level = getattr(logging, settings.log_level.upper())
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=_StandardError()),  # type: ignore[arg-type]
        # Loggers are not cached: what a module logged first must not decide for the rest of the process.
        cache_logger_on_first_use=False,
    )
    # The Kafka client narrates every reconnect at warning level; what matters of it we say ourselves.
    logging.getLogger("kafka").setLevel(logging.CRITICAL if level > logging.DEBUG else logging.DEBUG)


class _StandardError:
    """Writes to what is standard error now, not to what it was when logging was set up."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()
