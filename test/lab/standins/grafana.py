#!/usr/bin/python3
"""Stand-in for Grafana: reads its settings and provisioning files, and answers its documented API.

It has no user interface: its pages say that it is a stand-in. Users and passwords, sign-in by basic
auth, by cookie, by the header of a proxy and of nobody, the check of a request's origin, data
sources, dashboards and the reload of both are as Grafana documents them.
"""

import base64
import binascii
import ipaddress
import json
import os
import re
import secrets
import sys
import threading
import time
from http.cookies import SimpleCookie
from typing import Any, ClassVar
from urllib.parse import urlsplit

sys.path.insert(0, "/usr/share/grafana-stand-in")
import serving
from grafana_settings import Refused, providers, settings
from grafana_store import Store

VERSION = "9.0.0"
PAGE = "<!doctype html><title>Grafana (stand-in)</title><p>Grafana (stand-in)"


class Handler(serving.Handler):
    store: Store
    given: dict[str, dict[str, str]]
    sessions: ClassVar[dict[str, str]] = {}
    requests: ClassVar[int] = 0

    def on(self, section: str, key: str) -> bool:
        return self.given.get(section, {}).get(key, "false") == "true"

    def tell(self, code: int, body: Any, **headers: str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(code)
        kind = "text/html" if isinstance(body, str) and body.startswith("<") else "application/json"
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    # -- who asks

    def who(self) -> dict[str, Any] | None:
        """The user that asks; None for nobody. One that is wrong raises PermissionError."""
        given = self.headers.get("Authorization", "")
        if given.startswith("Basic "):
            try:
                login, _, password = base64.b64decode(given[6:]).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise PermissionError("Invalid Basic Auth Header") from None
            user = self.store.signed_in(login, password)
            if user is None:
                raise PermissionError("Invalid username or password")
            return user
        if given:
            raise PermissionError("Invalid API key")
        if self.on("auth.proxy", "enabled"):
            login = self.headers.get(self.given["auth.proxy"]["header_name"], "")
            if login:
                self.trusted()
                return self.store.user(login) or self.store.sign_up(login)
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("grafana_session")
        if cookie and cookie.value in self.sessions:
            return self.store.user(self.sessions[cookie.value])
        return {"login": "", "admin": 0, "id": 0} if self.on("auth.anonymous", "enabled") else None

    def trusted(self) -> None:
        listed = re.split(r"[,\s]+", self.given["auth.proxy"].get("whitelist", "").strip())
        client = ipaddress.ip_address(self.client_address[0].removeprefix("::ffff:"))
        if listed != [""] and not any(client in ipaddress.ip_network(one) for one in listed):
            raise PermissionError("proxy authentication required")

    def same_origin(self) -> bool:
        """A request with the cookie comes from a page of ours, or of a trusted name."""
        if "grafana_session" not in self.headers.get("Cookie", ""):
            return True
        origin = self.headers.get("Origin", "")
        name = urlsplit(origin).hostname
        own = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        trusted = self.given.get("security", {}).get("csrf_trusted_origins", "").split()
        return not origin or name == own or name in trusted

    # -- what is asked

    def do_GET(self) -> None:
        self.route("GET")

    def do_POST(self) -> None:
        self.route("POST")

    def do_PUT(self) -> None:
        self.route("PUT")

    def route(self, method: str) -> None:
        Handler.requests += 1
        body = self.body()
        prefix = urlsplit(self.given["server"]["root_url"]).path.rstrip("/")
        path = urlsplit(self.path).path
        if not self.path.startswith(prefix):
            target = self.given["server"]["root_url"] + self.path.lstrip("/")
            return self.tell(301, "", Location=target)
        path = path.removeprefix(prefix) or "/"
        if path == "/api/health":
            return self.tell(200, {"database": "ok", "version": VERSION, "commit": "stand-in"})
        if path == "/metrics":
            return self.answer(200, self.metrics())
        if not self.same_origin():
            return self.tell(403, "<p>origin not allowed")
        if path == "/login":
            return self.login(method, body)
        try:
            user = self.who()
        except PermissionError as err:
            return self.tell(401, {"message": str(err)})
        if user is None:
            if path.startswith("/api/"):
                return self.tell(401, {"message": "Unauthorized"})
            return self.tell(302, "", Location=f"{prefix}/login")
        if not path.startswith("/api/"):
            return self.tell(200, f"{PAGE} for {user['login'] or 'everybody'}")
        try:
            asked = json.loads(body) if body else {}
        except ValueError:
            return self.tell(400, {"message": "bad request data"})
        return self.api(method, path.removeprefix("/api"), user, asked)

    def login(self, method: str, body: bytes) -> None:
        if method != "POST":
            return self.tell(200, f"{PAGE}: sign in")
        given = json.loads(body)
        user = self.store.signed_in(given.get("user", ""), given.get("password", ""))
        if user is None:
            return self.tell(401, {"message": "Invalid username or password"})
        token = secrets.token_hex(16)
        self.sessions[token] = user["login"]
        cookie = f"grafana_session={token}; Path=/ui; HttpOnly; SameSite=Lax"
        return self.tell(200, {"message": "Logged in"}, Set_Cookie=cookie)

    def api(self, method: str, path: str, user: dict[str, Any], asked: Any) -> None:
        known = f"{method} {path}"
        if known == "GET /org":
            return self.tell(200, {"id": 1, "name": "Main Org."})
        if known == "GET /search":
            kind = {"type": "dash-db"}
            return self.tell(200, [
                {"uid": b["uid"], "title": b["title"], "folderTitle": b["folder"], **kind}
                for b in self.store.boards()
            ])  # fmt: skip
        found = re.fullmatch(r"GET /dashboards/uid/([\w-]+)", known)
        if found:
            return self.dashboard(found[1])
        if not user["login"]:
            return self.tell(401, {"message": "Unauthorized"})
        if known == "GET /user":
            return self.tell(200, {"id": user["id"], "login": user["login"], "orgId": 1,
                                   "email": user["email"], "name": user["name"],
                                   "isGrafanaAdmin": bool(user["admin"])})  # fmt: skip
        if known == "PUT /user/password":
            if self.store.signed_in(user["login"], asked["oldPassword"]) is None:
                return self.tell(401, {"message": "invalid old password"})
            self.store.set_password(user["id"], asked["newPassword"])
            return self.tell(200, {"message": "User password changed"})
        if not user["admin"]:
            return self.tell(403, {"message": "You'll need additional permissions"})
        return self.admin(known, asked)

    def dashboard(self, uid: str) -> None:
        for board in self.store.boards():
            if board["uid"] == uid:
                meta = {"provisioned": bool(board["path"]), "folderTitle": board["folder"]}
                shown = json.loads(board["json"])
                return self.tell(200, {"dashboard": shown, "meta": meta})
        return self.tell(404, {"message": "Dashboard not found"})

    def admin(self, known: str, asked: Any) -> None:
        if known == "GET /datasources":
            keys = ("uid", "name", "type", "url", "access", "isDefault", "jsonData", "made")
            return self.tell(200, [
                {**{key: one.get(key) for key in keys}, "readOnly": not one.get("editable")}
                for one in self.store.sources()
            ])  # fmt: skip
        found = re.fullmatch(r"POST /admin/provisioning/(datasources|dashboards)/reload", known)
        if found:
            try:
                if found[1] == "datasources":
                    self.store.provision_sources()
                else:
                    self.store.provision_boards()
            except Refused as err:
                print(f"logger=provisioning level=error error={err}", file=sys.stderr, flush=True)
                return self.tell(500, {"message": ""})
            return self.tell(200, {"message": f"{found[1].capitalize()} config reloaded"})
        found = re.fullmatch(r"PUT /admin/users/(\d+)/password", known)
        if found:
            self.store.set_password(int(found[1]), asked["password"])
            return self.tell(200, {"message": "User password updated"})
        found = re.fullmatch(r"PUT /users/(\d+)", known)
        if found:
            self.store.change_user(int(found[1]), asked["login"])
            return self.tell(200, {"message": "User updated"})
        if known == "POST /dashboards/db":
            return self.save(asked["dashboard"])
        return self.tell(404, {"message": "Not found"})

    def save(self, board: dict[str, Any]) -> None:
        there = {b["uid"]: b for b in self.store.boards()}
        if there.get(board["uid"], {}).get("path"):
            return self.tell(400, {"message": "Cannot save provisioned dashboard"})
        self.store.save(board["uid"], board["title"], "", "", board)
        return self.tell(200, {"status": "success", "uid": board["uid"]})

    def metrics(self) -> str:
        boards, sources = len(self.store.boards()), len(self.store.sources())
        return (
            f'grafana_build_info{{branch="HEAD",edition="oss",version="{VERSION}-stand-in"}} 1\n'
            f"grafana_stat_totals_dashboard {boards}\n"
            f'grafana_stat_totals_datasource{{plugin_id="prometheus"}} {sources}\n'
            f"grafana_stat_total_users {self.store.users()}\n"
            "grafana_stat_total_orgs 1\n"
            f"grafana_http_request_duration_seconds_count {Handler.requests}\n"
        )


def serve(argv: list[str]) -> None:
    given = settings(options(argv, {"config", "homepath", "pidfile", "packaging"})["config"])
    Handler.given = given
    Handler.store = Store(given)
    Handler.store.provision_sources()
    Handler.store.provision_boards()
    threading.Thread(target=poll, args=(Handler.store,), daemon=True).start()
    log = os.path.join(given["paths"]["logs"], "grafana.log")
    with open(log, "a") as stream:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        stream.write(f'logger=server t={now} level=info msg="HTTP Server Listen (stand-in)"\n')
    server = given["server"]
    serving.serve("grafana", f"{server.get('http_addr', '')}:{server['http_port']}", Handler)


def poll(store: Store) -> None:
    """Look at the directories of dashboards as often as their providers say."""
    while True:
        found = providers(store.given["paths"]["provisioning"])
        time.sleep(min((p.get("updateIntervalSeconds", 10) for p in found), default=10))
        store.provision_boards()


def options(argv: list[str], names: set[str]) -> dict[str, str]:
    """Flags of the form `--name=value` or `--name value`; others end the program."""
    found = {"config": "/etc/grafana/grafana.ini"}
    words = iter(argv)
    for word in words:
        if word.startswith("cfg:"):
            continue
        name, sign, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or name not in names:
            sys.exit(f"flag provided but not defined: {word}")
        found[name] = value if sign else next(words)
    return found


def command_line(argv: list[str]) -> None:
    """`cli … admin reset-admin-password --password-from-stdin`, and nothing else."""
    try:
        at = argv.index("admin")
    except ValueError:
        sys.exit("Error: ✗ expected the command admin")
    given = settings(options(argv[:at], {"config", "homepath", "pluginsDir"})["config"])
    if argv[at:] != ["admin", "reset-admin-password", "--password-from-stdin"]:
        sys.exit(f"Error: ✗ unknown command {' '.join(argv[at:])}")
    password = sys.stdin.readline().rstrip("\n")
    if len(password) <= 4:
        sys.exit("Error: ✗ new password is too short")
    Store(given).set_password(1, password)
    print("Admin password changed successfully ✔")


def main() -> None:
    argv = sys.argv[1:]
    if argv[:1] in (["--version"], ["-v"]):
        print(f"grafana version {VERSION} (stand-in)")
        return
    try:
        if argv[:1] == ["server"]:
            serve(argv[1:])
        elif argv[:1] == ["cli"]:
            command_line(argv[1:])
        else:
            sys.exit("NAME: grafana (stand-in); COMMANDS: cli, server")
    except (Refused, OSError, LookupError) as err:
        sys.exit(f"Error: ✗ {err}")


if __name__ == "__main__":
    main()
