"""What VictoriaMetrics scrapes: its configuration and the targets of the INFRA nodes themselves.

``config``, ``own_targets`` and ``problems`` are pure. The state module infra_scrape puts the files
in place.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import salt.utils.path
import salt.utils.yaml

from infra_formula.daemon import checks, local_ports
from infra_formula.errors import CommandFailed, InvalidInput

HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
_TARGETS = "/infra/targets"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MODULES = ("icmp", "icmp_ttl5", "http_2xx", "http_post_2xx", "tcp_connect")


# -- configuration -------------------------------------------------------------------------------


def config(
    jobs: list[dict[str, Any]],
    values: dict[str, Any],
    interval: str,
    timeout: str,
    custom: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Make the scrape configuration; pure.

    jobs
        ``infra/vmetrics/jobs.yaml``.
    values
        Parameters that the jobs name.
    interval, timeout
        Durations like ``10s``.
    custom
        The site's own jobs (``vmetrics_scrape_jobs``), put behind ours as they are; ``targets`` in
        one becomes its file discovery, too. A custom job takes the place of ours of its name.

    Returns the configuration as it is to be written.

    Raises SaltInvocationError where a job names a parameter that is not among values.
    """
    own = {job["job_name"]: job for job in jobs if "when" not in job or values[job["when"]]}
    for job in custom or []:
        own[job["job_name"]] = job
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": timeout},
        "scrape_configs": [_job(job, values) for job in own.values()],
    }


