"""What a repository is to be built from: targets, upstreams, package names, checked and expanded.

Everything here is a pure function of its arguments. A *request* is what the SLS hands over, in
Pigsty's words; a *plan* is the same thing with nothing left to look up: for each target the
upstreams that fit it, with their addresses, and the names of the packages wanted.

A *target* is an operating system and an architecture, written as in the names of Pigsty's offline
packages: ``d12.x86_64``, ``el9.aarch64``.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from infra_formula.errors import InvalidInput
from infra_formula.parameters import schema
from infra_formula.repository import logins, request_rules, systems

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PACKAGE = re.compile(
    r"[A-Za-z0-9*?][A-Za-z0-9+._:~*?-]*(=[A-Za-z0-9+._:~^-]+|/[a-z][a-z0-9.-]*)?|@[A-Za-z0-9._-]+"
)
"""A name or pattern, with ``=version``, or ``/suite`` of apt, or a ``@group`` of yum."""

_ADDRESS = re.compile(r"[A-Za-z0-9:/._~%@+,=&?$#!*()\[\] -]*")
_CHECKSUMS = {"md5": 32, "sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}


def words(value: str | list[str] | None) -> list[str]:
    """A list from Pigsty's ways of writing one: commas, blanks, or a list of such strings."""
    result: list[str] = []
    for item in [value] if isinstance(value, str) else value or []:
        result += [word for word in re.split(r"[\s,]+", item) if word]
    return list(dict.fromkeys(result))


def expand(
    names: list[str], aliases: dict[str, Any], code: str, variables: dict[str, Any]
) -> list[str]:
    """Replace aliases by the packages they stand for.

    names
        Package names and aliases.
    aliases
        Alias → value: a list or string of names (which may be aliases in turn), or a mapping whose
        keys are ``default``, a family (``deb``, ``rpm``), a distribution (``debian``, ``ubuntu``,
        ``el``) or a system (``d12``); the most particular key wins.
    code
        System, e.g. ``d12``.
    variables
        What ``${name}`` in a package name stands for; ``$v`` is ``pg_version``.

    Returns the names, without repetition, in order. A name that is no alias stays as it is.
    """
    info = systems.OSES[code]
    packages: dict[str, None] = {}

    def add(name: str, seen: tuple[str, ...]) -> None:
        value = aliases.get(name)
        if name in seen or value is None:
            packages.setdefault(
                substitute(name, {**variables, "v": variables.get("pg_version", "")})
            )
            return
        if isinstance(value, dict):
            keys = (code, info["distro"], info["family"], "default")
            value = next((value[key] for key in keys if key in value), [])
        for word in words(value):
            add(word, (*seen, name))

    for name in names:
        add(name, ())
    return list(packages)


