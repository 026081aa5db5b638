"""Who may talk to the web page: the right Host, the right Origin, the right token; and the headers of every answer."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE_METHODS = ("GET", "HEAD")
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# A redirect would still count as coming from the site that linked here, and a Strict cookie would stay behind; a page
# that loads the next one does not.
_WELCOME = (
    '<!doctype html><meta charset="utf-8"><link rel="icon" href="/icon.svg">'
    '<meta http-equiv="refresh" content="0;url=/"><a href="/">Continue</a>\n'
)
_LOCKED = (
    '<!doctype html><meta charset="utf-8"><title>Token needed</title><h1>Token needed</h1>'
    "<p>Open the address that the pipeline printed when it started; it ends in <code>?token=…</code>.</p>\n"
)


class Guard:
    """ASGI middleware in front of everything.

    A request passes with the session cookie or `Authorization: Bearer <token>`. `/?token=…` sets the cookie: HttpOnly,
    SameSite=Strict, and not the token itself but a code made from it. Everything else is 401; a foreign Host (a rebound
    DNS name) or, on requests that change something, a foreign Origin is 403.

    Args:
        hosts: names that the Host header may carry, besides addresses and `localhost`.
        cookie: its name; cookies of one host are shared by all its ports, so it holds the port.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str], cookie: str) -> None:
        self._app = app
        self._token = token.encode()
        self._session = hmac.new(self._token, b"session cookie", hashlib.sha256).hexdigest()
        self._hosts = {host.lower() for host in hosts}
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no WebSockets here
            raise RuntimeError(f"unexpected connection type {scope['type']!r}")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._refusal(Request(scope))
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """The answer that ends the request here; None when it may pass."""
        if not self._own_host(request.headers.get("host", "")):
            return PlainTextResponse("unknown Host\n", 403)
        if request.method not in _SAFE_METHODS and not self._own_origin(request.headers):
            return PlainTextResponse("foreign Origin\n", 403)
        token = request.query_params.get("token")
        if token is not None and request.scope["path"] == "/" and _same(token.encode(), self._token):
            answer = HTMLResponse(_WELCOME)
            answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
            return answer
        if self._known(request.headers):
            return None
        return HTMLResponse(_LOCKED, 401, {"WWW-Authenticate": "Bearer"})

    def _known(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(token.strip().encode(), self._token):
            return True
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        found = cookies.get(self._cookie)
        return found is not None and _same(found.value.encode(), self._session.encode())

    def _own_host(self, host: str) -> bool:
        """Names must be known; a numeric address cannot have been rebound."""
        if any(sign in host for sign in "@/\\?#"):
            return False
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts or name == "localhost":
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    @staticmethod
    def _own_origin(headers: Headers) -> bool:
        """A browser sends Origin with every request that changes something; programs without one are no browsers."""
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _same(a: bytes, b: bytes) -> bool:
    return hmac.compare_digest(a, b)
