"""Masters, minions and syndics as processes of this machine, each in a folder of its own.

A minion that applies with ``test=True`` changes nothing on the machine. Each process may be of
another release of Salt.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ports import free_port

REPO = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("infra", "_modules", "_states", "_utils", "_runners")
START = 300  # seconds


def venv(release: str | None = None) -> Path:
    """The virtual environment of a release of Salt; without one, that of the tests."""
    if release is None:
        return Path(sys.prefix)
    variables = {**os.environ, "SALT": release}
    done = subprocess.run(
        [REPO / "tools/venv"], env=variables, check=True, capture_output=True, text=True
    )
    return Path(done.stdout.strip())


def formula(folder: Path, names: Iterable[str] = FOLDERS) -> Path:
    """A file root with the formula."""
    for name in names:
        (folder / name).symlink_to(REPO / name)
    return folder


def pillar(folder: Path, values: Mapping[str, Any], environment: str = "base") -> Path:
    """A pillar root that assigns values to every minion and to the master."""
    folder.mkdir(exist_ok=True)
    top = {environment: {"*": ["site"]}}
    (folder / "top.sls").write_text(json.dumps(top), encoding="utf-8")
    (folder / "site.sls").write_text(json.dumps(values), encoding="utf-8")
    return folder


class Process:
    """One of Salt's programs with its configuration.

    folder
        Folder for all of its files; its path has to be short, for sockets.
    """

    program = ""

    def __init__(self, folder: Path, options: Mapping[str, Any], python: Path | None = None):
        self.folder, self.bin = folder, (python or venv()) / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        self.options = {
            "root_dir": str(folder), "pki_dir": str(folder / "pki"),
            "cachedir": str(folder / "cache"), "sock_dir": str(folder / "s"),
            "log_file": str(folder / "log"), "pidfile": str(folder / "pid"),
            "conf_file": str(folder / self.name), "extension_modules": str(folder / "ext"),
            "log_level": "warning", "log_level_logfile": "info", **options,
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.write()

    @property
    def name(self) -> str:
        return self.program.removeprefix("salt-")

    def write(self, **changes: Any) -> None:
        self.options |= changes
        text = json.dumps(self.options)
        (self.folder / self.name).write_text(text, encoding="utf-8")

    def start(self, prefix: Sequence[str] = ()) -> None:
        """Start it; ``prefix`` is a command that starts another one, such as ``setpriv``."""
        words = [*prefix, self.bin / self.program, "-c", self.folder, "-l", "quiet"]
        self.process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def stop(self) -> None:
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=5)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process = None

    def cpu(self) -> float:
        """Seconds of CPU of all processes of the program, those that ended included."""
        assert self.process is not None
        ticks = os.sysconf("SC_CLK_TCK")
        total = 0
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:  # the session
                    total += sum(map(int, fields[11:15]))
        return total / ticks

    def call(self, words: Sequence[Any], timeout: float = 300) -> subprocess.CompletedProcess[str]:
        program, *arguments = map(str, words)
        return subprocess.run(
            [self.bin / program, "-c", self.folder, "-l", "error", "--out=json", *arguments],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip


class Master(Process):
    """A salt-master on a loopback address that accepts every key.

    Of several masters of a minion, each has its own ``interface`` and the ports of the first one.
    """

    program = "salt-master"

    def __init__(self, folder: Path, options: Mapping[str, Any], python: Path | None = None):
        publish, ret = free_port(), free_port()  # unless options name some
        super().__init__(
            folder,
            {
                "interface": "127.0.0.1", "publish_port": publish, "ret_port": ret,
                "auto_accept": True, "worker_threads": 3, "user": "root", **options,
            },
            python,
        )  # fmt: skip

    @property
    def address(self) -> str:
        return str(self.options["interface"])

    def salt(
        self, target: str, *words: Any, timeout: int = 120, quiet: bool = False
    ) -> dict[str, Any]:
        """Returns of minions by their ids; what is none is printed."""
        command = ["salt", "--static", "-t", timeout, "-C", target, *words]
        done = self.call(command, timeout=timeout * 4 + 120)
        text = done.stdout
        if "{" not in text:
            if not quiet:
                print(done.stdout, done.stderr)
            return {}
        found: dict[str, Any] = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
        return found

    def run(self, *words: Any, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return self.call(["salt-run", *words], timeout)

    def wait_for(self, ids: Iterable[str], target: str = "*") -> None:
        """Until these minions answer."""
        wanted, deadline = set(ids), time.monotonic() + START
        while not wanted <= set(self.salt(target, "test.ping", timeout=15, quiet=True)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{sorted(wanted)}: no answer; see {self.folder}/log")


class Minion(Process):
    """A salt-minion of one or several masters."""

    program = "salt-minion"

    def __init__(
        self, folder: Path, minion_id: str, masters: Sequence[Master],
        options: Mapping[str, Any] = {}, python: Path | None = None,
    ):  # fmt: skip
        self.id = minion_id
        addresses = [master.address for master in masters]
        super().__init__(
            folder,
            {
                "id": minion_id,
                "master": addresses if len(addresses) > 1 else addresses[0],
                "master_port": masters[0].options["ret_port"],
                "publish_port": masters[0].options["publish_port"],
                "acceptance_wait_time": 1, "random_reauth_delay": 1,
                "ipc_mode": "ipc", "user": "root", "enable_fqdns_grains": False, **options,
            },
            python,
        )  # fmt: skip


class Syndic(Process):
    """A salt-syndic: the master below passes on what the master above publishes."""

    program = "salt-syndic"


def failed(states: Any) -> list[str]:
    """Comments of the states that failed; the return itself if it is not of a state run."""
    if not isinstance(states, dict):
        return [str(states)]
    return [s["comment"] for s in states.values() if s.get("result") is False]
