"""Has a real nginx test a rendered portal, below a folder."""

import shutil
import subprocess

from infra_formula.portal import rendering
from portal_samples import LOADER, facts, settings

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")


def make_prefix(root):
    """A place for an nginx of our own: certificates, logs, what its package brings."""
    assert NGINX, "nginx is not installed; tools/prepare does that"
    (root / "log").mkdir()
    (root / "cache").mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test",
         "-keyout", root / "pigsty.key", "-out", root / "pigsty.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    return root


def version():
    """Version of the installed nginx."""
    said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    return [int(n) for n in said.strip().rpartition("/")[2].split()[0].split(".")]


def stage(prefix, files):
    """Write a rendered portal below prefix; returns the place of its nginx.conf."""
    root = prefix / "etc"
    shutil.rmtree(root, ignore_errors=True)
    for rel, spec in files.items():
        path = root / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in spec:
            path.symlink_to(spec["link"])
        else:
            text = spec["text"].replace("/var/log/nginx", str(prefix / "log"))
            text = text.replace("/var/cache/infra-nginx", str(prefix / "cache"))
            path.write_text(text.replace("/run/nginx.pid", str(prefix / "pid")), encoding="utf-8")
    for name in ("crt", "key"):
        (root / "conf.d" / "cert").mkdir(exist_ok=True)
        (root / "conf.d" / "cert" / f"pigsty.{name}").symlink_to(prefix / f"pigsty.{name}")
    (root / "mime.types").write_text("types { text/html html; }")
    (root / ".htpasswd").write_text("")
    return root


def accepts(prefix, files):
    """Write a rendered portal below prefix and have nginx test it; returns its complaint."""
    root = stage(prefix, files)
    tested = subprocess.run(
        [NGINX, "-t", "-q", "-p", prefix, "-c", root / "nginx.conf", "-e", prefix / "log" / "e"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return tested.stderr if tested.returncode else ""


def render(entries, **changes):
    """Files of a portal for the installed nginx."""
    return rendering.files(entries, settings(**changes), facts(nginx_version=version()), LOADER)
