"""Keys of upstreams, as files that apt and dnf read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from salt.exceptions import CommandExecutionError

from infra_formula import redaction
from infra_formula.errors import CommandFailed
from infra_formula.fileset import root_only
from infra_formula.minion import Minion
from infra_formula.repository import connections, dnf, signing


def with_key_files(
    minion: Minion,
    root: Path,
    upstream: dict[str, Any],
    target: dict[str, Any],
    proxy_env: dict[str, str],
    force: bool,
) -> dict[str, Any]:
    """An upstream with its keys in files."""
    where = f"{target['id']}: upstream {upstream['name']}"
    files = []
    if upstream["signed_by"] and not Path(upstream["signed_by"]).is_file():
        raise CommandFailed(f"{where}: there is no file {upstream['signed_by']}")
    is_usable = not upstream["signed_by"] or signing.is_readable_by_apt(upstream["signed_by"])
    if upstream["signed_by"] and not upstream["fingerprint"] and is_usable:
        refuse_untrusted(f"{where}: signed_by", upstream["signed_by"])
        files.append(upstream["signed_by"])
    elif upstream["signed_by"]:
        # apt gets a copy that holds the expected keys alone.
        files.append(_key_file(minion, root, where, "signed_by", upstream["signed_by"], upstream,
                               proxy_env, force))  # fmt: skip
    for source in upstream["gpgkey"]:
        source = source.replace("$releasever", target["releasever"])
        source = source.replace("$basearch", target["arch"])
        files.append(_key_file(minion, root, where, "gpgkey", source, upstream, proxy_env, force))
    result = {**upstream, "keys": files}
    if target["family"] == "deb" and not upstream["trusted"]:
        # apt takes one file; keys after one another in it are one keyring.
        result["keyring"] = signing.for_apt(files[0])
        if len(files) > 1:
            raw = [Path(file).read_bytes() for file in files]
            dearmour = signing.dearmor
            joined = root / "keys" / f"{upstream['name']}.all.gpg"
            joined.write_bytes(
                b"".join(dearmour(d) if d.lstrip().startswith(b"-----") else d for d in raw)
            )
            result["keyring"] = str(joined)
    return result


def _key_file(
    minion: Minion,
    root: Path,
    where: str,
    parameter: str,
    source: str,
    upstream: dict[str, Any],
    proxy_env: dict[str, str],
    force: bool,
) -> str:
    """A key as a file: the one of an earlier run, if that has the expected fingerprints."""
    tag = hashlib.sha256(source.encode()).hexdigest()[:16]
    file = next(iter(root.glob(f"keys/{tag}.*")), None)
    expected = upstream["fingerprint"]
    try:
        fresh = force or not source.startswith("http")
        if file is None or fresh or not signing.is_expected(str(file), expected):
            if source.startswith(("/", "file:")):
                refuse_untrusted("expected a file of root's", source)
            data = key_data(minion, source, proxy_env, tls_of_key(source, upstream))
            file = Path(signing.keyring(data, str(root / "keys" / tag), expected)[0])
    except (CommandExecutionError, OSError) as exc:
        raise CommandFailed(f"{where}: {parameter} {redaction.scrub(source)[:80]}: {exc}") from exc
    return str(file)


def refuse_untrusted(where: str, source: str) -> None:
    """A file that nothing verifies is one that only root can write."""
    path = unquote(urlsplit(source).path) if source.startswith("file:") else source
    fault = root_only.fault(path)
    if fault:
        raise CommandFailed(f"{where}: {fault}")


def tls_of_key(url: str, upstream: dict[str, Any]) -> connections.Tls | None:
    """How the server of an upstream's key is verified: as the upstream, if it is the same host.

    None for another host, for which an own CA does not hold.
    """
    if not url.startswith("http"):
        return None
    bases = upstream.get("baseurls") or [upstream.get("url", "")]
    hosts = {urlsplit(base).hostname for base in bases}
    return dnf.tls_of(upstream) if urlsplit(url).hostname in hosts else None


def key_data(
    minion: Minion, source: str, proxy_env: dict[str, str], tls: connections.Tls | None
) -> bytes:
    """A key as its source has it: the text itself, a path, ``salt://…`` or a URL."""
    if "-----BEGIN PGP" in source:
        return source.encode()
    if source.startswith("/"):
        return Path(source).read_bytes()
    if source.startswith("salt:"):
        cached = minion.call("cp.cache_file", source)
        if not cached:
            raise CommandFailed("the master has no such file")
        return Path(cached).read_bytes()
    return connections.read(source, proxy_env, tls=tls)
