"""Keys and signatures of a repository, by gpg with a home directory of its own.

The secret key never leaves that directory (mode 0700) and never stands on a command line.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula import process
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import root_only

_AGENT_TRIES = 3
_AGENT_GONE = re.compile(r"agent|Broken pipe|Connection reset|End of file")
"""What gpg says where its agent ended in the middle of a call."""

_KEY_TYPE = "rsa4096"
"""RSA: rpm before 4.16 (EL 8) and old gpgv know no other that is still held to be safe."""


def key(
    home: str, uid: str = "infra repository", secret_file: str = "", passphrase_file: str = ""
) -> dict[str, str]:
    """The signing key; made on first use.

    home
        gpg's home directory, made with mode 0700.
    uid
        Name of a key that has to be made.
    secret_file
        File with the user's own secret key (armoured or binary); used instead of one of our own.
    passphrase_file
        File with its passphrase, where it has one.

    Returns ``fingerprint``, ``uid``, ``created`` (seconds since the epoch), ``expires`` (the same;
    empty for never) and ``public`` (armoured).
    """
    for parameter, file in (
        ("repo_key_file", secret_file),
        ("repo_key_passphrase_file", passphrase_file),
    ):
        fault = root_only.fault(file) if file else ""
        if fault:
            raise InvalidInput(f"{parameter}: {fault}")
    folder = Path(home)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    if secret_file:
        wanted = parse_keys(_gpg(home, "--show-keys", secret_file)["stdout"])
        if not wanted or not wanted[0]["secret"]:
            raise InvalidInput(f"{secret_file}: holds no secret key")
        fingerprint = wanted[0]["fingerprint"]
        held = {entry["fingerprint"] for entry in _secret_keys(home)}
        if fingerprint not in held:
            _gpg(home, *_passphrase(passphrase_file), "--import", secret_file)
    else:
        if not _secret_keys(home):
            _make_key(folder, uid)
        fingerprint = _secret_keys(home)[0]["fingerprint"]
    if secret_file:
        _refuse_weak(home, fingerprint, secret_file)
    entry = next(e for e in _secret_keys(home) if e["fingerprint"] == fingerprint)
    public = _gpg(home, "--armor", "--export", fingerprint)["stdout"].strip() + "\n"
    _stop_agent(home)
    return {
        "fingerprint": fingerprint,
        "uid": entry["uid"],
        "created": entry["created"],
        "expires": entry["expires"],
        "public": public,
    }


def parse_keys(colons: str) -> list[dict[str, Any]]:
    """Primary keys in what ``gpg --with-colons`` says.

    Returns mappings with ``fingerprint``, ``uid``, ``created``, ``expires`` and ``secret``.
    """
    keys: list[dict[str, Any]] = []
    primary = False
    for line in colons.splitlines():
        # A line that is shorter than the format has it says nothing of what is missing.
        fields = [*line.split(":"), *([""] * 10)]
        if fields[0] in ("pub", "sec"):
            primary = True
            keys.append(
                {
                    "fingerprint": "",
                    "uid": "",
                    "created": fields[5],
                    "expires": fields[6],
                    "secret": fields[0] == "sec",
                }
            )
        elif fields[0] in ("sub", "ssb"):
            primary = False
        elif fields[0] == "fpr" and primary and not keys[-1]["fingerprint"]:
            keys[-1]["fingerprint"] = fields[9]
        elif fields[0] == "uid" and keys and not keys[-1]["uid"]:
            keys[-1]["uid"] = fields[9]
    return keys


def keyring(data: bytes, path: str, expected: list[str] | None = None) -> list[str]:
    """Write public keys where apt, rpm and gpgv can use them.

    data
        Keys, armoured or binary.
    path
        File to write, without suffix: ``.asc`` is added for armoured keys, ``.gpg`` for binary.
    expected
        Whole fingerprints. Only keys that have one of them are written; empty for any key.

    Returns the file's path and then the fingerprints of the keys in it.

    Raises CommandExecutionError where there is no key, or none of those expected.
    """
    data = normal(data)
    armoured = data.startswith(b"-----BEGIN PGP")
    file = Path(f"{path}{'.asc' if armoured else '.gpg'}")
    file.parent.mkdir(parents=True, exist_ok=True)
    wanted = {fingerprint.upper() for fingerprint in expected or []}
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_bytes(data)
    try:
        prints = fingerprints(str(temporary))
    except CommandExecutionError:
        prints = []
    if not prints:
        temporary.unlink()
        raise CommandFailed("there is no public key in it")
    trusted = [f for f in prints if not wanted or f in wanted]
    if not trusted:
        temporary.unlink()
        raise CommandFailed(
            f"it holds the key {', '.join(prints)}, but expected {', '.join(sorted(wanted))}"
        )
    if trusted != prints:
        try:
            temporary.write_bytes(_selected(temporary, trusted, armoured))
        except BaseException:
            temporary.unlink()
            raise
    temporary.chmod(0o644)
    temporary.replace(file)
    return [str(file), *trusted]


_BLOCK = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----.*?-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)


def normal(data: bytes) -> bytes:
    """Keys without what gpg passes over, and apt does not: text around them, blanks, CR."""
    if not _BLOCK.search(data):
        return data
    blocks = []
    for block in _BLOCK.findall(data):
        lines = [line.strip() for line in block.replace(b"\r", b"\n").split(b"\n")]
        lines = _with_blank_line(lines)
        blocks.append(b"\n".join(lines) + b"\n")
    return b"".join(blocks)


def _with_blank_line(lines: list[bytes]) -> list[bytes]:
    """A block with one blank line between its headers and its content, and none elsewhere."""
    body = [line for line in lines[1:-1] if line]
    headers = [line for line in body if b": " in line or line.endswith(b":")]
    content = [line for line in body if line not in headers]
    return [lines[0], *headers, b"", *content, lines[-1]]


def is_readable_by_apt(file: str) -> bool:
    """Whether apt and rpm read the keys in a file as gpg does: by its form, and by its name."""
    try:
        data = Path(file).read_bytes()
    except OSError:
        return True
    if _BLOCK.search(data):
        return data == normal(data) and not file.endswith(".gpg")
    return not file.endswith(".asc")


def primary_fingerprint(data: bytes) -> str:
    """Fingerprint of the first key in public keys, computed without gpg; empty if there is none.

    data
        Keys, armoured or binary (RFC 4880, sections 4.2 and 12.2).
    """
    raw = dearmor(data) if b"-----BEGIN PGP" in data else data
    if len(raw) < 6 or not raw[0] & 0x80:
        return ""
    if raw[0] & 0x40:
        tag, first = raw[0] & 0x3F, raw[1]
        if first < 192:
            start, length = 2, first
        elif first < 224:
            start, length = 3, ((first - 192) << 8) + raw[2] + 192
        else:
            start, length = 6, int.from_bytes(raw[2:6], "big")
    else:
        tag, size = (raw[0] >> 2) & 0x0F, 1 << (raw[0] & 3)
        start, length = 1 + size, int.from_bytes(raw[1 : 1 + size], "big")
    body = raw[start : start + length]
    if tag != 6 or len(body) != length or not body or body[0] != 4:
        return ""
    packet = b"\x99" + length.to_bytes(2, "big") + body
    return hashlib.sha1(packet, usedforsecurity=False).hexdigest().upper()


def _refuse_weak(home: str, fingerprint: str, file: str) -> None:
    """Raise InvalidInput for an own key that current programs (sqv of Debian 13) do not accept."""
    rows = [row.split(":") for row in _gpg(home, "--list-keys", fingerprint)["stdout"].splitlines()]
    for row in rows:
        if row[0] == "pub" and ((row[3] in _RSA and int(row[2]) < _BITS) or row[3] == _DSA):
            kind = "DSA" if row[3] == _DSA else "RSA"
            raise InvalidInput(
                f"repo_key_file: {file}: {kind} of {row[2]} bits, which Debian 13 does not accept;"
                f" expected a key of RSA with {_BITS} bits or more, or an elliptic curve"
            )
    _, digest = newest_binding(_packets(home, fingerprint), fingerprint)
    if digest in _WEAK_DIGESTS:
        raise InvalidInput(
            f"repo_key_file: {file}: binds its identity by {_WEAK_DIGESTS[digest]}, which Debian 13"
            " does not accept. Renew it: gpg --cert-digest-algo SHA512 --quick-set-expire"
            f" {fingerprint} 5y, then export it again"
        )


def _packets(home: str, fingerprint: str) -> str:
    """What gpg says of the packets of a public key."""
    exported = Path(home, ".exported")
    try:
        _gpg(home, "--output", str(exported), "--export", fingerprint)
        return _gpg(home, "--list-packets", str(exported))["stdout"]
    finally:
        exported.unlink(missing_ok=True)


_RSA = ("1", "2", "3")
_DSA = "17"
_BITS = 2048
_WEAK_DIGESTS = {1: "MD5", 2: "SHA-1", 3: "RIPEMD-160"}
"""Numbers of algorithms: RFC 4880, section 9."""


def newest_binding(packets: str, fingerprint: str) -> tuple[int, int]:
    """The newest signature by which a key binds its identities: its time, and its digest algorithm.

    packets
        What ``gpg --list-packets`` says of the key.
    fingerprint
        Its fingerprint; signatures by others are passed over.

    Returns zeros if there is none.
    """
    newest = (0, 0)
    for part in packets.split(":signature packet: ")[1:]:
        signer = re.match(r"algo \d+, keyid ([0-9A-F]{16})", part)
        created = re.search(r"created (\d+),.*sigclass 0x1[0-3]", part)
        digest = re.search(r"digest algo (\d+)", part)
        if signer and created and digest and fingerprint.endswith(signer[1]):
            newest = max(newest, (int(created[1]), int(digest[1])))
    return newest


def _selected(file: Path, wanted: list[str], armoured: bool) -> bytes:
    """The keys in a file that have certain fingerprints; rpm reads one of each armoured block."""
    home = tempfile.mkdtemp(prefix="infra-repo-key-")
    try:
        _gpg(home, "--import", str(file))
        selected = b""
        for fingerprint in wanted:
            exported = Path(home, fingerprint)
            options = ["--armor"] if armoured else []
            _gpg(home, *options, "--output", str(exported), "--export", fingerprint)
            selected += exported.read_bytes()
        return selected
    finally:
        process.run(["gpgconf", "--homedir", home, "--kill", "all"])
        shutil.rmtree(home, ignore_errors=True)


def for_apt(file: str) -> str:
    """A file of the same keys for apt, which reads one armoured block of a file and no more."""
    data = Path(file).read_bytes()
    if data.count(b"-----BEGIN PGP") < 2:
        return file
    binary = Path(file).with_name(f"{Path(file).name}.gpg")
    if not binary.is_file() or binary.read_bytes() != dearmor(data):
        temporary = binary.with_name(f".{binary.name}.new")
        temporary.write_bytes(dearmor(data))
        temporary.chmod(0o644)
        temporary.replace(binary)
    return str(binary)


def is_expected(file: str, expected: list[str]) -> bool:
    """Whether a file holds keys of certain fingerprints, and no other key.

    expected
        Whole fingerprints; empty for any key.
    """
    wanted = {fingerprint.upper() for fingerprint in expected}
    if not wanted:
        return True
    try:
        prints = set(fingerprints(file))
    except CommandExecutionError:
        return False
    return bool(prints) and prints <= wanted


def fingerprints(file: str) -> list[str]:
    """Fingerprints of the public keys in a file."""
    home = tempfile.mkdtemp(prefix="infra-repo-key-")
    try:
        text = _gpg(home, "--show-keys", file)["stdout"]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return [entry["fingerprint"] for entry in parse_keys(text)]


def sign(
    home: str, fingerprint: str, files: list[dict[str, str]], passphrase_file: str = ""
) -> None:
    """Sign files.

    home, fingerprint, passphrase_file
        See :func:`key`.
    files
        Mappings of ``source``, ``target`` and ``kind``: ``clear`` (InRelease) or ``detached``
        (armoured, beside the file).
    """
    how = {"clear": ["--clear-sign"], "detached": ["--armor", "--detach-sign"]}
    moment = _backdated(home, fingerprint)
    try:
        for file in files:
            Path(file["target"]).unlink(missing_ok=True)
            _gpg(
                home,
                "--faked-system-time", f"{moment}!",
                *_passphrase(passphrase_file),
                "--local-user", fingerprint,
                "--digest-algo", "SHA512",
                "--output", file["target"],
                *how[file["kind"]],
                file["source"],
            )  # fmt: skip
    finally:
        _stop_agent(home)


_BEHIND = 25 * 3600  # seconds that a client's clock may be behind


def _backdated(home: str, fingerprint: str) -> int:
    """Time for a signature, in seconds since the epoch: a day ago, but not before its key.

    sqv refuses a signature of the future, and a client's clock may be behind.
    """
    rows = _gpg(home, "--list-secret-keys", fingerprint, check=False)["stdout"].splitlines()
    # Of the key and its subkeys, one of which may sign.
    dates = [row.split(":")[5] for row in rows if row.startswith(("sec:", "ssb:"))]
    created = max([int(text) for text in dates if text.isdigit()], default=0)
    bound, _ = newest_binding(_packets(home, fingerprint), fingerprint)
    return max(created, bound, int(time.time()) - _BEHIND)


def sign_packages(home: str, fingerprint: str, files: list[str], passphrase_file: str = "") -> None:
    """Sign rpm packages in place; for those that came without a signature that we know."""
    faked = ["--faked-system-time", f"{_backdated(home, fingerprint)}!"]
    extra = " ".join([*_passphrase(passphrase_file), *faked])
    try:
        for start in range(0, len(files), 200):
            _run(
                [
                    "rpmsign",
                    "--define", f"_gpg_name {fingerprint}",
                    "--define", f"_gpg_path {home}",
                    "--define",
                    # Debian's rpm looks for a gpg2 that is not there.
                    f"__gpg {shutil.which('gpg') or 'gpg'}",
                    "--define", "_gpg_digest_algo sha256",
                    "--define", f"_gpg_sign_cmd_extra_args --batch {extra}",
                    "--resign",
                    *files[start : start + 200],
                ],
                "rpmsign",
            )  # fmt: skip
    finally:
        _stop_agent(home)


def check_packages(keys: list[str], files: list[str], scratch: str) -> dict[str, str]:
    """Check the signatures of rpm packages.

    keys
        Files with the public keys to be trusted.
    files
        Packages.
    scratch
        Directory for a key database of its own; emptied.

    Returns path → ``good``, ``unsigned``, ``unknown`` (signed by another key) or ``bad``.
    """
    database = Path(scratch)
    if database.exists():
        for path in database.iterdir():
            path.unlink()
    database.mkdir(parents=True, exist_ok=True)
    own = ["--dbpath", str(database)]
    _run(["rpmdb", *own, "--initdb"], "rpm")
    if keys:
        _run(["rpmkeys", *own, "--import", *keys], "rpm")
    verdicts = {}
    for start in range(0, len(files), 200):
        answer = _run(
            ["rpmkeys", *own, "--checksig", "-v", *files[start : start + 200]], "rpm", check=False
        )
        verdicts.update(parse_checksig(answer["stdout"]))
    return {file: verdicts.get(file, "bad") for file in files}


def parse_checksig(text: str) -> dict[str, str]:
    """What ``rpmkeys --checksig -v`` found, per package."""
    verdicts: dict[str, str] = {}
    path = ""
    for line in text.splitlines():
        if line and not line[0].isspace():
            path = line.rstrip().removesuffix(":")
            verdicts[path] = "unsigned"
            continue
        if not path:
            continue  # of no package
        word = line.rsplit(":", 1)[-1].strip().split(" ")[0]
        if "ignature" in line:
            state = {"OK": "good", "NOKEY": "unknown"}.get(word, "bad")
            if verdicts[path] != "bad" and (state == "bad" or verdicts[path] != "good"):
                verdicts[path] = state
        elif word not in ("OK", ""):
            verdicts[path] = "bad"
    return verdicts


def verify(keys: list[str], signature: str, source: str = "") -> dict[str, str]:
    """Check a signature against keys, and against nothing else.

    keys
        Files with public keys (binary or armoured).
    signature
        A clear-signed file, or a detached signature.
    source
        The file that a detached signature is about.

    Returns ``reason`` (why it is not good; empty where it is) and ``key`` (fingerprint of the
    primary key that signed; empty where it is not good).
    """
    if not Path(signature).is_file():
        return {"reason": "there is no signature", "key": ""}
    scratch = tempfile.mkdtemp(prefix="infra-repo-key-")
    try:
        argv = ["gpgv", "--homedir", scratch, "--status-fd", "1"]
        for number, path in enumerate(keys):
            data = Path(path).read_bytes()
            ring = Path(scratch, f"{number}.gpg")
            ring.write_bytes(dearmor(data) if data.lstrip().startswith(b"-----BEGIN") else data)
            argv += ["--keyring", str(ring)]
        answer = _run([*argv, signature, *([source] if source else [])], "gpgv", check=False)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    valid = re.search(
        r"^\[GNUPG:\] VALIDSIG .*?\b([0-9A-F]{40}(?:[0-9A-F]{24})?)$",
        answer["stdout"],
        re.MULTILINE,
    )
    if answer["retcode"] == 0 and valid:
        return {"reason": "", "key": valid.group(1)}
    reasons = [
        line.removeprefix("gpgv: ")
        for line in answer["stderr"].splitlines()
        if re.search(r"BAD|[Cc]an't|expired|No public key|no valid|invalid|failed", line)
    ]
    return {"reason": "; ".join(reasons) or answer["stderr"].strip(), "key": ""}


def dearmor(data: bytes) -> bytes:
    """Binary keys from armoured ones (several blocks may follow one another)."""
    content = b""
    for block in re.findall(rb"-----BEGIN PGP[^\n]*\n(.*?)-----END PGP", data, re.DOTALL):
        lines = [line.strip() for line in block.replace(b"\r", b"").split(b"\n")]
        start = lines.index(b"") + 1 if b"" in lines else 0
        body = [line for line in lines[start:] if line and not line.startswith(b"=")]
        content += base64.b64decode(b"".join(body))
    return content


def _make_key(folder: Path, uid: str) -> None:
    """Put a new key into an empty home directory; whole, or not at all."""
    known = parse_keys(_gpg(str(folder), "--list-keys", check=False)["stdout"])
    if known or any(folder.glob("private-keys-v1.d/*.key")):
        raise CommandFailed(
            f"{folder} is damaged: it is of a signing key, but gpg finds none of use in it. Put it "
            "back from a backup, or move it away to have another made, which clients then have to "
            "be told of"
        )
    new = folder.with_name(f".{folder.name}-new")
    old = folder.with_name(f".{folder.name}-old")
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)  # of a run that was ended in the middle
    new.mkdir(mode=0o700)
    try:
        # Older than the signatures that it makes, which are backdated.
        past = ["--faked-system-time", f"{int(time.time()) - 2 * _BEHIND}!"]
        command = [
            *past,
            "--passphrase",
            "",
            "--quick-generate-key",
            uid,
            _KEY_TYPE,
            "sign",
            "never",
        ]
        _gpg(str(new), *command)
        _stop_agent(str(new))
        # Its agent takes its sockets away meanwhile; there is nothing else in it.
        folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _secret_keys(home: str) -> list[dict[str, Any]]:
    return parse_keys(_gpg(home, "--list-secret-keys", check=False)["stdout"])


def _passphrase(file: str) -> list[str]:
    return ["--pinentry-mode", "loopback", "--passphrase-file", file] if file else []


def _gpg(home: str, *argv: str, check: bool = True) -> process.Outcome:
    options = ["--homedir", home, "--batch", "--no-tty", "--yes", "--quiet", "--with-colons"]
    command = ["gpg", *options, *argv]
    for _ in range(_AGENT_TRIES):
        # An agent that is ending may accept the call and exit; the next call starts its own.
        answer = _run(command, "gnupg", check=False)
        message = answer["stderr"]
        if not answer["retcode"] or not _AGENT_GONE.search(message):
            break
        time.sleep(0.5)
    if check and answer["retcode"]:
        raise CommandFailed(f"gpg with {home} failed: {answer['stderr'] or answer['stdout']}")
    return answer


def _stop_agent(home: str) -> None:
    """End the agent that gpg left running for this home directory."""
    process.run(
        ["gpgconf", "--homedir", home, "--kill", "gpg-agent"],
    )


def _run(argv: list[str], package: str, check: bool = True) -> process.Outcome:
    try:
        answer = process.run(
            argv,
            timeout=600,
        )
    except CommandExecutionError as exc:
        raise CommandFailed(f"{argv[0]} (package {package}) cannot run: {exc}") from exc
    if check and answer["retcode"]:
        raise CommandFailed(f"{argv[0]} failed: {answer['stderr'] or answer['stdout']}")
    return answer
