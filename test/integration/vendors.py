"""Where a site of the lab has its programs from: Debian, or the vendor.

The vendor's repository is made by test/lab/standins, of given programs, of Debian's under the
vendor's names and of stand-ins, and served to a lab from the address of the host. With
INFRA_PACKAGING=upstream it is the vendor's own, which machines of a lab then have to reach.
"""

import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import programs
from lab import standins, vendor

NOT_SHIPPED = {
    "grafana_enabled": "grafana",
    "vector_enabled": "vector",
    "vlogs_enabled": "victoria-logs",
    "vtraces_enabled": "victoria-traces",
}
"""Switches of what Debian has no package of, and the programs."""

DISTRO = {"infra_packaging": "distro", **dict.fromkeys(NOT_SHIPPED, False)}
"""Parameters of a site of Debian's packages."""

PORT = 8088
URL = f"http://10.10.10.1:{PORT}"


@dataclass(frozen=True)
class Vendor:
    """The vendor's repository.

    Attributes:
        repo: the folder of one that was made here; None for the vendor's own.
    """

    repo: Path | None

    def parameters(self):
        """Parameters of a site of the vendor's packages, beside Debian's own."""
        own = {
            "infra_packaging": "upstream",
            "repo_enabled": False,
            "node_repo_remove": False,
            "node_repo_modules": "infra",
        }
        if self.repo is None:
            return own
        return {
            **own,
            "repo_upstream": [
                {
                    "name": "pigsty-infra",
                    "module": "infra",
                    "releases": [12, 13],
                    "arch": ["x86_64"],
                    "baseurl": {"default": f"{URL}/ generic main"},
                    "gpgkey": f"{URL}/key.asc",
                    "fingerprint": standins.fingerprint(self.repo),
                }
            ],
        }

    def served(self, lab):
        """Serve the repository to a lab, as long as this is entered."""
        if self.repo is None:
            return nullcontext()
        words = ("-m", "http.server", "--directory", str(self.repo))
        return background(lab, *words, "--bind", "10.10.10.1", str(PORT))

    def add_to(self, machine):
        """Have a machine's apt know the repository, as somebody does it by hand."""
        if self.repo is None:
            archive = vendor.archive()
            key = programs.fetch(archive.key)
            place = f"{archive.uri}/ {archive.suite} {archive.components}"
        else:
            key, place = (self.repo / "key.asc").read_bytes(), f"{URL}/ generic main"
        line = f"deb [signed-by=/etc/apt/keyrings/pigsty.asc] {place}\n"
        machine.write("/etc/apt/keyrings/pigsty.asc", key)
        machine.write("/etc/apt/sources.list.d/pigsty-infra.list", line)
        machine.run(["apt-get", "update"])


def repository(folder):
    """Return the vendor's repository, made in an empty folder where it is not the vendor's own."""
    return Vendor(None if programs.from_vendor() else standins.build(folder))


def replaced():
    """Whether something other than Debian's programs and stand-ins was asked for."""
    return programs.from_vendor() or bool(programs.given())


def real_ones():
    """Switches of what Debian has no package of, on where machines get the real program of it."""
    return {switch: programs.is_real(name) for switch, name in NOT_SHIPPED.items()}


@contextmanager
def background(lab, *words):
    """Run a Python program on the host, in the network of a lab, as long as this is entered."""
    quiet = subprocess.DEVNULL
    command = lab.net_command([sys.executable, *words])
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        try:
            yield process
        finally:
            process.kill()