def _job(job: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    filled = {k: _fill(v, values) for k, v in job.items() if k not in ("targets", "when")}
    if isinstance(job.get("targets"), str):
        pattern = f"{_TARGETS}/{job['targets']}/*.yml"
        filled["file_sd_configs"] = [{"files": [pattern]}, *filled.get("file_sd_configs", [])]
    return filled


def _fill(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {k: _fill(v, values) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill(v, values) for v in value]
    if not isinstance(value, str):
        return value

    def known(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise InvalidInput(f"a scrape job names ${{{match[1]}}}, which is no parameter")
        return str(values[match[1]])

    # ${1} is a group of a relabelling, not a parameter of ours.
    return re.sub(r"\$\{([a-z]\w*)\}", known, value)


# -- targets -------------------------------------------------------------------------------------


def own_targets(
    nodes: list[dict[str, Any]],
    components: dict[str, int | None],
    names: list[dict[str, Any]],
    settings: dict[str, Any],
) -> dict[str, list[dict[str, Any]]]:
    """Targets that the INFRA nodes are themselves; pure.

    nodes
        The INFRA nodes, each ``ip`` and ``seq``.
    components
        Enabled components → port of their metrics.
    names
        Names that the portal serves, each ``name``, ``entry`` and ``tls``.
    settings
        ``http_port``, ``https_port``, ``dns_port``, ``repo`` (path of the repository's marker, or
        None), ``dns`` and ``blackbox`` (whether they are enabled), ``closed_ports`` (of the
        components, those that are reached on the node itself only).

    Returns file below /infra/targets → entries (``labels`` and ``targets``).
    """
    out: dict[str, list[dict[str, Any]]] = {}
    probes: list[dict[str, Any]] = []
    for node in nodes:
        ip, seq = node["ip"], node["seq"]
        out[f"infra/infra-{seq}.yml"] = [
            {
                "labels": {"ip": ip, "ins": f"{name}-{seq}", "cls": name},
                "targets": [f"{'127.0.0.1' if port in settings['closed_ports'] else ip}:{port}"],
            }
            for name, port in components.items()
            if port is not None
        ]
        for served in names:
            scheme, port = ("https", "https_port") if served["tls"] else ("http", "http_port")
            labels = _probe_labels(node, "portal", "http_portal")
            labels |= {"hostname": served["name"], "entry": served["entry"]}
            url = f"{scheme}://{ip}:{settings[port]}/"
            probes.append({"labels": labels, "targets": [url]})
        if settings["dns"]:
            probes += [
                {
                    "labels": _probe_labels(node, "dns", f"dns_{transport}"),
                    "targets": [f"{ip}:{settings['dns_port']}"],
                }
                for transport in ("udp", "tcp")
            ]
        if settings["repo"]:
            url = f"http://{ip}:{settings['http_port']}{settings['repo']}"
            labels = _probe_labels(node, "repo", "http_2xx")
            probes.append({"labels": labels, "targets": [url]})
    if settings["blackbox"] and probes:
        out["probe/infra.yml"] = probes
    return out


def _probe_labels(node: dict[str, Any], cls: str, module: str) -> dict[str, str]:
    return {"ip": node["ip"], "ins": f"{cls}-{node['seq']}", "cls": cls, "module": module}


def given_targets(
    targets: dict[str, Any] | None, probes: dict[str, Any] | None
) -> dict[str, list[dict[str, Any]]]:
    """Targets that pillar gives (``vmetrics_targets``, ``blackbox_targets``); pure.

    targets
        Job's directory → list of entries, each ``targets`` and ``labels``.
    probes
        Module of the blackbox exporter → list of targets, each a string or a mapping with
        ``target`` and labels.

    Returns file below /infra/targets → entries.
    """
    out = {f"{name}/pillar.yml": list(entries) for name, entries in (targets or {}).items()}
    asked: list[dict[str, Any]] = []
    for module, wanted in (probes or {}).items():
        for item in wanted:
            entry = {"target": item} if isinstance(item, str) else dict(item)
            target = entry.pop("target")
            labels = {"ins": target, "cls": "probe", **entry, "module": module}
            asked.append({"labels": labels, "targets": [target]})
    if asked:
        out["probe/pillar.yml"] = [*out.get("probe/pillar.yml", []), *asked]
    return {rel: [_labelled(entry) for entry in entries] for rel, entries in out.items()}


def _labelled(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "labels": {k: str(v) for k, v in entry.get("labels", {}).items()},
        "targets": list(entry["targets"]),
    }


def files(
    configuration: dict[str, Any] | None, targets: dict[str, list[dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Render configuration and targets to an infra_files set below /infra; pure."""
    owner = {"group": "infra", "mode": "0640"}
    out = {f"targets/{rel}": {"text": _yaml(entries), **owner} for rel, entries in targets.items()}
    if configuration is not None:
        out["prometheus.yml"] = {"text": _yaml(configuration), **owner}
    return out


def _yaml(data: Any) -> str:
    body = salt.utils.yaml.safe_dump(
        data, default_flow_style=False, sort_keys=False, allow_unicode=True, width=4096
    )
    return HEAD + body


# -- checks --------------------------------------------------------------------------------------


def problems(parameters: dict[str, Any], known: list[str] | None = None) -> list[str]:
    """What is wrong with the parameters that say what is scraped; pure.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.
    known
        Names of our own jobs' directories, to which targets can be given.

    Returns one message per error, each beginning with the key path.
    """
    errors = _job_problems(parameters.get("vmetrics_scrape_jobs") or [])
    directories_known = [*(known or []), *_named(parameters.get("vmetrics_scrape_jobs") or [])]
    for name, entries in (parameters.get("vmetrics_targets") or {}).items():
        path = f"vmetrics_targets.{name}"
        if not _NAME.fullmatch(str(name)) or (known is not None and name not in directories_known):
            errors.append(f"{path}: expected one of {', '.join(sorted(directories_known))}")
        for index, entry in enumerate(entries):
            errors += _label_problems(f"{path}[{index}].labels", entry.get("labels", {}))
            errors += _address_problems(f"{path}[{index}].targets", entry["targets"])
    for module, wanted in (parameters.get("blackbox_targets") or {}).items():
        for index, item in enumerate(wanted):
            path = f"blackbox_targets.{module}[{index}]"
            target = item.get("target") if isinstance(item, dict) else item
            if not isinstance(target, str) or not re.fullmatch(r"\S+", target):
                errors.append(f"{path}: expected a target without blanks, got {target!r}")
            elif module.startswith("http") and not re.match(r"https?://[^/]", target):
                errors.append(f"{path}: expected an http:// or https:// URL, got {target!r}")
            elif module == "tcp_connect" and not re.fullmatch(r".+:\d{1,5}", target):
                errors.append(f"{path}: expected host:port, got {target!r}")
            if isinstance(item, dict):
                labels = {k: v for k, v in item.items() if k != "target"}
                errors += _label_problems(path, labels)
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


def _named(jobs: list[Any]) -> list[str]:
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
    configuration: dict[str, Any], program: str, custom: list[dict[str, Any]] | None = None
) -> None:
    """Have VictoriaMetrics itself check a configuration, on a copy of its own.

    configuration
        What :func:`config` made.
    program
        Absolute path of victoria-metrics; nothing is checked where it is not installed yet.
    custom
        The site's own jobs, to name the one that is at fault.

    Raises CommandExecutionError that names the parameter and quotes the program.
    """
    if not salt.utils.path.which(program):
        return
    fault = _dry_run(configuration, program)
    if fault is None:
        return
    for index, job in enumerate(custom or []):
        alone = {**configuration, "scrape_configs": [_only(configuration, job["job_name"])]}
        own = _dry_run(alone, program)
        if own is not None:
            name = job["job_name"]
            raise CommandFailed(
                f"vmetrics_scrape_jobs[{index}] ({name}): VictoriaMetrics refuses it: {own}"
            )
    raise CommandFailed(f"VictoriaMetrics refuses the scrape configuration: {fault}")


def _only(configuration: dict[str, Any], name: str) -> dict[str, Any]:
    return next(j for j in configuration["scrape_configs"] if j["job_name"] == name)


def _dry_run(configuration: dict[str, Any], program: str) -> str | None:
    argv = [program, "-promscrape.config={path}", "-promscrape.config.dryRun"]
    good, told = checks.run_check(argv, "prometheus.yml", _yaml(configuration))
    # Newer ones leave a job out that they cannot read, say so, and call it a success.
    skipped = [line for line in told.splitlines() if "skipping `scrape_config`" in line]
    if good and not skipped:
        return None
    return str(checks.extract_error_lines("\n".join(skipped) or told))


# -- what is scraped -----------------------------------------------------------------------------


def status(port: int = 8428) -> list[dict[str, Any]]:
    """Targets of this node's VictoriaMetrics, and whether they are up.

    port
        The value of ``vmetrics_port``.

    Returns one mapping per target: ``job``, ``ins``, ``instance``, ``url``, ``health`` and
    ``error``.

    Raises CommandExecutionError where VictoriaMetrics does not answer.
    """
    code, body = local_ports.request(port, "/api/v1/targets")
    if code != 200:
        raise CommandFailed(f"VictoriaMetrics on port {port}: {code or body}")
    return [
        {
            "job": target["labels"].get("job", ""),
            "ins": target["labels"].get("ins", ""),
            "instance": target["labels"].get("instance", ""),
            "url": target["scrapeUrl"],
            "health": target["health"],
            "error": target.get("lastError", ""),
        }
        for target in salt.utils.yaml.safe_load(body)["data"]["activeTargets"]
    ]


def query(expression: str, port: int = 8428) -> list[dict[str, Any]]:
    """Evaluate a MetricsQL expression now.

    expression
        E.g. ``up == 0``.
    port
        The value of ``vmetrics_port``.

    Returns one mapping per series: ``labels`` and ``value`` (float).

    Raises CommandExecutionError where VictoriaMetrics does not answer or refuses the expression.
    """
    path = f"/api/v1/query?{urlencode({'query': expression})}"
    code, body = local_ports.request(port, path, 30.0)
    if code != 200:
        raise CommandFailed(f"VictoriaMetrics on port {port}: {body or code}")
    found = salt.utils.yaml.safe_load(body)["data"]["result"]
    return [{"labels": row["metric"], "value": float(row["value"][1])} for row in found]
