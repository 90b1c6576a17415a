"""Ask dnf what a yum repository has to hold.

dnf is a Python library, installed for the distribution's Python and not for Salt's. So
``dnf_solver.py`` runs as a program of its own in that Python.

Cache, keys and state lie in a folder of their own; the machine's own repositories are not read.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula import process
from infra_formula.errors import CommandFailed
from infra_formula.repository import connections, logins


def interpreter(dnf: str = "") -> str:
    """The Python that has the dnf library: the one that the program dnf names in its first line.

    dnf
        Path of the program; found along PATH where empty.

    Raises CommandExecutionError where there is no dnf.
    """

    program = dnf or shutil.which("dnf-3") or shutil.which("dnf") or ""
    if not program:
        raise CommandFailed(
            "dnf is not here; a yum repository can only be built where dnf (version 4) is installed"
        )
    with Path(program).open("rb") as stream:
        first = stream.readline(256)
    match = re.match(rb"#!\s*(/\S*python\S*)", first)
    if not match:
        raise CommandFailed(f"{program}: expected a Python program (dnf version 4)")
    return match.group(1).decode()


def resolve(
    root: str,
    upstreams: list[dict[str, Any]],
    arch: str,
    releasever: str,
    names: list[str],
    proxies: dict[str, str] | None = None,
    timeout: int = 600,
    proxy_env: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The packages wanted, and all that they need, as dnf's solver finds them.

    upstreams
        ``name``, ``baseurls``, ``logins``, ``keys`` (files), ``trusted``, ``meta`` (dnf's own
        options).
    releasever
        Value of ``$releasever``.
    names
        Packages, patterns, provides, groups (``@core``).
    proxies
        Upstream's name → proxy URL.
    proxy_env
        See ``connections.proxy_for``; for the reason of an error.

    The other arguments and the result are those of ``apt.resolve``.
    """

    base = Path(root).resolve()
    for part in ("cache", "persist", "log", "empty", "no-repos", "no-vars"):
        (base / part).mkdir(parents=True, exist_ok=True)
    request = {
        "root": str(base),
        "arch": arch,
        "releasever": releasever,
        # dnf has no name=version, but the requirement of that.
        "names": [name.replace("=", " = ") for name in names],
        "repos": [
            {
                "id": upstream["name"],
                "baseurl": upstream["baseurls"],
                "gpgkey": [Path(key).as_uri() for key in upstream["keys"]],
                "options": options(upstream),
                "login": logins.dnf_options(upstream),
                "proxy": (proxies or {}).get(upstream["name"], ""),
            }
            for upstream in upstreams
        ],
    }
    answer = process.run(
        [interpreter(), "-I", str(Path(__file__).with_name("dnf_solver.py"))],
        stdin=json.dumps(request),
        env={"LC_ALL": "C.UTF-8", "http_proxy": "", "https_proxy": "", "HOME": str(base)},
        timeout=timeout,
    )
    for ring in base.glob("cache/*/pubring"):
        # dnf reads keys with gpg, whose agent would stay for ever.
        process.run(
            ["gpgconf", "--homedir", str(ring), "--kill", "gpg-agent"],
        )
    try:
        result: dict[str, Any] = json.loads(answer["stdout"].strip().splitlines()[-1])
    except (ValueError, IndexError) as exc:
        raise CommandFailed(
            f"dnf failed:\n{answer['stderr'] or answer['stdout'] or 'without a word'}"
        ) from exc
    if result.get("error"):
        faults = [_fault(upstream, releasever, arch, proxy_env or {}) for upstream in upstreams]
        reasons = [fault for fault in faults if fault]
        raise CommandFailed(
            "dnf cannot use the upstreams:\n" + "\n".join([*reasons, str(result["error"])])
        )
    result["missing"] = [name.replace(" = ", "=") for name in result["missing"]]
    result["broken"] = {k.replace(" = ", "="): why for k, why in result["broken"].items()}
    return result


def _fault(upstream: dict[str, Any], releasever: str, arch: str, proxy_env: dict[str, str]) -> str:
    """Why an upstream's index cannot be read, with its address: dnf says neither."""
    faults = []
    for base in upstream["baseurls"]:
        url = base.replace("$releasever", releasever).replace("$basearch", arch)
        url = f"{url.replace('$arch', arch).rstrip('/')}/repodata/repomd.xml"
        login = logins.of_url(url, [upstream]) or logins.of_url(base, [upstream])
        try:
            connections.read(url, proxy_env, 2**24, login, tls_of(upstream), attempts=1)
            return ""
        except CommandExecutionError as exc:
            faults.append(f"{upstream['name']}: {exc}")
    return "\n".join(faults)


def tls_of(upstream: dict[str, Any]) -> connections.Tls:
    """How the certificate of an upstream's server is verified, for its index and its packages.

    An upstream of apt has no ``meta``.
    """
    meta = upstream.get("meta", {})
    return connections.Tls(
        ca=str(meta.get("sslcacert") or upstream.get("ca") or ""),
        verify=is_set(meta, "sslverify", True),
        certificate=str(meta.get("sslclientcert") or ""),
        key=str(meta.get("sslclientkey") or ""),
        one_host="meta" not in upstream,
    )


def options(upstream: dict[str, Any]) -> dict[str, Any]:
    """dnf's options for an upstream: its own ``meta``, and verification unless it is trusted."""
    known = {
        *("priority", "cost", "module_hotfixes", "excludepkgs", "exclude", "includepkgs"),
        *("sslverify", "sslcacert", "sslclientcert", "sslclientkey"),
    }
    meta = {("excludepkgs" if k == "exclude" else k): v for k, v in upstream["meta"].items()
            if k in known}  # fmt: skip
    signed = is_set(upstream["meta"], "repo_gpgcheck", True)
    return {**meta, "repo_gpgcheck": signed and not upstream["trusted"]}


def is_set(meta: dict[str, Any], name: str, default: bool) -> bool:
    """Whether an option is true, in all the ways that dnf reads."""
    value = str(meta.get(name, default)).strip().lower()
    return value not in ("0", "false", "no", "off", "never")
