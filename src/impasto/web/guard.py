"""Who may talk to the studio: this machine's own browser, or whoever knows the token; and never another site's page."""

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
LIMITS = {"/api/uploads": (4 << 30) + (1 << 20), "/api/recipes": (64 << 20) + (1 << 20)}
"""Most bytes of a request's body by its path: what is too large is refused before it is read."""
LIMIT = 1 << 20
"""Of all others."""
POLICY = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none'"
"""Nothing from anywhere else."""
COOKIE = "impasto_token"
Next = Callable[[Request], Awaitable[Response]]


class Guard:
    """A middleware. Without a token only loopback names are answered, so that no other site can rebind to them."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    async def __call__(self, request: Request, call_next: Next) -> Response:
        """Refuse, or pass on."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if self.token is None and host not in LOOPBACK:
            return _refusal(403, f"this studio answers to 127.0.0.1 only, not to {host[:80]!r}")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return _refusal(403, "requests from pages of other sites are refused")
        if self.token is not None:
            given = request.query_params.get("token")
            if given is not None and request.method == "GET" and self._is_right(given):
                # Once from the printed address; then from a cookie, so that the token leaves the address bar.
                answer = RedirectResponse(request.url.remove_query_params("token").path)
                answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
                return answer
            bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not (self._is_right(request.cookies.get(COOKIE, "")) or self._is_right(bearer)):
                return _refusal(401, "open the address that the studio printed: it holds the token")
        if request.method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            length = request.headers.get("content-length", "")
            if not length.isdecimal() and request.headers.get("transfer-encoding"):
                return _refusal(411, "say how long the body is")
            limit = LIMITS.get(request.url.path, LIMIT)
            if length.isdecimal() and int(length) > limit:
                return _refusal(413, f"more than {limit >> 20} MiB")
        answer = await call_next(request)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    def _is_right(self, given: str) -> bool:
        assert self.token is not None
        return secrets.compare_digest(given.encode(), self.token.encode())


def _refusal(status: int, reason: str) -> Response:
    return JSONResponse({"detail": reason}, status)
