"""Credentials in text and data: passwords, tokens and keys, recognized by where they stand.

Pure functions. Which parameters are secret whatever their value looks like, the schema says: see
:mod:`infra_formula.parameters.secrets`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

_CREDENTIAL = (
    r"(?:pass|passwd|password|passphrase|pwd|token|secret|credentials?|authorization|cookie|license"
    r"|(?:api|access|account|secret|private|hmac)[-_.]?key)"
)
_ANY = re.compile(rf"{_CREDENTIAL}|auth|sig|PRIVATE KEY", re.IGNORECASE)
_CREDENTIAL_NAME = re.compile(rf".*{_CREDENTIAL}", re.IGNORECASE | re.DOTALL)
_SCHEME = r"(?:(?:basic|bearer|digest|token)\s+)?"
_URL_PASSWORD = re.compile(r"[^\s/:@]*:[^\s/@]+@[^\s@]")
_USERINFO = re.compile(r"[a-z][a-z0-9+.-]*://(?P<userinfo>[^\s/?#\"<>]*)@", re.IGNORECASE)
_WILD_PASSWORD = re.compile(r"://[^\s:@]*:(?P<value>\S+)@")
_BARE_PASSWORD = re.compile(r"(?<![\w/])[^\s/:@\"']+:(?P<value>[^\s/@]+)@[^\s@]")
_IN_TEXT = re.compile(
    # name: value, name=value; --flag value; nginx: proxy_set_header Name value, set $name value
    rf"""(?:[\w.$-]*{_CREDENTIAL}["']?\s*[:=]
    |-{{1,2}}[\w.-]*{_CREDENTIAL}[ ]
    |\b(?:\w+_set_header|\w+_param|set)\s+["'$]*[\w-]*{_CREDENTIAL}["']?\s)
    \s*(?:-\s+)?(?P<value>"[^"\n]*"|'[^'\n]*'|{_SCHEME}[^\s;,]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_QUERY = re.compile(
    rf"([?&][\w.$%-]*(?:{_CREDENTIAL}|auth|sig|signature)=)[^&\s\"'<>#]+", re.IGNORECASE
)
_HEADER = re.compile(
    r"(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|digest|token)\s+)[^\s\"',;<>]+",
    re.IGNORECASE,
)
_ALL_SECRET = ("secureJsonData",)
"""Dictionaries of secrets, whatever their keys are."""
_ORDINARY = re.compile(r"[a-z]*|[A-Z]*|[A-Z][a-z]*|\d+(?:\.\d+)?[a-z%]*")
"""A word, a number or a duration: no secret, unless its name says so."""
_DIGITS = 6  # a number with fewer, where no secret is expected, may be a port


def holds_credentials(value: Any) -> bool:
    """Whether a secret is recognized in a value.

    value
        Text, or a list or a dictionary of anything.

    True for a URL with a password, a private key, and for a flag, a header or a setting whose name
    ends in ``password``, ``token``, ``secret``, ``credentials``, ``api_key`` or the like, unless it
    is empty or refers to a file or a variable.
    """
    if isinstance(value, dict):
        return any(
            holds_credentials(item)
            or holds_credentials(key)
            or (_CREDENTIAL_NAME.fullmatch(str(key)) is not None and _is_credential(item))
            for key, item in value.items()
        )
    if isinstance(value, (list, tuple)):
        return any(map(holds_credentials, value))
    if not isinstance(value, str):
        return False
    return (
        "PRIVATE KEY-----" in value
        or _URL_PASSWORD.search(value) is not None
        or any(_is_credential(match["value"].strip("\"'")) for match in _IN_TEXT.finditer(value))
    )


def _is_credential(value: Any) -> bool:
    """Whether the value beside a credential's name is one: no file, no variable, not empty."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_credential, value))
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    return bool(str(value).strip()) and not str(value).startswith(("/", "file:", "$"))


def recognized(value: Any) -> set[str]:
    """The secrets that :func:`holds_credentials` recognizes in a value, as texts."""
    if isinstance(value, dict):
        secrets: set[str] = set()
        for key, item in value.items():
            secrets |= recognized(item) | (recognized(key) if isinstance(key, str) else set())
            if key in _ALL_SECRET and isinstance(item, dict):
                secrets |= all_texts(list(item.values()))
            if _CREDENTIAL_NAME.fullmatch(str(key)) and _is_credential(item):
                secrets |= all_texts(item, is_named=True)
        return secrets
    if isinstance(value, (list, tuple)):
        return set().union(*map(recognized, value))
    return _recognized_in_text(value) if isinstance(value, str) else set()


def _recognized_in_text(text: str) -> set[str]:
    if "@" not in text and not _ANY.search(text):
        return set()
    secrets = {text} if "PRIVATE KEY-----" in text else set()
    for match in _USERINFO.finditer(text):
        user, colon, password = match["userinfo"].partition(":")
        secrets |= {password, unquote(password)} if colon else {user, unquote(user)}
    for pattern in (_WILD_PASSWORD, _BARE_PASSWORD):
        for match in pattern.finditer(text):
            secrets |= {match["value"], unquote(match["value"])}
    for match in _IN_TEXT.finditer(text):
        word = match["value"].strip("\"'")
        if _is_credential(word):
            secrets |= {word, _without_scheme(word)}
    if "://" in text and "?" in text:
        query = text.partition("?")[2].partition("#")[0]
        named = [item for name, item in parse_qsl(query) if _CREDENTIAL_NAME.fullmatch(name)]
        secrets |= {*named, *(match[0].partition("=")[2] for match in _QUERY.finditer(text))}
    return secrets


def _without_scheme(text: str) -> str:
    """The value of a header without ``Bearer`` and the like."""
    return re.sub(rf"^{_SCHEME}", "", text, flags=re.IGNORECASE)


def all_texts(value: Any, *, is_named: bool = True) -> set[str]:
    """The texts in a value that is secret as a whole.

    value
        Text, a number, or a list or a dictionary of anything.
    is_named
        Whether it stands where a secret is expected. Otherwise, and below other names than those of
        credentials, an ordinary word, number or duration is none: ``{parse_mode: HTML}``.
    """
    if isinstance(value, dict):
        texts: set[str] = set()
        for key, item in value.items():
            is_secret = _CREDENTIAL_NAME.fullmatch(str(key)) is not None
            texts |= all_texts(item, is_named=is_secret)
        return texts
    if isinstance(value, (list, tuple, set)):
        return set().union(*(all_texts(item, is_named=is_named) for item in value))
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = str(value)
    if not isinstance(value, str):
        return {text} if is_named or len(text) >= _DIGITS else set()
    if not is_named and _ORDINARY.fullmatch(text):
        return set()
    return {text, _without_scheme(text)} | _recognized_in_text(text)


# -- credentials of URLs ---------------------------------------------------------------------------


def redact_urls(text: str, placeholder: str) -> str:
    """Text in which no URL has a user, a password or a token, and no header an authorization."""
    if "://" in text and "@" in text:
        text = _USERINFO.sub(
            lambda match: f"{match[0][: match[0].index('://') + 3]}{placeholder}@", text
        )
    if "=" in text:
        text = _QUERY.sub(rf"\g<1>{placeholder}", text)
    return _HEADER.sub(rf"\g<1>{placeholder}", text)


def without_userinfo(url: str) -> str:
    """A URL without user and password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def userinfo(url: str) -> tuple[str, str] | None:
    """User and password of a URL, decoded; None if it has no user."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return None
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return unquote(user), unquote(password)
