"""The session that the edge verified.

The edge verifies the client's session cookie and passes the session to the
application in the header X-Xeroops-Session: base64url without padding of a JSON
object with

    sub   the subject (a string)
    exp   the expiry time (seconds since 1970)

and the session's other claims. The header is not signed. It is trusted because the
edge removes every X-Xeroops-* header that a client sends, and applications are
reachable from the internet only through the edge.
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
    """The session of a request."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    subject: str = Field(alias="sub", min_length=1)
    expires: float = Field(alias="exp")

    @property
    def claims(self) -> dict[str, Any]:
        """The session's other claims."""
        return self.model_extra or {}


def optional_session(request: Request) -> Session | None:
    """Dependency: the session, or None if it is missing, invalid or expired."""
    header = request.headers.get(HEADER)
    if not header:
        return None
    try:
        content = base64.b64decode(header + "=" * (-len(header) % 4), altchars=b"-_", validate=True)
        session = Session.model_validate_json(content)
    except (binascii.Error, ValueError, ValidationError):
        _log.error("invalid session header from the edge")
        return None
    return session if session.expires > time.time() else None


def current_session(session: Annotated[Session | None, Depends(optional_session)]) -> Session:
    """Dependency: the session; answers 401 without one."""
    if session is None:
        raise HTTPException(401, "authentication required")
    return session


CurrentSession = Annotated[Session, Depends(current_session)]
"""The type of a path function's parameter: `session: CurrentSession`."""

OptionalSession = Annotated[Session | None, Depends(optional_session)]
"""The type of a path function's parameter: `session: OptionalSession`."""
