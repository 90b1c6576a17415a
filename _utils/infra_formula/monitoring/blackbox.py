"""The blackbox exporter: its probe modules, the formula's and the site's."""

from __future__ import annotations

from typing import Any

import salt.utils.yaml

from infra_formula import templates
from infra_formula.daemon import checks
from infra_formula.daemon import configuration as daemon_configuration
from infra_formula.daemon.model import Daemon
from infra_formula.errors import Refused
from infra_formula.fileset.contents import File
from infra_formula.state import Plan


def modules(settings: dict[str, Any], custom: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make the exporter's configuration.

    settings
        ``ca_bundle`` (file of trusted CAs), ``dns_name`` (a name that the site's name server
        answers) and ``ip_protocol`` (``ip4``, which is the default, or ``ip6``: what is used for a
        name that has addresses of both).
    custom
        The value of ``blackbox_modules``. One with the name of a module of the formula replaces it.
    """
    preferred = {"preferred_ip_protocol": settings.get("ip_protocol", "ip4")}
    tls = {"ca_file": settings["ca_bundle"]}
    standard: dict[str, Any] = {
        # With `dont_fragment` it opens a raw socket, for which the unit has the capability.
        # Without, 0.28 first tries one that no kernel grants it, and logs an error at each ping.
        "icmp": {"prober": "icmp", "timeout": "5s", "icmp": {"dont_fragment": True}},
        "icmp_ttl5": {
            "prober": "icmp",
            "timeout": "5s",
            "icmp": {"dont_fragment": True, "ttl": 5},
        },
        "http_2xx": {"prober": "http", "http": {"tls_config": tls, **preferred}},
        "http_post_2xx": {
            "prober": "http",
            "http": {"method": "POST", "tls_config": tls, **preferred},
        },
        # An entry of the portal is up if nginx and its upstream answer. 401 (password required)
        # and 404 (no page at /) are answers, 502 is not.
        "http_portal": {
            "prober": "http",
            "http": {
                "valid_status_codes": [200, 204, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405],
                "follow_redirects": False,
                "tls_config": tls,
                **preferred,
            },
        },
        "tcp_connect": {"prober": "tcp", "tcp": dict(preferred)},
    }
    for transport in ("udp", "tcp"):
        standard[f"dns_{transport}"] = {
            "prober": "dns",
            "timeout": "3s",
            "dns": {
                "query_name": settings["dns_name"],
                "query_type": "A",
                "transport_protocol": transport,
                **preferred,
            },
        }
    return {"modules": {**standard, **(custom or {})}}


def plan(daemon: Daemon, settings: dict[str, Any], custom: dict[str, Any] | None = None) -> Plan:
    """Plan the exporter's configuration, checked by the exporter.

    settings, custom
        See :func:`modules`.
    """
    configuration = modules(settings, custom)
    rendered = files(configuration)
    difference = daemon_configuration.compare("blackbox", "/etc", rendered, replace=rendered)
    if difference.has_changes:
        check(configuration, daemon["program"], custom)
    return daemon_configuration.plan(
        difference,
        [daemon],
        comment=f"{len(configuration['modules'])} probe modules are up to date.",
        would="The probe modules would change.",
    )


def files(configuration: dict[str, Any]) -> dict[str, File]:
    """Render the configuration as a file set below ``/etc``."""
    # The site's modules may contain passwords.
    owner = {"group": "infra", "mode": "0640", "secret": True}
    return {"blackbox.yml": {"text": templates.HEADER + _yaml(configuration), **owner}}


def _yaml(configuration: dict[str, Any]) -> str:
    text = salt.utils.yaml.safe_dump(configuration, default_flow_style=False, sort_keys=False)
    return str(text)


def check(
    configuration: dict[str, Any], program: str, custom: dict[str, Any] | None = None
) -> None:
    """Have the exporter check its configuration. Nothing is checked if it is not installed yet.

    Raises Refused that names the parameter and quotes the program.
    """
    refusal = _refusal(configuration, program)
    if refusal is None:
        return
    for name, module in (custom or {}).items():
        lines = _refusal({"modules": {name: module}}, program)
        if lines is not None:
            raise Refused(f"blackbox_modules.{name}: the exporter refuses it: {lines}")
    raise Refused(f"the blackbox exporter refuses its modules: {refusal}")


def _refusal(configuration: dict[str, Any], program: str) -> str | None:
    argv = [program, "--config.file={path}", "--config.check"]
    return checks.refusal(argv, "blackbox.yml", _yaml(configuration))
