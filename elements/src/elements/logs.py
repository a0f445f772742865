"""Logs: one JSON object a line on standard output, which the journal keeps.

Every line that is written while a request is served has its id.
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, override

from elements.settings import Settings

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being served, or None."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JSONFormatter(logging.Formatter):
    """Formats a record with its `extra` as an object, beside what is the same in every line."""

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
        except (TypeError, ValueError):  # NaN, a key that is no string, what holds itself
            text = json.dumps({name: str(value) for name, value in line.items()}, ensure_ascii=False)
        # Half of a surrogate pair, which a client's JSON may have, is no UTF-8; JSON has it escaped.
        return text.encode(errors="backslashreplace").decode()


def configure_logging(settings: Settings) -> None:
    """Makes every logger write JSON to standard output, uvicorn's too."""
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
    # Requests.log has one line a request, with its id and how long it took.
    logging.getLogger("uvicorn.access").disabled = True