def substitute(text: str, variables: dict[str, Any]) -> str:
    """Replace ``${name}``, and ``$v``, by what they stand for; unknown ones stay."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        return str(variables[name]) if variables.get(name) not in (None, "") else match.group(0)

    return re.sub(r"\$\{(\w+)\}|\$(v)(?![A-Za-z0-9_])", value, text)


def plan(request: dict[str, Any]) -> dict[str, Any]:
    """Check a request and expand it; see docs/repository.md.

    Returns ``name``, ``home``, ``keep``, ``fingerprint`` (of everything that decides what is in
    the repository) and ``targets``, each with ``id``, ``family``, ``codename``, ``releasever``,
    ``arch``, ``upstreams``, ``names`` and ``urls``.

    Raises InvalidInput with every fault, not the first only.
    """
    errors = []
    for key, rule in request_rules.REQUEST_RULES.items():
        if request.get(key) is not None:
            errors += schema.check(f"repo_{key}", request[key], rule)
    for key in ("name", "home", "targets", "modules", "upstream"):
        if not request.get(key):
            errors.append(f"repo_{key}: missing")
    if errors:
        raise InvalidInput("\n".join(errors))
    if not _NAME.fullmatch(request["name"]):
        errors.append(f"repo_name: expected letters, digits, '.', '_', '-', got {request['name']}")
    modules = _modules(request, errors)
    entries = _entries(request, modules, errors)
    targets = [
        _target(text, request, entries, errors) for text in dict.fromkeys(request["targets"])
    ]
    if errors:
        raise InvalidInput("\n".join(dict.fromkeys(errors)))
    result = {
        "name": request["name"],
        "home": request["home"].rstrip("/") or "/",
        "keep": request.get("keep") or 1,
        "targets": targets,
    }
    decisive = [
        {**target, "upstreams": [_decisive(upstream) for upstream in target["upstreams"]]}
        for target in targets
    ]
    decisive = logins.without(decisive)
    text = json.dumps([result["keep"], request.get("key_file") or "", decisive], sort_keys=True)
    return {**result, "fingerprint": hashlib.sha256(text.encode()).hexdigest()}


def _decisive(upstream: dict[str, Any]) -> dict[str, Any]:
    """What of an upstream decides what is in the repository.

    A fingerprint that the catalogue added later does not: a repository that was built before is
    not built again because of it.
    """
    decisive = {key: value for key, value in upstream.items() if key != "pinned_later"}
    return {**decisive, "fingerprint": []} if upstream["pinned_later"] else decisive


def problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with ``repo_targets``, ``repo_upstream``, ``repo_url_packages`` by themselves.

    parameters
        The dictionary below ``infra:``.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    upstream = parameters.get("repo_upstream")
    if upstream is not None:
        errors += schema.check("repo_upstream", upstream, request_rules.REQUEST_RULES["upstream"])
    targets = parameters.get("repo_targets")
    for target in targets if isinstance(targets, list) else []:
        # The schema reports what is no text.
        errors += target_problems(target) if isinstance(target, str) else []
    packages = parameters.get("repo_url_packages")
    for index, item in enumerate(packages if isinstance(packages, list) else []):
        errors += _checksum_problems(f"repo_url_packages[{index}]", item)
    return errors


def _checksum_problems(where: str, item: Any) -> list[str]:
    """Whether anybody on the network could replace a package."""
    entry = {"url": item} if isinstance(item, str) else item
    url = entry.get("url") if isinstance(entry, dict) else None
    if isinstance(url, str) and _scheme(url) == "http" and not entry.get("checksum"):
        return [
            f"{where}: expected a checksum (sha256:<64 hexadecimal digits>), because anybody can"
            " change what comes over http; or use an https address"
        ]
    return []


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _modules(request: dict[str, Any], errors: list[str]) -> list[str]:
    known = {entry["module"] for entry in request["upstream"]}
    modules = words(request["modules"])
    for module in modules:
        if module not in known:
            errors.append(
                f"repo_modules: no upstream has the module {module!r}"
                f"{schema.nearest(module, known)}"
                f" (there are: {', '.join(sorted(known))})"
            )
    return modules


def _entries(
    request: dict[str, Any], modules: list[str], errors: list[str]
) -> list[tuple[str, dict[str, Any]]]:
    entries = []
    for index, entry in enumerate(request["upstream"]):
        # The module `local` is this very repository, as its clients see it.
        if entry["module"] not in modules or entry["module"] == "local":
            continue
        where = f"repo_upstream[{index}] ({entry['name']})"
        if not _NAME.fullmatch(entry["name"]):
            errors.append(f"{where}.name: expected letters, digits, '.', '_' and '-'")
        entries.append((where, entry))
    return entries


def target_problems(text: str) -> list[str]:
    """What is wrong with one item of ``repo_targets``."""
    code, _, arch = text.partition(".")
    if code not in systems.OSES:
        return [
            f"repo_targets: unknown system {code!r} in {text!r}{schema.nearest(code, systems.OSES)}"
            f" (there are: {', '.join(systems.OSES)})"
        ]
    if arch not in systems.ARCHES:
        return [
            f"repo_targets: unknown architecture {arch!r} in {text!r}"
            f"{schema.nearest(arch, systems.ARCHES)}"
            f" (there are: {', '.join(systems.ARCHES)})"
        ]
    return []


def _target(
    text: str,
    request: dict[str, Any],
    entries: list[tuple[str, dict[str, Any]]],
    errors: list[str],
) -> dict[str, Any]:
    faults = target_problems(text)
    if faults:
        errors += faults
        return {}
    code, _, arch = text.partition(".")
    info = systems.OSES[code]
    major = int(re.sub(r"\D", "", code))
    variables = {
        **(request.get("variables") or {}),
        "distro_codename": info["codename"],
        "distro_name": info["distro"],
        "releasever": info["releasever"],
        "arch": arch,
        "os": code,
    }
    region = request.get("region") or "default"
    upstreams = []
    named: dict[str, str] = {}
    for where, entry in entries:
        if major in entry["releases"] and arch in entry["arch"]:
            if info["family"] == "rpm" and entry["name"] in named:
                errors.append(
                    f"{where}.name: {named[entry['name']]} has this name as well, and both are for"
                    f" {text}; expected another name"
                )
                continue
            named[entry["name"]] = where
            errors += _trust_problems(where, entry)
            upstreams.append(_upstream(where, entry, info, arch, region, variables, errors))
    if not upstreams and not request.get("url_packages"):
        errors.append(
            f"repo_upstream: no upstream of the modules {', '.join(words(request['modules']))}"
            f" fits {text}"
        )
    names = words(request.get("packages")) + words(request.get("extra_packages"))
    wanted = expand(names, request.get("aliases") or {}, code, variables)
    for name in wanted:
        if not _PACKAGE.fullmatch(name):
            errors.append(f"repo_packages: {name!r} cannot be the name of a package")
        elif name[0] == "@" and info["family"] == "deb":
            errors.append(f"repo_packages: {name!r} is a group of yum, which {text} does not have")
        elif "/" in name and info["family"] == "rpm":
            errors.append(f"repo_packages: {name!r} has a suite of apt, which {text} does not have")
    return {
        "id": text,
        "family": info["family"],
        "codename": info["codename"],
        "releasever": info["releasever"],
        "arch": arch,
        "upstreams": upstreams,
        "names": wanted,
        "urls": _urls(request.get("url_packages") or [], info["family"], region, variables, errors),
    }


def _trust_problems(where: str, entry: dict[str, Any]) -> list[str]:
    keys = [key for key in ("gpgkey", "signed_by") if entry.get(key)]
    if not keys and not entry.get("trusted"):
        return [
            f"{where}: gives neither gpgkey nor signed_by; nothing it sends can be verified."
            " Say trusted: true to use it all the same"
        ]
    sources = entry.get("gpgkey") or []
    for source in [sources] if isinstance(sources, str) else sources:
        if _scheme(source) == "http" and not entry.get("fingerprint"):
            return [f"{where}.gpgkey: anybody can change what comes over http;"
                    " give its fingerprint too, or an https address"]  # fmt: skip
    if keys and entry.get("trusted"):
        return [f"{where}: has both {keys[0]} and trusted: true; which one is meant?"]
    return []


def _upstream(
    where: str,
    entry: dict[str, Any],
    info: dict[str, Any],
    arch: str,
    region: str,
    variables: dict[str, Any],
    errors: list[str],
) -> dict[str, Any]:
    address = entry["baseurl"]
    if isinstance(address, dict):
        address = address.get(region) or address.get("default")
    if not address:
        errors.append(f"{where}.baseurl: has no address for region {region!r}, and no default")
        address = ""
    address = substitute(address, variables)
    gpgkey = entry.get("gpgkey") or []
    fingerprint = entry.get("fingerprint") or []
    fingerprint = [fingerprint] if isinstance(fingerprint, str) else fingerprint
    common = {
        "name": entry["name"],
        "gpgkey": [
            substitute(key, variables) for key in ([gpgkey] if isinstance(gpgkey, str) else gpgkey)
        ],
        "signed_by": entry.get("signed_by") or "",
        "fingerprint": list(
            dict.fromkeys(one for text in fingerprint for one in schema.fingerprints(text))
        ),
        "pinned_later": bool(entry.get("fingerprint_since")),
        "trusted": bool(entry.get("trusted")),
    }
    # Only if they are there: what decides about a repository that is published stays the same.
    for key in ("ca", "check_valid_until", "priority"):
        if entry.get(key) is not None:
            common[key] = entry[key]
    parts = address.split()
    bare, login = logins.separate(parts if info["family"] == "rpm" else parts[:1])
    parts = bare if info["family"] == "rpm" else [*bare, *parts[1:]]
    fault = logins.problem(bare, login, info["family"])
    if fault:
        errors.append(f"{where}.baseurl: {fault}")
    if login:
        common["logins"] = login
    for url in parts if info["family"] == "rpm" else parts[:1]:
        if urlsplit(url).scheme not in ("http", "https", "file"):
            errors.append(f"{where}.baseurl: expected an http, https or file URL, got {url!r}")
    if not _ADDRESS.fullmatch(" ".join(parts)):
        # It goes into configuration files of apt and dnf.
        errors.append(f"{where}.baseurl: {' '.join(parts)!r} has characters that no address has")
    if info["family"] == "rpm":
        if entry.get("minor"):
            parts = [p.replace("$releasever", _minor_release(info, variables)) for p in parts]
        meta = entry.get("meta") or {}
        for key, option in (("ca", "sslcacert"), ("priority", "priority")):
            if key in common:
                meta = {**meta, option: common[key]}
        return {**common, "baseurls": parts, "meta": meta}
    flat = len(parts) == 2 and parts[1].endswith("/")
    if len(parts) < 3 and not flat:
        errors.append(f"{where}.baseurl: expected 'URL suite components', got {' '.join(parts)!r}")
    return {**common, "url": parts[0] if parts else "", "suite": "".join(parts[1:2]),
            "components": parts[2:]}  # fmt: skip


def _minor_release(info: dict[str, str], variables: dict[str, Any]) -> str:
    """Full version of a target: this machine's if that is of the same major one, else the major."""
    version = str(variables.get("minor_release") or "")
    return version if version.partition(".")[0] == info["releasever"] else info["releasever"]


