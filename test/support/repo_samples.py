"""Small signed upstreams, apt and yum, and a web server that misbehaves as it is told."""

import atexit
import contextlib
import functools
import gzip
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from closing import stop


def run(*argv, **options):
    """Run a command; its output on failure is the failure's message."""
    done = subprocess.run(
        [str(a) for a in argv], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def made_once(make):
    """A function that makes a file in a folder, which makes the same one again by copying it."""
    made = {}

    @functools.wraps(make)
    def wrapper(folder, *args, **kwargs):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        key = (args, tuple(sorted(kwargs.items())))
        if key not in made:
            path = make(Path(_kept()), *args, **kwargs)
            made[key] = path.name, path.read_bytes()
            path.unlink()
        name, data = made[key]
        target = folder / name
        target.unlink(missing_ok=True)
        target.write_bytes(data)
        return target

    return wrapper


@functools.cache
def _kept():
    folder = tempfile.TemporaryDirectory(prefix="samples-")
    atexit.register(folder.cleanup)
    return folder.name


@made_once
def deb(folder, name, version, arch="all", body=b"", **fields):
    """Build a Debian package in a folder; returns its path."""
    with tempfile.TemporaryDirectory() as tmp:
        control = Path(tmp, "DEBIAN")
        control.mkdir()
        share = Path(tmp, "usr/share/doc", name)
        share.mkdir(parents=True)
        (share / "body").write_bytes(body or f"{name} {version}\n".encode())
        lines = [
            f"Package: {name}",
            f"Version: {version}",
            f"Architecture: {arch}",
            "Maintainer: Nobody <nobody@example.org>",
            f"Description: sample {name}",
            *(f"{key}: {value}" for key, value in fields.items()),
        ]
        (control / "control").write_text("\n".join(lines) + "\n")
        bare = version.partition(":")[2] or version
        target = folder / f"{name}_{bare}_{arch}.deb"
        run("dpkg-deb", "--root-owner-group", "-Znone", "-b", tmp, target)
    return target


@made_once
def rpm(folder, name, version, arch="noarch", requires="", provides="", body=""):
    """Build an rpm package in a folder; returns its path."""
    with tempfile.TemporaryDirectory() as tmp:
        spec = Path(tmp, "a.spec")
        spec.write_text(
            f"Name: {name}\nVersion: {version}\nRelease: 1\nSummary: sample\nLicense: MIT\n"
            + (f"BuildArch: {arch}\n" if arch == "noarch" else "")
            + (f"Requires: {requires}\n" if requires else "")
            + (f"Provides: {provides}\n" if provides else "")
            + "%description\nsample\n%install\nmkdir -p %{buildroot}/usr/share/"
            + name
            + f"\necho '{body or name + version}' > %{{buildroot}}/usr/share/{name}/body\n"
            + f"%files\n/usr/share/{name}\n"
        )
        run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp}", spec)
        built = next(Path(tmp, "RPMS").rglob("*.rpm"))
        return Path(shutil.move(built, folder / built.name))


REPO = Path(__file__).resolve().parents[2]


class Key:
    """A key to sign with, in a home of its own.

    moment
        When it is made and signs, as gpg takes it (``20200101T000000``); now if None. A key that
        is to be over when it is looked at is made in the past: to wait for its end takes two full
        seconds, since gpg counts the last one in.
    """

    def __init__(self, uid="Upstream <upstream@example.org>", expire="never", moment=None):
        self.clock = ["--faked-system-time", f"{moment}!"] if moment else []
        # Short: the agent's socket below it must stay under the limit of AF_UNIX names.
        self.home = tempfile.mkdtemp(prefix="gk-", dir="/tmp")
        os.chmod(self.home, 0o700)
        self.gpg("--passphrase", "", "--quick-generate-key", uid, "rsa2048", "sign", expire)
        self.fingerprint = next(
            line.split(":")[9]
            for line in self.gpg("--with-colons", "-k").splitlines()
            if line.startswith("fpr:")
        )
        self.public = self.gpg("--armor", "--export")

    def gpg(self, *argv):
        return run(
            "gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", *self.clock, *argv
        )  # fmt: skip

    def clear(self, source, target):
        self.gpg("-u", self.fingerprint, "--output", target, "--clear-sign", source)

    def detach(self, source, target):
        self.gpg("-u", self.fingerprint, "--armor", "--output", target, "--detach-sign", source)

    def sign_rpm(self, path):
        run(
            "rpmsign",
            "--define", f"_gpg_name {self.fingerprint}",
            "--define", f"_gpg_path {self.home}",
            "--define", f"__gpg {shutil.which('gpg')}",
            "--addsign", path,
        )  # fmt: skip

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)
        shutil.rmtree(self.home, ignore_errors=True)


def apt_upstream(root, key, suite="stable", fields=(), moment=None, hashes=None, release="SHA256"):
    """Index and sign a folder with packages as an apt repository.

    hashes
        Checksums that its packages have in the index, e.g. ``["SHA512"]``; all that apt writes if
        None.
    release
        Checksum that its indexes have in the Release file.
    """
    root = Path(root)
    text = run("apt-ftparchive", "packages", "pool", cwd=root)
    for name in {"MD5sum", "SHA1", "SHA256", "SHA512"} - set(hashes or []):
        if hashes is not None:
            text = re.sub(rf"(?m)^{name}: .*\n", "", text)
    sums = []
    for arch in ("amd64", "arm64"):
        folder = root / "dists" / suite / "main" / f"binary-{arch}"
        folder.mkdir(parents=True, exist_ok=True)
        own = [
            block
            for block in text.split("\n\n")
            if f"Architecture: {arch}\n" in block or "Architecture: all\n" in block
        ]
        raw = "\n\n".join(own).encode() + b"\n"
        for name, data in (("Packages", raw), ("Packages.gz", gzip.compress(raw))):
            (folder / name).write_bytes(data)
            digest = hashlib.new(release.lower(), data).hexdigest()
            sums.append(f" {digest} {len(data)} main/binary-{arch}/{name}")
    kind = release
    release = root / "dists" / suite / "Release"
    date = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(moment))
    head = [f"Suite: {suite}", f"Codename: {suite}", f"Date: {date}",
            "Architectures: amd64 arm64", "Components: main", *fields]  # fmt: skip
    release.write_text("\n".join([*head, f"{kind}:", *sums]) + "\n")
    key.clear(release, root / "dists" / suite / "InRelease")
    key.detach(release, root / "dists" / suite / "Release.gpg")
    return root


