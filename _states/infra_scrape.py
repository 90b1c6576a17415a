"""Scrape configuration, targets, and credentials of stores, as states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.daemon.model import Daemon
from infra_formula.monitoring import remote_write, scraping
from infra_formula.state import Plan, converge

if TYPE_CHECKING:
    __states__: dict[str, Any]
    __opts__: dict[str, Any]


def managed(
    name: str,
    daemon: Daemon,
    jobs: list[dict[str, Any]],
    values: dict[str, Any],
    interval: str,
    timeout: str,
    own: dict[str, Any],
    custom: list[dict[str, Any]] | None = None,
    targets: dict[str, Any] | None = None,
    probes: dict[str, Any] | None = None,
    external_labels: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The scrape configuration and the targets on the INFRA nodes follow the parameters.

    name
        Directory of the data, ``infra_data``.
    daemon
        VictoriaMetrics or vmagent, see the state module infra_daemon.
    jobs, values
        ``infra/vmetrics/jobs.yaml``, and values for the names in it.
    interval, timeout
        Durations like ``10s``.
    own
        Arguments of ``infra_formula.monitoring.scraping.own_targets``.
    custom, targets, probes, external_labels
        The values of ``vmetrics_scrape_jobs``, ``vmetrics_targets``, ``blackbox_targets`` and
        ``vmetrics_external_labels``.

    The program checks the configuration before it is put in place, and reloads it if it runs;
    if that fails, the previous one is restored. It reads files of targets without a reload.
    """

    def compare() -> Plan:
        return scraping.plan_of(
            name,
            daemon,
            jobs=jobs,
            values=values,
            interval=interval,
            timeout=timeout,
            own=own,
            custom=custom,
            targets=targets,
            probes=probes,
            external_labels=external_labels,
        )

    return converge(name, __opts__["test"], compare)


def remote_credentials(name: str, files: dict[str, Any]) -> dict[str, Any]:
    """The credentials of the stores that vmagent writes to are in files of its own.

    name
        Their directory, ``/etc/vmagent``.
    files
        Name of each file → ``text``, ``mode`` and ``user``.

    No difference of them is shown. vmagent reads them every second, so that a new password needs no
    restart.
    """
    return converge(name, __opts__["test"], lambda: remote_write.plan(files))


def certified(
    name: str,
    private_key: str,
    signing_cert: str,
    signing_private_key: str,
    common_name: str,
    hosts: list[str],
    addresses: list[str],
    days: str,
    renew_days: int,
    group: str,
) -> dict[str, Any]:
    """The certificate that this node presents to targets that require one.

    name, private_key
        Absolute paths of the certificate and its key.
    signing_cert, signing_private_key
        The CA of the site.
    common_name, hosts, addresses
        CN, DNS names and IP addresses in it.
    days
        Its lifetime, like ``7300d``.
    renew_days
        It is renewed when fewer days are left.
    group
        Group that may read the key.
    """
    # `names` is a keyword of Salt's in an SLS, not an argument.
    return __states__["infra_cert.managed"](
        name=name,
        private_key=private_key,
        signing_cert=signing_cert,
        signing_private_key=signing_private_key,
        common_name=common_name,
        names=hosts,
        addresses=addresses,
        days=int(days.removesuffix("d")),
        renew_days=renew_days,
        group=group,
        # To its targets, VictoriaMetrics is a client.
        usages=["serverAuth", "clientAuth"],
        purpose="scraping over TLS",
    )


redaction.guard(globals())
