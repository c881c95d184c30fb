"""What Jupyter's and Tornado's own refusals are in our words."""

from __future__ import annotations

from tornado.web import RequestHandler

from ..wire.errors import GatewayError, InternalError, MethodNotAllowed, NotAllowed, RequestError


def error_for(status: int, method: str, *, is_known_host: bool, token_authenticated: bool) -> GatewayError:
    """One of our errors for an HTTP status that Jupyter or Tornado chose.

    Args:
        status: theirs.
        method: the request's.
        is_known_host: whether Jupyter answers to the name in the ``Host`` header.
        token_authenticated: whether the caller sent a token, and no cookie.
    """
    if status == 405:
        return MethodNotAllowed(f"{method} is not allowed here.")
    if status in {403, 404} and not is_known_host:
        return NotAllowed("This server answers only to local host names (`ServerApp.allow_remote_access`).")
    if status == 403 and token_authenticated:
        return NotAllowed("The Jupyter server's authorizer does not allow this user to do that.")
    if status in {403, 404}:
        # A cookie, or a server without a login, and no XSRF header; or a page of another origin.
        return NotAllowed(
            "Requests without a key of this server need the X-XSRFToken header and the server's own origin. "
            "A key needs neither: `jupyter bodhi key create` makes one."
        )
    if 400 <= status < 500:
        return RequestError("The request could not be understood.")
    return defect()


def methods_of(route: type[RequestHandler]) -> list[str]:
    """Those that it has, for the ``Allow`` header (RFC 9110, section 10.2.1)."""
    names = {method: method.lower() for method in RequestHandler.SUPPORTED_METHODS}
    return [method for method, name in names.items() if getattr(route, name) is not getattr(RequestHandler, name)]


def defect() -> InternalError:
    """The error for a defect of ours, which only the log describes."""
    return InternalError("The gateway failed; the server's log has the details under this request's id.")
