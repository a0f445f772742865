"""The session that the edge verified.

The edge checks the client's session cookie, and tells the application who it is in
the header X-Xeroops-Session: base64url without padding of a JSON object with

    sub   who it is (a string)
    exp   until when the session is good (seconds since 1970)

and whatever else was put into the session. The edge removes every X-Xeroops-*
header that a client sends, and nothing but the edge reaches an application from the
internet: so the header is believed. It is not signed.
"""

import base64
import binascii
import logging
import time
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

HEADER = "X-Xeroops-Session"

_log = logging.getLogger(__name__)


class Session(BaseModel):
    """Who a request comes from."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    subject: str = Field(alias="sub", min_length=1)
    expires: float = Field(alias="exp")

    @property
    def claims(self) -> dict[str, Any]:
        """What else was put into the session."""
        return self.model_extra or {}


def optional_session(request: Request) -> Session | None:
    """Dependency: the session, or None without one that is good."""
    header = request.headers.get(HEADER)
    if not header:
        return None
    try:
        content = base64.b64decode(header + "=" * (-len(header) % 4), altchars=b"-_", validate=True)
        session = Session.model_validate_json(content)
    except (binascii.Error, ValueError, ValidationError):
        _log.error("the edge's session header can't be read")
        return None
    return session if session.expires > time.time() else None


def current_session(session: Annotated[Session | None, Depends(optional_session)]) -> Session:
    """Dependency: the session; without one the answer is 401."""
    if session is None:
        raise HTTPException(401, "log in first")
    return session


CurrentSession = Annotated[Session, Depends(current_session)]
"""`session: CurrentSession` in a path function."""

OptionalSession = Annotated[Session | None, Depends(optional_session)]
"""`session: OptionalSession` in a path function."""
