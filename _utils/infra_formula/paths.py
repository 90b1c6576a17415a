"""Directories that several modules use; read at call time, so that a test can move them."""

from __future__ import annotations

from pathlib import Path

STATE_DIR = Path("/var/lib/infra")
LOCK_DIR = Path("/run/infra-formula")
CACHE_DIR = Path("/var/cache/infra")
NGINX = Path("/etc/nginx")
LETSENCRYPT = Path("/etc/letsencrypt")
PKI = Path("/etc/pki")


def ca_certificate() -> Path:
    """Certificate of the site's CA."""
    return PKI / "ca.crt"


def ca_key() -> Path:
    """Private key of the site's CA; on INFRA nodes alone."""
    return PKI / "ca" / "ca.key"
