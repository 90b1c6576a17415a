"""Directories of the formula itself; read at call time, so that a test can move them."""

from __future__ import annotations

from pathlib import Path

STATE_DIR = Path("/var/lib/infra")
LOCK_DIR = Path("/run/infra-formula")
