"""Recipes of docs/portal.md with the applications themselves, from PyPI and Debian, behind nginx.

The pillars are parsed out of the page; only ports are replaced. Each application is installed into
an environment of its own in the cache.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "support"))

from nginx_server import PASSWORD, Server  # noqa: E402

pytestmark = pytest.mark.soak
CACHE = Path(os.environ.get("INFRA_CACHE") or Path.home() / ".cache/infra-formula") / "applications"
LOGIN = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()


def recipe(name: str, port: int, **more: Any) -> dict[str, Any]:
    """An entry of the page, with the port on which the application runs here."""
    page = (ROOT / "docs/portal.md").read_text(encoding="utf-8")
    section = page.split("## Settings of well-known applications")[1].split("\n## ")[0]
    entry = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])[name]
    return {**entry, "endpoint": f"127.0.0.1:{port}", **more}


def environment(name: str, *packages: str) -> Path:
    """A Python environment with packages of PyPI; made at the first use."""
    folder = CACHE / f"{name}-venv"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "-q", *packages], check=True)
        (folder / "complete").touch()
    return folder / "bin"


@contextmanager
def running(
    words: list[Any], port: int, folder: Path, path: str = "/", **more: str
) -> Iterator[None]:
    """An application that answers on a port; the end of its log where it does not."""
    log = (folder / "application.log").open("wb")
    process = subprocess.Popen(
        words, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder), **more},
    )  # fmt: skip
    try:
        eventually(lambda: process.poll() is not None or answers(port, path))
        assert process.poll() is None, (folder / "application.log").read_text()[-2000:]
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def answers(port: int, path: str) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):
        return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextmanager
def portal(
    folder: Path, certificates: dict[str, dict[str, str]] | None = None, **entries: dict[str, Any]
) -> Iterator[Server]:
    root = folder / "nginx"
    root.mkdir()
    server = Server(root, {"home": {"domain": "i.pigsty"}, **entries}, certificates=certificates)
    try:
        yield server
    finally:
        server.close()


KERNEL = """
import json, ssl, sys, uuid
import websocket
url, host, origin, login = sys.argv[1:]
talk = websocket.create_connection(
    url, host=host, origin=origin, header=[f"Authorization: {login}"], timeout=120,
    sslopt={"cert_reqs": ssl.CERT_NONE, "check_hostname": False})
message = {"header": {"msg_id": uuid.uuid4().hex, "username": "", "session": uuid.uuid4().hex,
           "msg_type": "execute_request", "version": "5.3"}, "parent_header": {}, "metadata": {},
           "content": {"code": "print(6 * 7)", "silent": False}, "channel": "shell"}
talk.send(json.dumps(message))
while True:
    said = json.loads(talk.recv())
    if said["msg_type"] == "stream":
        print(said["content"]["text"])
        break
