"""A real nginx that serves a rendered portal on ports of its own, and a server behind it."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import closing
from infra_formula.portal import entries as portal_entries
from infra_formula.portal import named_certificates, rendering
from portal_samples import LOADER, facts, settings
from ports import free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
PASSWORD = "open sesame"  # noqa: S105


class Upstream:
    """Answers every request with 200 and its own path; keeps every byte that reaches it.

    ``status``, ``headers`` and ``body`` are what it answers instead, if they are set.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.seen: list[bytes] = []
        self.answer()
        self.socket = socket.create_server((address, port))
        self.port = self.socket.getsockname()[1]
        self.close = closing.Waiting(self.socket, self._serve).end

    def answer(self, *headers: str, status: str = "200 OK", body: str | None = None) -> None:
        """Set what is answered from now on: lines of the header, a status and a body."""
        self.status, self.headers, self.body = status, headers, body

    def _serve(self) -> None:
        while True:
            channel, _ = self.socket.accept()
            threading.Thread(target=self._talk, args=(channel,), daemon=True).start()

    def _talk(self, channel: socket.socket) -> None:
        index = len(self.seen)
        self.seen.append(b"")
        with channel:
            channel.settimeout(5)
            try:
                while b"\r\n\r\n" not in self.seen[index]:
                    got = channel.recv(65536)
                    if not got:
                        return
                    self.seen[index] += got
                body = b"upstream " + self.seen[index].split(b" ", 2)[1]
                if self.body is not None:
                    body = self.body.encode()
                framing = (f"Content-Length: {len(body)}", "Connection: close")
                head = "\r\n".join((f"HTTP/1.1 {self.status}", *self.headers, *framing))
                channel.sendall(head.encode() + b"\r\n\r\n" + body)
                while got := channel.recv(65536):  # a body, if it has one
                    self.seen[index] += got
            except OSError:
                return

    def header(self, name: str) -> str | None:
        """A header of the last request; None where it has none."""
        for line in self.seen[-1].split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


class Server:
    """nginx with a portal's configuration, below a folder.

    ``name_service`` is how it resolves names, by default as this machine does; ``certificates`` is
    ``nginx_certificates``, and ``changes`` are other settings.
    """

    def __init__(
        self,
        root: Path,
        entries: dict,
        name_service: dict | None = None,
        certificates: dict | None = None,
        broken_certificates: list | None = None,
        **changes,
    ) -> None:
        assert NGINX, "nginx is not installed; tools/prepare does that"
        self.port, self.tls_port = free_port(), free_port()
        self.root = root
        self.home = root / "www"
        self.home.mkdir(exist_ok=True)
        given = settings(
            nginx_port=self.port, nginx_ssl_port=self.tls_port, nginx_home=str(self.home),
            repo_home=str(self.home), nginx_user="root", nginx_group="root", nginx_ipv6=False,
            **{"nginx_certificates": named_certificates.digests(certificates or {}), **changes},
        )  # fmt: skip
        problems = portal_entries.problems(entries, given)
        assert problems == [], problems
        said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
        version = [int(n) for n in said.strip().rpartition("/")[2].split()[0].split(".")]
        known = facts(nginx_version=version, ipv6=False)
        known["broken_certificates"] = broken_certificates or []
        if name_service is not None:
            known["name_service"] = name_service
        files = rendering.files(entries, given, known, LOADER)
        self._write({**files, **named_certificates.files(certificates or {})})
        self.start()

    def start(self) -> None:
        """Start nginx with what is in its folder; raises RuntimeError with its errors."""
        root = self.root
        self.process = subprocess.Popen(
            [NGINX, "-p", root, "-c", root / "etc/nginx.conf", "-e", root / "log-error.log",
             "-g", "daemon off;"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._wait()

    def _write(self, files: dict) -> None:
        etc = self.root / "etc"
        for rel, spec in files.items():
            path = etc / rel
            path.parent.mkdir(parents=True, exist_ok=True)
            if "link" in spec:
                path.symlink_to(spec["link"])
                continue
            text = spec["text"].replace("/var/log/nginx", str(self.root / "log"))
            text = text.replace("/var/cache/infra-nginx", str(self.root / "cache"))
            # One worker: the lines of two requests are in the log in their order.
            text = text.replace("worker_processes auto;", "worker_processes 1;")
            path.write_text(text.replace("/run/nginx.pid", str(self.root / "pid")))
        for name in ("log", "cache"):
            (self.root / name).mkdir()
        (etc / "mime.types").write_text("types { text/html html; }")
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
        ).stdout.strip()
        (etc / ".htpasswd").write_text(f"ann:{hashed}\n")
        pair = [etc / "conf.d/cert/pigsty.key", etc / "conf.d/cert/pigsty.crt"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test",
             "-keyout", pair[0], "-out", pair[1]],
            check=True, capture_output=True,
        )  # fmt: skip

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                with self.process.stderr as errors:
                    raise RuntimeError(errors.read())
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("nginx did not come up")

    def get(
        self, name: str, path: str = "/", tls: bool = True, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Ask by name; returns status, headers (names in lower case) and body."""
        port = self.tls_port if tls else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            raw = socket.create_connection(("127.0.0.1", port), 20)
            connection.sock = context.wrap_socket(raw, server_hostname=name)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for key, value in {"Host": name, "Connection": "close", **headers}.items():
            connection.putheader(key.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        told = {key.lower(): value for key, value in answer.getheaders()}
        body = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer.status, told, body

    def certificate(self, name: str, context: ssl.SSLContext | None = None) -> str:
        """The certificate that a name shows, as PEM; a context verifies it."""
        if context is None:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", self.tls_port), 20)
        with context.wrap_socket(plain, server_hostname=name) as channel:
            return ssl.DER_cert_to_PEM_cert(channel.getpeercert(binary_form=True))

    def raw(self, data: bytes, seconds: float = 10.0) -> bytes:
        """Send bytes on plain HTTP; returns all that comes back until nginx closes."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as channel:
            channel.sendall(data)
            return drain(channel)

    def raw_tls(self, data: bytes, seconds: float = 10.0) -> bytes:
        """The same over TLS; the certificate is not looked at."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.tls_port), seconds) as plain,
            context.wrap_socket(plain) as channel,
        ):
            channel.sendall(data)
            return drain(channel)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.process.stderr.close()


def drain(channel: socket.socket) -> bytes:
    """What comes on a socket until the other side closes it or says nothing more."""
    said = b""
    try:
        while got := channel.recv(65536):
            said += got
    except OSError:
        pass
    return said
