"""Access control of the studio: local requests or those with the token, none from pages of other sites."""

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
LIMITS = {"/api/uploads": (4 << 30) + (1 << 20), "/api/recipes": (64 << 20) + (1 << 20)}
"""Maximum bytes of a request body by path; a larger body is refused before it is read."""
LIMIT = 1 << 20
"""The same for all other paths."""
POLICY = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none'"
"""The page loads nothing from other sites."""
COOKIE = "impasto_token"
Next = Callable[[Request], Awaitable[Response]]


class Guard:
    """Middleware. Without a token it accepts only loopback host names, against DNS rebinding."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    async def __call__(self, request: Request, call_next: Next) -> Response:
        """Refuse a request, or pass it on and add security headers to the response."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if self.token is None and host not in LOOPBACK:
            return _refusal(403, f"this studio accepts requests to 127.0.0.1 only, not to {host[:80]!r}")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return _refusal(403, "requests from pages of other sites are refused")
        if self.token is not None:
            candidate = request.query_params.get("token")
            if candidate is not None and request.method == "GET" and self._is_right(candidate):
                # The printed address contains the token; a cookie replaces it, so that it leaves the address bar.
                response = RedirectResponse(request.url.remove_query_params("token").path)
                response.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
                return response
            bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not (self._is_right(request.cookies.get(COOKIE, "")) or self._is_right(bearer)):
                return _refusal(401, "open the address that impasto serve printed: it contains the token")
        if request.method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            length = request.headers.get("content-length", "")
            if not length.isdecimal() and request.headers.get("transfer-encoding"):
                return _refusal(411, "the header Content-Length is missing")
            limit = LIMITS.get(request.url.path, LIMIT)
            if length.isdecimal() and int(length) > limit:
                return _refusal(413, f"the body has more than {limit >> 20} MiB")
        response = await call_next(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Content-Security-Policy"] = POLICY
        return response

    def _is_right(self, candidate: str) -> bool:
        assert self.token is not None
        return secrets.compare_digest(candidate.encode(), self.token.encode())


def _refusal(status: int, reason: str) -> Response:
    return JSONResponse({"detail": reason}, status)
