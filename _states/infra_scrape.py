"""What VictoriaMetrics scrapes, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.daemon import configuration as daemon_configuration
from infra_formula.monitoring import scraping
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]

_SET = "scrape"
_CONFIGURATION = "prometheus.yml"


def managed(
    name: str,
    daemon: dict[str, Any],
    jobs: list[dict[str, Any]],
    values: dict[str, Any],
    interval: str,
    timeout: str,
    own: dict[str, Any],
    custom: list[dict[str, Any]] | None = None,
    targets: dict[str, Any] | None = None,
    probes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The scrape configuration and the INFRA nodes' own targets are as the parameters say.

    name
        Directory of the data, ``infra_data``.
    daemon
        VictoriaMetrics, see the execution module infra_daemon.
    jobs, values, interval, timeout, custom
        See ``infra_scrape.config`` among the execution modules.
    own
        Arguments of ``infra_scrape.own_targets``.
    targets, probes
        See ``infra_scrape.given_targets``.

    VictoriaMetrics checks the configuration before it is put in place, and reloads it if it runs;
    where it does not take it, the old one is put back. Files of targets are read by it without.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}

    def check(changed: dict[str, dict[str, Any]]) -> None:
        if _CONFIGURATION in changed:
            scraping.check(configuration, daemon["program"], custom)

    try:
        configuration = scraping.config(jobs, values, interval, timeout, custom)
        wanted = scraping.own_targets(**own)
        wanted.update(scraping.given_targets(targets, probes))
        files = scraping.files(configuration, wanted)
        changes = daemon_configuration.apply(
            _SET,
            name,
            files,
            [daemon],
            __opts__["test"],
            replace=(_CONFIGURATION,),
            read_at_start=(_CONFIGURATION,),
            check=check,
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if changes and __opts__["test"]:
        comment = "what is scraped would change"
        return {**ret, "result": None, "changes": changes, "comment": comment}
    comment = f"{len(configuration['scrape_configs'])} jobs are as asked for"
    return {**ret, "changes": changes, "comment": comment}


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
    """What this node shows to those that want to know who scrapes them.

    name, private_key
        Absolute paths of the certificate and its key.
    signing_cert, signing_private_key
        The CA of the site.
    common_name, hosts, addresses
        CN, DNS names and IP addresses that it is for.
    days
        Its life, like ``7300d``.
    renew_days
        It is issued anew when fewer days are left.
    group
        Group that may read the key.
    """
    # `names` would be a word of Salt's own in an SLS, not an argument.
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
        # Shown by the scraper: to those it scrapes it is a client.
        usages=["serverAuth", "clientAuth"],
        purpose="scraping over TLS",
    )
