"""A real program of a test's own, as the library knows a daemon; systemd is a double."""

import os
import signal
import subprocess
import time

import programs
from infra_formula import systemd
from infra_formula.daemon import local_ports
from infra_formula.parameters import site
from ports import free_port

from support.doubles import double

DEBIANS = {"alertmanager": "prometheus-alertmanager"}
"""Programs that, in Debian's build, read files of their package at /usr/share."""


class RealDaemon:
    """A running program.

    Args:
        monkeypatch: of the test.
        folder: where its log is written.
        name: the daemon's name in infra/components.yaml.
        program: path of the program.
        flags: its flags; ``{port}`` in one stands for its port.
        options: what differs in the daemon's row; ``port`` and the code that it ``answers``
            when it is healthy, if they are not the usual ones.

    Raises RuntimeError with its log where it does not start.
    """

    def __init__(self, monkeypatch, folder, name, program, flags, **options):
        self.port = options.pop("port", None) or free_port()
        answers = options.pop("answers", 200)
        self.path = folder / f"{name}.log"
        row = next(row for found, row, _ in site.daemon_rows() if found == name)
        self.daemon = {
            "unit": row["unit"], "port": self.port, "port_parameter": row["port"],
            "health": row["health"], "writes": [], "writes_parameter": "infra_data",
            "reload": row.get("reload", {}), **options,
        }  # fmt: skip
        command = [program, *(flag.replace("{port}", str(self.port)) for flag in flags)]
        if name in DEBIANS:
            share = programs.unpacked(DEBIANS[name], "trixie") / "usr/share"
            mount = 'mount --bind "$0" /usr/share && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", mount, str(share), *command]
        with self.path.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        double(monkeypatch, systemd, "systemctl", side_effect=self._systemctl)
        double(monkeypatch, systemd, "journal", side_effect=self._journal)
        double(monkeypatch, systemd, "unit_state", side_effect=self._unit_state)
        self._read = 0
        deadline = time.monotonic() + 60
        while local_ports.request(self.port, self.daemon["health"])[0] != answers:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(self.path.read_text())
            time.sleep(0.05)

    def _unit_state(self, unit):
        active = self.process.poll() is None
        return {"active": active, "state": "active/running", "pid": self.process.pid}

    def _systemctl(self, *words, must=True):
        if words[0] == "reload":
            self._read = self.path.stat().st_size
            os.kill(self.process.pid, signal.SIGHUP)

    def _journal(self, unit, since):
        return self.path.read_bytes()[self._read :].decode()

    def stop(self):
        self.process.kill()
        self.process.wait()