def _urls(
    items: list[Any], family: str, region: str, variables: dict[str, Any], errors: list[str]
) -> list[dict[str, Any]]:
    urls = []
    for index, item in enumerate(items):
        entry = {"url": item} if isinstance(item, str) else item
        url = substitute(entry["url"], variables)
        if region == "china":
            url = url.replace("//repo.pigsty.io/", "//repo.pigsty.cc/")
        where = f"repo_url_packages[{index}]"
        (url,), login = logins.separate([url])
        errors += _checksum_problems(where, {**entry, "url": url})
        if urlsplit(url).scheme not in ("http", "https", "file"):
            errors.append(f"{where}: expected an http, https or file URL, got {url!r}")
        name = substitute(entry.get("name") or unquote(urlsplit(url).path).rpartition("/")[2],
                          variables)  # fmt: skip
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._~%-]*", name):
            errors.append(f"{where}: {name!r} cannot be the name of a file; give it a `name`")
        checksum = normal_checksum(entry.get("checksum") or "")
        if checksum is None:
            errors.append(f"{where}.checksum: expected e.g. sha256:<64 hexadecimal digits>")
        kind = name.rpartition(".")[2]
        if kind in ("deb", "rpm") and kind != family:
            continue
        package: dict[str, Any] = {"url": url, "name": name, "checksum": checksum or ""}
        urls.append({**package, "login": login[url]} if login else package)
    return urls


def normal_checksum(text: str) -> str | None:
    """A checksum as ``algorithm:digits`` in small letters.

    Returns an empty string for an empty one, None for what is no checksum. The algorithm may be
    left out: the number of digits determines it.
    """
    if not text:
        return ""
    match = re.fullmatch(r"(?:(\w+)[:=])?([0-9a-f]+)", text.strip().lower())
    if not match:
        return None
    kind, digits = match.groups()
    kind = kind or next((k for k, n in _CHECKSUMS.items() if n == len(digits)), "")
    return f"{kind}:{digits}" if _CHECKSUMS.get(kind) == len(digits) else None
