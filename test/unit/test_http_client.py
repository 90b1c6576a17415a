"""Requests to the portal on this machine."""

import http.server
import ssl
import subprocess
import threading

import pytest
from closing import stop
from infra_formula.portal import http_client


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.headers['Host']} {self.path}".encode())

    def log_message(self, *_args):
        pass


@pytest.fixture
def tls_port(tmp_path):
    """Port of a server whose certificate nobody trusts."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-nodes", "-subj", "/CN=x", "-keyout", tmp_path / "key", "-out", tmp_path / "crt"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        stop(server)
        thread.join()


def test_a_probe_over_tls_does_not_load_the_authorities_of_the_system(tls_port, monkeypatch):
    def load(*_args, **_kwargs):
        raise AssertionError("loaded for nothing: no certificate is verified")

    for name in ("load_default_certs", "set_default_verify_paths", "load_verify_locations"):
        monkeypatch.setattr(ssl.SSLContext, name, load)
    code, _headers, body = http_client.get(tls_port, "/a", "wiki.pigsty", tls=True)
    assert (code, body) == (200, "wiki.pigsty /a")
