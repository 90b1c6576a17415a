"""What a run asks the master's file server: once for each file of the formula.

Salt asks for the hash of a file whenever it reads it: of ``infra/map.jinja`` for each SLS, and of
``infra/dns.sls`` before ``infra/dns/init.sls``. Each request takes 2 to 3 ms of the master's
processor, so that half of an apply without change were such requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from infra_formula.minion import Minion

_SCHEME, _FOLDER = "salt://", "infra/"


class _Client(Protocol):
    hash_file: Callable[..., Any]
    file_list: Callable[..., list[str]]


class _Hashes:
    """In place of the method ``hash_file`` of a file client, which lives as long as a run."""

    def __init__(self, client: _Client) -> None:
        self._ask, self._list = client.hash_file, client.file_list
        self._hashes: dict[tuple[str, str], Any] = {}
        self._names: dict[str, frozenset[str]] = {}

    def __call__(self, path: str, saltenv: str = "base") -> Any:
        if not path.startswith(_SCHEME + _FOLDER):
            return self._ask(path, saltenv)
        if path.endswith(".sls") and self._is_folder(path, saltenv):
            return ""
        key = (path, saltenv)
        # A file that is not there may still come.
        if not self._hashes.get(key):
            self._hashes[key] = self._ask(path, saltenv)
        return self._hashes[key]

    def _is_folder(self, path: str, saltenv: str) -> bool:
        """Whether the SLS is ``init.sls`` of a folder of its name.

        A master lists its files anew every 20 seconds only: what is not listed may be there.
        """
        if saltenv not in self._names:
            self._names[saltenv] = frozenset(self._list(saltenv, _FOLDER))
        name = path.removeprefix(_SCHEME)
        names = self._names[saltenv]
        return name not in names and f"{name.removesuffix('.sls')}/init.sls" in names


def ask_once(minion: Minion) -> None:
    """From now on, this run asks its master once for the hash of each file of the formula.

    Without a master, and where Salt has no file client for the run, nothing changes.
    """
    client = cast("_Client | None", minion.context.get("fileclient"))
    if client is None or minion.opts.get("file_client") == "local":
        return
    if not isinstance(client.hash_file, _Hashes):
        client.hash_file = _Hashes(client)
