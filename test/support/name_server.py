"""A real name server whose records a test changes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from ports import free_port


class NameServer:
    """dnsmasq with a file of records that a test changes; it can fall silent."""

    def __init__(self, folder: Path) -> None:
        self.port, self.hosts = free_port(), folder / "names"
        self.hosts.write_text("")
        program = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin")
        assert program, "dnsmasq is not installed; tools/prepare does that"
        self.process = subprocess.Popen(
            [program, "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-hosts",
             "--no-resolv", f"--port={self.port}", "--listen-address=127.0.0.1",
             "--bind-interfaces", f"--addn-hosts={self.hosts}", "--local=/corp.example/",
             "--pid-file="],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in self.process.stderr:
            if "read " in line:
                break

    def knows(self, *names: str, address: str = "127.0.0.1") -> None:
        """From now on it answers with these names, and no others."""
        self.hosts.write_text("".join(f"{address} {name}\n" for name in names))
        self.process.send_signal(signal.SIGHUP)
        for line in self.process.stderr:
            if str(self.hosts) in line:
                return

    def service(self, **changes: Any) -> dict[str, Any]:
        """How nginx is to resolve names, as ``Server`` takes it."""
        known = {"servers": [f"127.0.0.1:{self.port}"], "ipv6": False, "hosts": [], "search": []}
        return {**known, **changes}

    def close(self) -> None:
        self.process.kill()
        self.process.wait(20)
        self.process.stderr.close()
