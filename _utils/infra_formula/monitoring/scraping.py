"""Scraping by VictoriaMetrics: its configuration, and targets of the INFRA nodes and of pillar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from infra_formula import addresses, program_facts, templates
from infra_formula.daemon import checks, flags, local_ports
from infra_formula.daemon import configuration as daemon_configuration
from infra_formula.daemon.model import Daemon
from infra_formula.errors import InvalidInput, Refused
from infra_formula.fileset.contents import File
from infra_formula.monitoring import probes
from infra_formula.state import Plan

CONFIGURATION = "prometheus.yml"
_TARGETS = "/infra/targets"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_INFRA_JOBS = ("infra", "probe")  # no minion registers targets of these
_SAMPLE_LIMIT = "sample_limit"
_LABEL_LIMIT = "label_limit"
_CREDENTIAL = re.compile(r"auth|password|token|secret|credential|header|key", re.IGNORECASE)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


# -- configuration -------------------------------------------------------------------------------


def config(
    jobs: list[dict[str, Any]],
    values: dict[str, Any],
    interval: str,
    timeout: str,
    custom: list[dict[str, Any]] | None = None,
    external_labels: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the scrape configuration.

    jobs
        ``infra/vmetrics/jobs.yaml``.
    values
        Values for the names in the jobs; and the parameters ``register_sample_limit`` and
        ``register_label_limit``, 0 for none, of jobs in which minions register targets.
    interval, timeout
        Durations like ``10s``.
    custom
        The value of ``vmetrics_scrape_jobs``. One with the name of a job of the formula replaces
        it; ``targets`` in one becomes its file discovery.
    external_labels
        Labels of every series.

    Raises InvalidInput if a job names a value that is missing.
    """
    enabled = [job for job in jobs if "when" not in job or values[job["when"]]]
    by_name = {job["job_name"]: _with_tls(job, values) for job in enabled}
    by_name.update({job["job_name"]: job for job in custom or []})
    labels = {name: str(value) for name, value in (external_labels or {}).items()}
    return {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": timeout,
            **({"external_labels": labels} if labels else {}),
        },
        "scrape_configs": [_job(job, values) for job in by_name.values()],
    }


