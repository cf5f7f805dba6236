"""What a page on one's own machine must refuse: other sites that talk to it, and bodies without end."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")
HEARD = 8  # times the limit that is read of a body, and dropped: a browser reads no answer before it has sent its file
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Lets a request through to the app where it comes from the app's own page, and is not too long.

    A name that an attacker lets point at 127.0.0.1 makes another site the same origin (DNS rebinding): only known names
    of this machine are answered. Bodies are counted as they come, whatever Content-Length says.

    Args:
        app: What is guarded.
        host: The address that the server listens on.
        limits: Most bytes of a body by path; others may have the least of these.
    """

    def __init__(self, app: App, host: str, limits: dict[str, int]) -> None:
        self.app, self.host, self.limits = app, host.strip("[]"), limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def sealed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                if scope["path"].startswith("/api/"):
                    own.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        if said := self.stranger(headers, scope["path"]):
            await refuse(sealed, 403, said)
            return
        limit = self.limits.get(scope["path"], min(self.limits.values()))
        length = headers.get("content-length", "0")
        size, body = int(length) if length.isdigit() and int(length) > HEARD * limit else 0, bytearray()
        more = size == 0
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            part = message.get("body", b"")
            size += len(part)
            if size <= limit:
                body += part
            more = message.get("more_body", False) and size <= HEARD * limit
        if size > limit:
            await refuse(sealed, 413, f"The body is longer than {limit:,} bytes.")
            return
        given = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, replay, sealed)

    def stranger(self, headers: dict[str, str], path: str) -> str | None:
        """Why a request is not from the app's own page, None where it is."""
        host = headers.get("host", "")
        if not self.known(name_of(host)):
            return "This page answers to its own address alone."
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "This page answers to no other site."
        if path != "/" and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "This page answers to no other site."
        return None

    def known(self, name: str) -> bool:
        """Whether a host's name is one of this machine's that nobody else can take."""
        if name in (*LOCAL, self.host):
            return True
        return self.host in EVERYWHERE and is_address(name)  # a number cannot be made to point elsewhere


def name_of(host: str) -> str:
    """The name in a Host header, without the port, which a tunnel may change."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def is_address(name: str) -> bool:
    """Whether a host is a number rather than a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def refuse(send: Send, status: int, said: str) -> None:
    """Answer with a sentence, and end the connection, of which there may be a body left to read."""
    body = json.dumps({"detail": said}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
