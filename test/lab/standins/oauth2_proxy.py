"""Stand-in for oauth2-proxy in the mode for nginx's auth_request, strict about what it is asked.

Its paths, their answers and the headers that it goes by are those that oauth2-proxy documents
(configuration/integrations/nginx, features/endpoints) for `--reverse-proxy --set-xauthrequest`.
There is no provider behind it: `start` leads to one, and `callback` takes `code=USER`.
"""

from __future__ import annotations

import threading
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

PROVIDER = "https://login.example.org/authorize"
GROUPS = {"ann": ["infra"], "bob": ["sales"]}
TOLD = (
    "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Uri",
    "X-Auth-Request-Redirect",
)  # fmt: skip
"""Without these it cannot know who asked for what: such a request is a fault of the portal."""


class Handler(BaseHTTPRequestHandler):
    """One request of nginx."""

    protocol_version = "HTTP/1.1"
    prefix = "/oauth2"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        missing = [name for name in TOLD if not self.headers.get(name)]
        if missing or int(self.headers.get("Content-Length") or 0):
            self.answer(500, body=f"missing: {missing}, or a body")
        elif url.path == f"{self.prefix}/auth":
            self.auth(query.get("allowed_groups", ""))
        elif url.path == f"{self.prefix}/start":
            state = query.get("rd") or self.headers["X-Auth-Request-Redirect"]
            host, proto = self.headers["X-Forwarded-Host"], self.headers["X-Forwarded-Proto"]
            back = f"{proto}://{host}{self.prefix}/callback"
            self.answer(
                302, Location=f"{PROVIDER}?{urlencode({'redirect_uri': back, 'state': state})}"
            )
        elif url.path == f"{self.prefix}/callback":
            cookie = f"_oauth2_proxy={query['code']}; Path=/; HttpOnly; Secure"
            self.answer(302, Location=query["state"], Set_Cookie=cookie)
        else:
            self.answer(404)

    def auth(self, allowed: str) -> None:
        """202 for a session, 401 without one, 403 for one of none of the groups."""
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("_oauth2_proxy")
        if cookie is None or cookie.value not in GROUPS:
            self.answer(401)
        elif allowed and not set(allowed.split(",")) & set(GROUPS[cookie.value]):
            self.answer(403)
        else:
            user = cookie.value
            self.answer(
                202, X_Auth_Request_User=user, X_Auth_Request_Email=f"{user}@example.org",
                Set_Cookie=f"_oauth2_proxy={user}; Path=/; Max-Age=3600",
            )  # fmt: skip

    def answer(self, code: int, body: str = "", **headers: str) -> None:
        """Send an answer; underscores in the names of headers stand for hyphens."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing of single requests."""


def start(port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """Serve in a thread of this process; ends with the server's `shutdown`."""
    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