def _job(job: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    filled = {k: v for k, v in _fill(job, values).items() if k not in ("targets", "when")}
    if isinstance(job.get("targets"), str):
        pattern = f"{_TARGETS}/{job['targets']}/*.yml"
        filled["file_sd_configs"] = [{"files": [pattern]}, *filled.get("file_sd_configs", [])]
        if job["job_name"] not in _INFRA_JOBS:
            for limit in (_SAMPLE_LIMIT, _LABEL_LIMIT):
                if values[f"register_{limit}"]:
                    filled.setdefault(limit, values[f"register_{limit}"])
    return filled


def _with_tls(job: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A job of the formula, able to ask those of its targets that have a certificate."""
    encrypted = values.get("tls", [])
    if job["job_name"] in encrypted:
        # Each target says in its label __scheme__ whether it is asked over HTTPS.
        return {**job, "tls_config": values["exporter_tls_config"]}
    if "blackbox" in encrypted and job.get("metrics_path") == "/probe":
        return {**job, "scheme": "https", "tls_config": values["exporter_tls_config"]}
    return job


def _fill(value: Any, values: dict[str, Any]) -> Any:
    """Fill in the parameters that a job names, but for its credentials."""
    if isinstance(value, dict):
        # A password may have ${word} in it, which is no parameter.
        return {k: v if _CREDENTIAL.search(str(k)) else _fill(v, values) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill(v, values) for v in value]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise InvalidInput(f"a scrape job names ${{{match[1]}}}, which is no parameter")
        return str(values[match[1]])

    # ${1} is a group of a relabelling rule.
    return re.sub(r"\$\{([a-z]\w*)\}", replacement, value)


# -- targets -------------------------------------------------------------------------------------


def own_targets(
    nodes: list[dict[str, Any]],
    components: dict[str, int | None],
    names: list[dict[str, Any]],
    settings: dict[str, Any],
) -> dict[str, list[dict[str, Any]]]:
    """Targets on the INFRA nodes: their components, and probes of what they serve.

    nodes
        The INFRA nodes, each ``ip`` and ``seq``.
    components
        Enabled components → port of their metrics.
    names
        Names that the portal serves, each ``name``, ``entry`` and ``tls``.
    settings
        ``http_port``, ``https_port``, ``dns_port``, ``repo`` (path of the repository's marker, or
        None), ``dns`` and ``blackbox`` (whether they are enabled), ``streams`` (each
        ``stream`` and ``port``), ``backends`` (each ``entry`` and ``endpoint``), ``closed_ports``
        (ports of the components that listen on 127.0.0.1 only), ``clusters`` (name of each cluster
        of stores → its programs, each ``ip``, ``cls``, ``ins`` and ``port``).

    Returns file below /infra/targets → entries (``labels`` and ``targets``).
    """
    out: dict[str, list[dict[str, Any]]] = {}
    own_probes: list[dict[str, Any]] = []
    for node in nodes:
        ip, seq = node["ip"], node["seq"]
        host = addresses.in_url(ip)
        out[f"infra/infra-{seq}.yml"] = [
            {
                "labels": {
                    "ip": ip,
                    "ins": f"{name}-{seq}",
                    "cls": name,
                    **({"__scheme__": "https"} if name in settings.get("tls", []) else {}),
                },
                "targets": [f"{'127.0.0.1' if port in settings['closed_ports'] else host}:{port}"],
            }
            for name, port in components.items()
            if port is not None
        ]
        for served in names:
            scheme, port = ("https", "https_port") if served["tls"] else ("http", "http_port")
            labels = _probe_labels(node, "portal", "http_portal")
            labels |= {"hostname": served["name"], "entry": served["entry"]}
            url = f"{scheme}://{host}:{settings[port]}/"
            own_probes.append({"labels": labels, "targets": [url]})
        for stream in settings.get("streams", []):
            labels = _probe_labels(node, "portal", "tcp_connect") | {"entry": stream["stream"]}
            own_probes.append({"labels": labels, "targets": [f"{host}:{stream['port']}"]})
        for backend in settings.get("backends", []):
            labels = _probe_labels(node, "portal", "tcp_connect")
            labels |= {"entry": backend["entry"], "backend": backend["endpoint"]}
            own_probes.append({"labels": labels, "targets": [backend["endpoint"]]})
        if settings["dns"]:
            own_probes += [
                {
                    "labels": _probe_labels(node, "dns", f"dns_{transport}"),
                    "targets": [f"{host}:{settings['dns_port']}"],
                }
                for transport in ("udp", "tcp")
            ]
        if settings["repo"]:
            url = f"http://{host}:{settings['http_port']}{settings['repo']}"
            labels = _probe_labels(node, "repo", "http_2xx")
            own_probes.append({"labels": labels, "targets": [url]})
    own = {addresses.canonical(node["ip"]) for node in nodes}
    for name, members in settings.get("clusters", {}).items():
        out[f"infra/{name}.yml"] = [
            {
                "labels": {
                    "ip": member["ip"],
                    "ins": member["ins"],
                    "cls": member["cls"],
                    **({"__scheme__": "https"} if member["cls"] in settings.get("tls", []) else {}),
                },
                "targets": [f"{_scraped_at(member, own, settings)}:{member['port']}"],
            }
            for member in members
        ]
    if settings["blackbox"] and own_probes:
        out["probe/infra.yml"] = own_probes
    return out


def _scraped_at(member: dict[str, Any], own: set[str], settings: dict[str, Any]) -> str:
    is_own = addresses.canonical(member["ip"]) in own
    is_closed = is_own and member["port"] in settings["closed_ports"]
    return "127.0.0.1" if is_closed else addresses.in_url(member["ip"])


def _probe_labels(node: dict[str, Any], cluster: str, module: str) -> dict[str, str]:
    instance = f"{cluster}-{node['seq']}"
    return {"ip": node["ip"], "ins": instance, "cls": cluster, "module": module}


def pillar_targets(
    targets: dict[str, Any] | None, probed: dict[str, Any] | None
) -> dict[str, list[dict[str, Any]]]:
    """Targets of the parameters ``vmetrics_targets`` and ``blackbox_targets``.

    targets
        Job's directory → list of entries, each ``targets`` and ``labels``.
    probed
        Module of the blackbox exporter → list of targets, each a string or a mapping with
        ``target`` and labels.

    Returns file below /infra/targets → entries.
    """
    out = {f"{name}/pillar.yml": list(entries) for name, entries in (targets or {}).items()}
    for module, items in (probed or {}).items():
        for item in items:
            entry = {"target": item} if isinstance(item, str) else dict(item)
            target = entry.pop("target")
            labels = {"ins": target, "cls": "probe", **entry, "module": module}
            probe = {"labels": labels, "targets": [target]}
            out.setdefault("probe/pillar.yml", []).append(probe)
    return {rel: [_labelled(entry) for entry in entries] for rel, entries in out.items()}


def _labelled(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "labels": {k: str(v) for k, v in entry.get("labels", {}).items()},
        "targets": list(entry["targets"]),
    }


def plan(
    root: str,
    daemon: Daemon,
    configuration: dict[str, Any],
    targets: dict[str, list[dict[str, Any]]],
    custom: list[dict[str, Any]] | None = None,
) -> Plan:
    """Plan the scrape configuration, checked by VictoriaMetrics, and the files of targets.

    root
        The value of ``infra_data``.
    configuration, custom
        See :func:`config`.
    targets
        File below /infra/targets → entries.
    """
    rendered = files(configuration, targets)
    difference = daemon_configuration.compare("scrape", root, rendered, [CONFIGURATION])
    if CONFIGURATION in {*difference.create, *difference.change}:
        configuration = without_unknown_limits(configuration, daemon["program"], custom)
        rendered = files(configuration, targets)
        difference = daemon_configuration.compare("scrape", root, rendered, [CONFIGURATION])
    if CONFIGURATION in {*difference.create, *difference.change}:
        check(configuration, daemon["program"], custom, _parsing_options(daemon))
    return daemon_configuration.plan(
        difference,
        [daemon],
        comment=f"{len(configuration['scrape_configs'])} scrape jobs are up to date.",
        would="Scrape jobs or targets would change.",
        # It reads files of targets by itself.
        read_at_start=[CONFIGURATION],
    )


def _parsing_options(daemon: Daemon) -> list[str]:
    """The site's options that decide how VictoriaMetrics reads its configuration."""
    return [
        word
        for word in flags.options_named(daemon["options"], "promscrape.config.")
        if not word.lstrip("-").startswith("promscrape.config.dryRun")
    ]


def plan_of(
    root: str,
    daemon: Daemon,
    *,
    jobs: list[dict[str, Any]],
    values: dict[str, Any],
    interval: str,
    timeout: str,
    own: dict[str, Any],
    custom: list[dict[str, Any]] | None = None,
    targets: dict[str, Any] | None = None,
    probes: dict[str, Any] | None = None,
    external_labels: dict[str, Any] | None = None,
) -> Plan:
    """As :func:`plan`, of what the state is given (see ``infra_scrape.managed``)."""
    configuration = config(jobs, values, interval, timeout, custom, external_labels)
    rows = {**own_targets(**own), **pillar_targets(targets, probes)}
    return plan(root, daemon, configuration, rows, custom)


def without_unknown_limits(
    configuration: dict[str, Any], program: str, custom: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A configuration without the label limits that the formula sets, if the program has none.

    VictoriaMetrics up to 1.112 refuses the whole file for an unknown key.

    configuration, program, custom
        As for :func:`check`.
    """
    if _knows_limits(program):
        return configuration
    by_site = {job["job_name"] for job in custom or [] if _LABEL_LIMIT in job}
    jobs = [
        {k: v for k, v in job.items() if k != _LABEL_LIMIT or job["job_name"] in by_site}
        for job in configuration["scrape_configs"]
    ]
    return {**configuration, "scrape_configs": jobs}


def _knows_limits(program: str) -> bool:
    known = program_facts.recall(program, _LABEL_LIMIT)
    if known is not None:
        return known == "known"
    job = {"job_name": "x", "static_configs": [{"targets": []}], _LABEL_LIMIT: 1}
    accepted, output = _dry_run({"scrape_configs": [job]}, program)
    # Another refusal may be of this moment, such as of a full disk.
    if accepted or _LABEL_LIMIT in output:
        program_facts.remember(program, _LABEL_LIMIT, "known" if accepted else "unknown")
    return accepted


def files(
    configuration: dict[str, Any], targets: dict[str, list[dict[str, Any]]]
) -> dict[str, File]:
    """Render configuration and targets as a file set below ``/infra``."""
    contents: dict[str, object] = {f"targets/{rel}": rows for rel, rows in targets.items()}
    contents[CONFIGURATION] = configuration
    owner = {"group": "infra", "mode": "0640"}
    return {rel: {"text": _yaml(data), **owner} for rel, data in contents.items()}


def _yaml(data: object) -> str:
    return templates.HEADER + templates.to_yaml(data)


# -- checks --------------------------------------------------------------------------------------


def problems(parameters: dict[str, Any], known: list[str] | None = None) -> list[str]:
    """Problems of the parameters of scraping.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.
    known
        Directories of the formula's own jobs, to which targets can be added.

    Returns one message per problem, each beginning with the key path.
    """
    errors = _job_problems(parameters.get("vmetrics_scrape_jobs") or [])
    directories = [*(known or []), *_directories(parameters.get("vmetrics_scrape_jobs") or [])]
    for name, entries in (parameters.get("vmetrics_targets") or {}).items():
        path = f"vmetrics_targets.{name}"
        if not _NAME.fullmatch(str(name)) or (known is not None and name not in directories):
            errors.append(f"{path}: expected one of {', '.join(sorted(directories))}")
        for index, entry in enumerate(entries):
            errors += _label_problems(f"{path}[{index}].labels", entry.get("labels", {}))
            errors += _address_problems(f"{path}[{index}].targets", entry["targets"])
    for module, items in (parameters.get("blackbox_targets") or {}).items():
        for index, item in enumerate(items):
            labels = (
                {k: v for k, v in item.items() if k != "target"} if isinstance(item, dict) else {}
            )
            errors += _label_problems(f"blackbox_targets.{module}[{index}]", labels)
    errors += probes.problems(parameters)
    external = parameters.get("vmetrics_external_labels") or {}
    errors += _label_problems("vmetrics_external_labels", external)
    interval, timeout = (
        _seconds(parameters.get(f"vmetrics_scrape_{what}", default))
        for what, default in (("interval", "10s"), ("timeout", "8s"))
    )
    if interval and timeout and timeout > interval:
        errors.append("vmetrics_scrape_timeout: expected no more than vmetrics_scrape_interval")
    return errors


def _seconds(text: Any) -> float | None:
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d|w|y)", str(text))
    if not match:
        return None
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
    return int(match[1]) * units[match[2]]


def _directories(jobs: list[Any]) -> list[str]:
    return [j["targets"] for j in jobs if isinstance(j, dict) and isinstance(j.get("targets"), str)]


def _job_problems(jobs: list[Any]) -> list[str]:
    errors = []
    seen: dict[str, int] = {}
    for index, job in enumerate(jobs):
        path = f"vmetrics_scrape_jobs[{index}]"
        name = job.get("job_name")
        if not isinstance(name, str) or not name.strip():
            errors.append(f"{path}.job_name: expected a name, got {name!r}")
            continue
        if seen.setdefault(name, index) != index:
            errors.append(
                f"{path}.job_name: {name!r} is vmetrics_scrape_jobs[{seen[name]}] already"
            )
        if "targets" in job and not _NAME.fullmatch(str(job["targets"])):
            errors.append(f"{path}.targets: expected the name of a directory")
        if not any(key == "targets" or key.endswith("_configs") for key in job):
            errors.append(
                f"{path}: expected targets (a directory), static_configs or another *_configs"
            )
    return errors


def _label_problems(path: str, labels: dict[str, Any]) -> list[str]:
    return [
        f"{path}.{name}: expected a label's name (letters, digits, underscores) and a plain value"
        for name, value in labels.items()
        if not isinstance(name, str)
        or not _LABEL.fullmatch(name)
        or isinstance(value, (dict, list))
        or value is None
    ]


def _address_problems(path: str, targets: list[Any]) -> list[str]:
    return [
        f"{path}[{index}]: expected an address like host:port, got {target!r}"
        for index, target in enumerate(targets)
        if not isinstance(target, str) or not re.fullmatch(r"\S+", target)
    ]


def check(
    configuration: dict[str, Any],
    program: str,
    custom: list[dict[str, Any]] | None = None,
    options: Sequence[str] = (),
) -> None:
    """Have VictoriaMetrics check a configuration. Nothing is checked if it is not installed yet.

    configuration
        What :func:`config` returned.
    program
        Absolute path of victoria-metrics.
    custom
        The site's own jobs, to name the one at fault.
    options
        Flags that decide how it reads a configuration, like ``-promscrape.config.strictParse``.

    Raises Refused that names the parameter and quotes the program.
    """
    refusal = _refusal(configuration, program, options)
    if refusal is None:
        return
    for index, job in enumerate(custom or []):
        alone = {**configuration, "scrape_configs": [_only(configuration, job["job_name"])]}
        lines = _refusal(alone, program, options)
        if lines is not None:
            raise Refused(
                f"vmetrics_scrape_jobs[{index}] ({job['job_name']}): VictoriaMetrics refuses it: "
                f"{lines}"
            )
    raise Refused(f"VictoriaMetrics refuses the scrape configuration: {refusal}")


def _only(configuration: dict[str, Any], name: str) -> dict[str, Any]:
    return next(j for j in configuration["scrape_configs"] if j["job_name"] == name)


def _refusal(
    configuration: dict[str, Any], program: str, options: Sequence[str] = ()
) -> str | None:
    accepted, output = _dry_run(configuration, program, options)
    return None if accepted else checks.extract_error_lines(output)


def _dry_run(
    configuration: dict[str, Any], program: str, options: Sequence[str] = ()
) -> tuple[bool, str]:
    """Whether VictoriaMetrics accepts a configuration, and what it says of one that it refuses."""
    argv = [program, "-promscrape.config={path}", "-promscrape.config.dryRun", *options]
    succeeded, output = checks.run_check(argv, CONFIGURATION, _yaml(configuration))
    # Newer releases skip a job that they cannot parse, log it, and succeed.
    skipped = [line for line in output.splitlines() if "skipping `scrape_config`" in line]
    return succeeded and not skipped, "\n".join(skipped) or output


# -- queries -------------------------------------------------------------------------------------


def status(port: int = 8428) -> list[dict[str, Any]]:
    """Targets of this node's VictoriaMetrics; see ``infra_scrape.status``."""
    answer = local_ports.get_json(port, "/api/v1/targets", "VictoriaMetrics")
    return [
        {
            "job": target["labels"].get("job", ""),
            "ins": target["labels"].get("ins", ""),
            "instance": target["labels"].get("instance", ""),
            "url": target["scrapeUrl"],
            "health": target["health"],
            "error": target.get("lastError", ""),
        }
        for target in answer["data"]["activeTargets"]
    ]


def query(expression: str, port: int = 8428) -> list[dict[str, Any]]:
    """Evaluate a MetricsQL expression now; see ``infra_scrape.query``."""
    path = f"/api/v1/query?{urlencode({'query': expression})}"
    answer = local_ports.get_json(port, path, "VictoriaMetrics", 30.0)
    return [
        {"labels": row["metric"], "value": float(row["value"][1])}
        for row in answer["data"]["result"]
    ]
