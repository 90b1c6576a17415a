"""What the stand-in for Grafana keeps: users, data sources and dashboards, in SQLite."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import grafana_settings

TABLES = """
create table if not exists user (id integer primary key, login text unique, email text, name text,
  admin integer, salt text, password text);
create table if not exists source (uid text primary key, name text unique, prunable integer,
  provisioned integer, made text, json text);
create table if not exists board (uid text primary key, title text, folder text, path text,
  json text);
"""
ATTEMPTS = 5
"""Wrong passwords in five minutes, after which the right one is refused, too."""


class Store:
    """A database file; every call opens it, as the program and its command line share it."""

    def __init__(self, given: dict[str, dict[str, str]]) -> None:
        self.given = given
        self.path = Path(given["paths"]["data"], "grafana.db")
        self.failed: dict[str, list[float]] = {}
        with self._open() as base:
            base.executescript(TABLES)
            if not base.execute("select 1 from user").fetchone():
                security = given.get("security", {})
                login = security.get("admin_user", "admin")
                base.execute("insert into user values (1, ?, ?, '', 1, '', '')",
                             (login, "admin@localhost"))  # fmt: skip
                self._set_password(base, 1, security.get("admin_password", "admin"))

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.path, timeout=10)
        base.row_factory = sqlite3.Row
        return base

    # -- users

    @staticmethod
    def _hash(password: str, salt: str) -> str:
        return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 10000).hex()

    def _set_password(self, base: sqlite3.Connection, ident: int, password: str) -> None:
        salt = os.urandom(8).hex()
        done = base.execute("update user set salt = ?, password = ? where id = ?",
                            (salt, self._hash(password, salt), ident))  # fmt: skip
        if not done.rowcount:
            raise LookupError(f"could not read user (id: {ident}) from database")

    def set_password(self, ident: int, password: str) -> None:
        with self._open() as base:
            self._set_password(base, ident, password)

    def user(self, login: str) -> dict[str, Any] | None:
        with self._open() as base:
            row = base.execute("select * from user where login = ?", (login,)).fetchone()
        return dict(row) if row else None

    def sign_up(self, login: str) -> dict[str, Any]:
        with self._open() as base:
            base.execute("insert into user (login, email, name, admin, salt, password) "
                         "values (?, '', '', 0, '', '')", (login,))  # fmt: skip
        return self.user(login) or {}

    def change_user(self, ident: int, login: str) -> None:
        with self._open() as base:
            base.execute("update user set login = ? where id = ?", (login, ident))

    def signed_in(self, login: str, password: str) -> dict[str, Any] | None:
        now = time.time()
        wrong = [at for at in self.failed.get(login, []) if at > now - 300]
        user = self.user(login)
        if (
            len(wrong) < ATTEMPTS
            and user
            and self._hash(password, user["salt"]) == user["password"]
        ):
            return user
        self.failed[login] = [*wrong, now]
        return None

    # -- what is provisioned

    def provision_sources(self) -> None:
        """By name; those that may be pruned and are in no file any more are removed."""
        found = grafana_settings.sources(self.given["paths"]["provisioning"])
        names = {one["name"] for one in found}
        with self._open() as base:
            for row in base.execute("select name from source where prunable = 1").fetchall():
                if row["name"] not in names:
                    base.execute("delete from source where name = ?", (row["name"],))
            for one in found:
                there = base.execute("select made from source where name = ?",
                                     (one["name"],)).fetchone()  # fmt: skip
                made = there["made"] if there else str(time.time())
                base.execute("delete from source where name = ?", (one["name"],))
                base.execute(
                    "insert into source values (?, ?, ?, 1, ?, ?)",
                    (one["uid"], one["name"], one["prunable"], made, json.dumps(one)),
                )

    def sources(self) -> list[dict[str, Any]]:
        with self._open() as base:
            rows = base.execute("select * from source order by name").fetchall()
        return [{**json.loads(row["json"]), "made": row["made"]} for row in rows]

    def provision_boards(self) -> None:
        """Read the directories of all providers; what is in none any more is removed."""
        seen: dict[str, str] = {}
        for provider in grafana_settings.providers(self.given["paths"]["provisioning"]):
            for path in sorted(Path(provider["options"]["path"]).rglob("*.json")):
                try:
                    board = json.loads(path.read_text())
                    uid, title = board["uid"], board["title"]
                except (OSError, ValueError, KeyError, TypeError) as err:
                    print(f"logger=provisioning level=error file={path} error={err!r}",
                          file=sys.stderr, flush=True)  # fmt: skip
                    continue
                if uid in seen:
                    print(f"level=error the same UID is used more than once uid={uid}",
                          file=sys.stderr, flush=True)  # fmt: skip
                    continue
                seen[uid] = str(path)
                self.save(uid, title, provider.get("folder", ""), str(path), board)
        with self._open() as base:
            for row in base.execute("select uid from board where path != ''").fetchall():
                if row["uid"] not in seen:
                    base.execute("delete from board where uid = ?", (row["uid"],))

    def save(self, uid: str, title: str, folder: str, path: str, board: dict[str, Any]) -> None:
        with self._open() as base:
            base.execute("insert or replace into board values (?, ?, ?, ?, ?)",
                         (uid, title, folder, path, json.dumps(board)))  # fmt: skip

    def boards(self) -> list[dict[str, Any]]:
        with self._open() as base:
            return [dict(row) for row in base.execute("select * from board order by title")]

    def users(self) -> int:
        with self._open() as base:
            return int(base.execute("select count(*) from user").fetchone()[0])
