"""How the blackbox exporter probes: its modules, ours and the site's."""

from __future__ import annotations

from typing import Any

import salt.utils.path
import salt.utils.yaml

from infra_formula.daemon import checks
from infra_formula.errors import CommandFailed

_HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
_V4 = {"preferred_ip_protocol": "ip4"}


def modules(settings: dict[str, Any], custom: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make the exporter's configuration; pure.

    settings
        ``ca_bundle`` (file of the authorities that are trusted) and ``dns_name`` (a name that the
        site's name server answers).
    custom
        The site's own modules (``blackbox_modules``), in the exporter's words; one of our name
        takes its place.

    Returns the configuration as it is to be written.
    """
    tls = {"ca_file": settings["ca_bundle"]}
    ours: dict[str, Any] = {
        # With `dont_fragment` it opens a raw socket at once, for which the unit has the capability;
        # else 0.28 first tries one that no kernel gives it, and logs an error at each ping.
        "icmp": {"prober": "icmp", "timeout": "5s", "icmp": {"dont_fragment": True}},
        "icmp_ttl5": {
            "prober": "icmp",
            "timeout": "5s",
            "icmp": {"dont_fragment": True, "ttl": 5},
        },
        "http_2xx": {"prober": "http", "http": {"tls_config": tls, **_V4}},
        "http_post_2xx": {
            "prober": "http",
            "http": {"method": "POST", "tls_config": tls, **_V4},
        },
        # A site of the portal is there if nginx and what is behind it answer: asking for a
        # password or saying that there is no page at / is an answer, 502 is not.
        "http_portal": {
            "prober": "http",
            "http": {
                "valid_status_codes": [200, 204, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405],
                "follow_redirects": False,
                "tls_config": tls,
                **_V4,
            },
        },
        "tcp_connect": {"prober": "tcp", "tcp": dict(_V4)},
    }
    for transport in ("udp", "tcp"):
        ours[f"dns_{transport}"] = {
            "prober": "dns",
            "timeout": "3s",
            "dns": {
                "query_name": settings["dns_name"],
                "query_type": "A",
                "transport_protocol": transport,
                **_V4,
            },
        }
    return {"modules": {**ours, **(custom or {})}}


def files(configuration: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Render the configuration to an infra_files set below /etc; pure."""
    body = salt.utils.yaml.safe_dump(configuration, default_flow_style=False, sort_keys=False)
    # The site's modules may hold passwords.
    own = {"text": _HEAD + body, "group": "infra", "mode": "0640", "secret": True}
    return {"blackbox.yml": own}


def check(
    configuration: dict[str, Any], program: str, custom: dict[str, Any] | None = None
) -> None:
    """Have the exporter itself check a configuration.

    Raises CommandExecutionError that names the parameter and quotes the program. Nothing is checked
    where the program is not installed yet.
    """
    if not salt.utils.path.which(program):
        return
    fault = _tried(configuration, program)
    if fault is None:
        return
    for name, module in (custom or {}).items():
        own = _tried({"modules": {name: module}}, program)
        if own is not None:
            raise CommandFailed(f"blackbox_modules.{name}: the exporter refuses it: {own}")
    raise CommandFailed(f"the blackbox exporter refuses its modules: {fault}")


def _tried(configuration: dict[str, Any], program: str) -> str | None:
    good, told = checks.run_check(
        [program, "--config.file={path}", "--config.check"],
        "blackbox.yml",
        salt.utils.yaml.safe_dump(configuration),
    )
    return None if good else str(checks.extract_error_lines(told))
