"""Where a site of the lab has its programs from: Debian, or the vendor.

The vendor's repository is one of stand-ins and of Debian's programs under the vendor's names. It is
made by test/lab/standins, and served to a lab from the address of the host.
"""

import subprocess
import sys
from contextlib import contextmanager

from lab import standins

NOT_SHIPPED = ("grafana_enabled", "vector_enabled", "vlogs_enabled", "vtraces_enabled")
"""Switches of what Debian has no package of."""

DISTRO = {"infra_packaging": "distro", **dict.fromkeys(NOT_SHIPPED, False)}
"""Parameters of a site of Debian's packages."""

PORT = 8088
URL = f"http://10.10.10.1:{PORT}"


def vendor(repo):
    """Parameters of a site of the vendor's packages, beside Debian's own."""
    return {
        "infra_packaging": "upstream",
        "repo_enabled": False,
        "node_repo_remove": False,
        "node_repo_modules": "infra",
        "repo_upstream": [
            {
                "name": "pigsty-infra",
                "module": "infra",
                "releases": [12],
                "arch": ["x86_64"],
                "baseurl": {"default": f"{URL}/ generic main"},
                "gpgkey": f"{URL}/key.asc",
                "fingerprint": standins.fingerprint(repo),
            }
        ],
    }


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


def served(lab, repo):
    """Serve the repository to a lab, as long as this is entered."""
    words = ("-m", "http.server", "--directory", str(repo), "--bind", "10.10.10.1", str(PORT))
    return background(lab, *words)
