"""Logs: one JSON object per line on standard output, which the journal stores.

Lines logged while a request is served contain its id.
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, override

from elements.settings import Settings

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, or None."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JSONFormatter(logging.Formatter):
    """Formats a record, its `extra` and the constant fields as a JSON object."""

    def __init__(self, always: dict[str, str]) -> None:
        super().__init__()
        self._always = always

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        line |= self._always
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            text = json.dumps(line, default=str, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError):  # NaN, a key that is not a string, a circular reference
            text = json.dumps({name: str(value) for name, value in line.items()}, ensure_ascii=False)
        # An unpaired surrogate, which a client's JSON may contain, is not valid UTF-8: escape it.
        return text.encode(errors="backslashreplace").decode()


def configure_logging(settings: Settings) -> None:
    """Configures all loggers, including uvicorn's, to write JSON to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        JSONFormatter({"application": settings.application, "version": settings.version, "node": settings.node})
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    # The middleware Requests logs a line per request, with its id and duration.
    logging.getLogger("uvicorn.access").disabled = True