"""


def test_jupyter_runs_code_over_the_websocket_behind_a_login(tmp_path: Path) -> None:
    bin_folder = environment("jupyter", "jupyter-server", "ipykernel", "websocket-client")
    port = free_port()
    words = [bin_folder / "jupyter-server", "--no-browser", "--allow-root", f"--port={port}",
             "--IdentityProvider.token=t0ken", "--ServerApp.ip=127.0.0.1",
             "--ServerApp.allow_remote_access=True"]  # fmt: skip
    with (
        running(words, port, tmp_path, "/api"),
        portal(tmp_path, jupyter=recipe("jupyter", port, auth=True)) as server,
    ):
        name = f"jupyter.pigsty:{server.tls_port}"
        assert server.get("jupyter.pigsty", "/api?token=t0ken", Host=name)[0] == 401
        status, _headers, body = server.get(
            "jupyter.pigsty", "/api/kernels?token=t0ken", method="POST", Host=name,
            Authorization=LOGIN, Content_Length="0",
        )  # fmt: skip
        assert status == 201, body
        kernel = yaml.safe_load(body)["id"]
        url = f"wss://127.0.0.1:{server.tls_port}/api/kernels/{kernel}/channels?token=t0ken"
        said = subprocess.run(
            [bin_folder / "python", "-c", KERNEL, url, name, f"https://{name}", LOGIN],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert said.stdout.strip() == "42", said.stderr


REGISTRY = """version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}", secret: nothing}}
"""


def registry() -> Path:
    """Debian's docker-registry, unpacked."""
    program = CACHE / "registry/usr/bin/docker-registry"
    if not program.exists():
        folder = CACHE / "registry-package"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "docker-registry"], cwd=folder, check=True)
        (package,) = folder.glob("docker-registry_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, CACHE / "registry"], check=True)
    return program


def test_a_registry_takes_a_layer_of_600_mb(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.yml"
    config.write_text(REGISTRY.format(root=tmp_path / "store", port=port))
    size, piece = 600 * 1024 * 1024, b"\0" * (1024 * 1024)
    digest = hashlib.sha256()
    for _ in range(size // len(piece)):
        digest.update(piece)
    name = f"sha256:{digest.hexdigest()}"
    with (
        running([registry(), "serve", config], port, tmp_path, "/v2/"),
        portal(tmp_path, registry=recipe("registry", port)) as server,
    ):
        host = f"hub.pigsty:{server.tls_port}"
        status, headers, _body = server.get(
            "hub.pigsty", "/v2/app/blobs/uploads/", method="POST", Host=host, Content_Length="0"
        )
        assert status == 202
        # It makes its links of what the portal tells it.
        assert headers["location"].startswith(f"https://{host}/v2/app/blobs/uploads/")
        where = urlsplit(headers["location"])
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.tls_port, timeout=600, context=context
        )
        connection.request(
            "PUT", f"{where.path}?{where.query}&digest={name}",
            body=(piece for _ in range(size // len(piece))),
            headers={"Host": host, "Content-Length": str(size),
                     "Content-Type": "application/octet-stream"},
        )  # fmt: skip
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        connection.close()
        status, headers, _body = server.get(
            "hub.pigsty", f"/v2/app/blobs/{name}", method="HEAD", Host=host
        )
        assert (status, headers["content-length"]) == (200, str(size))


EVENTS = """
import time
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    def events():
        for number in range(3):
            yield f"data: {number} {time.time()}\\n\\n".encode()
            time.sleep(1)
    return events()
"""


def test_events_of_gunicorn_come_as_they_are_sent(tmp_path: Path) -> None:
    bin_folder = environment("gunicorn", "gunicorn")
    (tmp_path / "chat.py").write_text(EVENTS)
    port = free_port()
    words = [bin_folder / "gunicorn", "--workers=2", f"--bind=127.0.0.1:{port}", "chat"]
    with (
        running(words, port, tmp_path),
        portal(tmp_path, events=recipe("events", port)) as server,
    ):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.tls_port, timeout=60, context=context
        )
        connection.request("GET", "/", headers={"Host": f"llm.pigsty:{server.tls_port}"})
        answer = connection.getresponse()
        times = []
        while line := answer.readline():
            if line.startswith(b"data:"):
                times.append((float(line.split()[2]), time.time()))
        connection.close()
        assert len(times) == 3
        # The first was here before the last was sent.
        assert times[0][1] < times[2][0]


GRPC_SERVER = """
import sys
from concurrent import futures
import grpc
def each(request, context):
    for number in range(3):
        yield request + str(number).encode()
handler = grpc.method_handlers_generic_handler("test.Test", {
    "Each": grpc.unary_stream_rpc_method_handler(each)})
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((handler,))
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
"""
GRPC_CLIENT = """
import sys
import grpc
port, certificate, name = sys.argv[1:]
secret = grpc.ssl_channel_credentials(open(certificate, "rb").read())
options = [("grpc.ssl_target_name_override", name)]
with grpc.secure_channel(f"127.0.0.1:{port}", secret, options) as channel:
    print([m.decode() for m in channel.unary_stream("/test.Test/Each")(b"n", timeout=60)])
"""


def test_grpc_streams_through_the_portal(tmp_path: Path) -> None:
    bin_folder = environment("grpc", "grpcio")
    port = free_port()
    words = [bin_folder / "python", "-c", GRPC_SERVER, str(port)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        certificate, key = tmp_path / "rpc.crt", tmp_path / "rpc.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", "/CN=rpc.pigsty", "-addext", "subjectAltName=DNS:rpc.pigsty",
             "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        pair = {"rpc": {"crt": certificate.read_text(), "key": key.read_text()}}
        with portal(tmp_path, pair, rpc=recipe("rpc", port, cert="rpc")) as server:
            said = ""
            for _ in range(60):
                done = subprocess.run(
                    [bin_folder / "python", "-c", GRPC_CLIENT, str(server.tls_port), certificate,
                     "rpc.pigsty"],
                    capture_output=True, text=True, timeout=120, check=False,
                )  # fmt: skip
                said = done.stdout.strip()
                if said or "UNAVAILABLE" not in done.stderr:
                    break
                time.sleep(1)
            assert said == "['n0', 'n1', 'n2']", done.stderr[-1500:]
    finally:
        process.kill()
        process.wait()


PGADMIN = """
import os
SERVER_MODE = True
DATA_DIR = os.environ["PGADMIN_DATA"]
LOG_FILE = os.path.join(DATA_DIR, "log")
SQLITE_PATH = os.path.join(DATA_DIR, "pgadmin4.db")
SESSION_DB_PATH = os.path.join(DATA_DIR, "sessions")
STORAGE_DIR = os.path.join(DATA_DIR, "storage")
AZURE_CREDENTIAL_CACHE_DIR = os.path.join(DATA_DIR, "azure")
KERBEROS_CCACHE_DIR = os.path.join(DATA_DIR, "krb")
DEFAULT_SERVER_PORT = int(os.environ["PGADMIN_PORT"])
UPGRADE_CHECK_ENABLED = False
MASTER_PASSWORD_REQUIRED = False
"""


def test_pgadmin_makes_its_links_below_its_script_name(tmp_path: Path) -> None:
    bin_folder = environment("pgadmin", "pgadmin4")
    (package,) = bin_folder.parent.glob("lib/python*/site-packages/pgadmin4")
    (package / "config_local.py").write_text(PGADMIN)
    port = free_port()
    given = {
        "PGADMIN_DATA": str(tmp_path / "data"), "PGADMIN_PORT": str(port),
        "PGADMIN_SETUP_EMAIL": "ann@example.com", "PGADMIN_SETUP_PASSWORD": "s3cret-word",
    }  # fmt: skip
    (tmp_path / "data").mkdir()
    with (
        running([bin_folder / "pgadmin4"], port, tmp_path, "/misc/ping", **given),
        portal(tmp_path, pgadmin=recipe("pgadmin", port)) as server,
    ):
        host = f"db.pigsty:{server.tls_port}"
        status, headers, _body = server.get("db.pigsty", "/pgadmin4/", Host=host)
        assert status == 302
        assert "/pgadmin4/login" in headers["location"]
        status, _headers, body = server.get("db.pigsty", "/pgadmin4/login?next=/", Host=host)
        assert status == 200
        assert "/pgadmin4/static/" in body or "/pgadmin4/authenticate" in body