def yum_upstream(root, key=None, checksum="sha256"):
    """Index a folder with rpms; sign its index, where there is a key."""
    run("createrepo_c", "--quiet", "--no-database", f"--checksum={checksum}", root)
    if key:
        repomd = Path(root, "repodata", "repomd.xml")
        key.detach(repomd, f"{repomd}.asc")
    return Path(root)


class Server:
    """Serves a folder over HTTP, and misbehaves where it is told to.

    ``faults`` maps a part of a path to what happens to requests for it: a status (int), ``cut``
    (half the body, then the connection is closed), ``cut-once``, ``flip`` (one byte is another),
    ``loop`` (redirects for ever), ``hang`` (no answer), ``drip`` (a byte now and then),
    ``to:<base>`` (redirects there what was asked of another address), ``no-range``
    (``range_status`` for a part).
    """

    def __init__(self, root, delay=0.0):
        self.root = Path(root)
        self.delay = delay
        self.faults = {}
        self.requests = []
        self.range_status = 403
        self.ranges = []
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_args):
                pass

            def do_CONNECT(self):
                self.send_error(403)

            def do_GET(self):
                outer.answer(self)

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_args):
                pass  # a client that goes away is part of the test

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.released.set()
        stop(self.server)

    def fault(self, path):
        return next((what for part, what in self.faults.items() if part in path), None)

    def answer(self, handler):
        path = unquote(urlsplit(handler.path).path)
        self.requests.append(path)
        if self.delay:
            time.sleep(self.delay)
        fault = self.fault(path)
        if isinstance(fault, int):
            handler.send_error(fault)
            return
        if fault == "loop":
            handler.send_response(302)
            handler.send_header("Location", handler.path)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if (
            isinstance(fault, str)
            and fault.startswith("to:")
            and not handler.path.startswith(fault[3:])
        ):
            handler.send_response(302)
            handler.send_header("Location", fault[3:] + path)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if fault == "no-range" and handler.headers.get("Range"):
            handler.send_error(self.range_status)
            return
        if fault == "hang":
            self.released.wait(60)
            return
        file = self.root / path.lstrip("/")
        if not file.is_file():
            handler.send_error(404)
            return
        data = file.read_bytes()
        modified = handler.date_time_string(file.stat().st_mtime)
        # A date has whole seconds: an index that was written anew in the same one is another.
        is_fresh = "/dists/" in path and time.time() - file.stat().st_mtime < 3
        if handler.headers.get("If-Modified-Since") == modified and not is_fresh:
            handler.send_response(304)
            handler.end_headers()
            return
        if fault == "flip":
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        wanted = handler.headers.get("Range", "")
        if wanted.startswith("bytes=") and not is_fresh:
            start = int(wanted[6:].partition("-")[0])
            self.ranges.append((path, start))
        if start >= len(data) > 0:
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.send_header("Last-Modified", modified)
        handler.end_headers()
        body = data[start:]
        if fault in ("cut", "cut-once"):
            if fault == "cut-once":
                self.faults = {k: v for k, v in self.faults.items() if k not in path}
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            handler.close_connection = True
            return
        if fault == "drip":
            for byte in body:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                if self.released.wait(0.2):
                    return
            return
        with contextlib.suppress(ConnectionError):
            handler.wfile.write(body)


class Client:
    """apt with a root of its own, whose only source is the repository."""

    def __init__(self, folder, source, arch="amd64"):
        self.root = Path(folder)
        for part in ("etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d",
                     "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
                     "var/lib/dpkg"):  # fmt: skip
            (self.root / part).mkdir(parents=True, exist_ok=True)
        (self.root / "var/lib/dpkg/status").write_text("")
        (self.root / "apt.conf").write_text(
            f'Dir "{self.root}/"; Dir::State::status "{self.root}/var/lib/dpkg/status";'
            f'APT::Architecture "{arch}"; APT::Architectures {{ "{arch}"; }};'
            'APT::Update::Error-Mode "any"; Acquire::Languages "none"; APT::Sandbox::User "root";'
        )
        suffix = "list" if source.startswith("deb ") else "sources"
        (self.root / f"etc/apt/sources.list.d/pigsty.{suffix}").write_text(source)

    def apt(self, *argv):
        env = {**os.environ, "APT_CONFIG": str(self.root / "apt.conf"), "LC_ALL": "C"}
        return subprocess.run(["apt-get", *argv], env=env, capture_output=True, text=True)

    def install(self, *packages):
        done = self.apt("update", "-q")
        if done.returncode == 0:
            done = self.apt("install", "-y", "--download-only", *packages)
        return done.returncode, done.stdout + done.stderr

    def got(self):
        return sorted(p.name for p in (self.root / "var/cache/apt/archives").glob("*.deb"))
