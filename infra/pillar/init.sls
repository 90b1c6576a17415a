#!py
"""Pillar validation, while the run is rendered. If the pillar is not valid, one failed state says so
and no other state of the formula is in the run: nothing changes, and test=True is as short.

Jinja cannot call the library, which a bare minion does not have then. Python can, after the sync.
"""

import importlib.machinery
import importlib.util
import json
import os
import sys

from salt.exceptions import CommandExecutionError

PILLARS = {"parameters": "infra", "secrets": "infra_secrets"}
ALL_BUT_THIS = ["infra", "infra.[!p]*", "infra.p[!i]*"]  # patterns of SLS names


def plain(name):
    """A part of the pillar as plain data: Salt 3008 hands out what hides its values if printed."""
    return json.loads(json.dumps(__pillar__.get(name, {}), default=str))


def load(name):
    """Another SLS of the formula as a Python module."""
    path = __salt__["cp.cache_file"](f"salt://infra/{name}.sls", saltenv=saltenv)
    loader = importlib.machinery.SourceFileLoader(f"infra_{name}", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def findings():
    folder = os.path.join(__opts__["extension_modules"], "utils")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import infra_formula

    infra_formula.current()
    from infra_formula.minion import Minion
    from infra_formula.parameters import validation

    minion = Minion(__salt__, __opts__, __grains__, {})
    try:
        return validation.check_run(minion, plain("infra"), plain("infra_secrets"))
    except CommandExecutionError as err:  # a file of the formula is not served
        return {"errors": [str(err)], "warnings": []}


def state(function, **arguments):
    return {function: [{key: value} for key, value in arguments.items()]}


def run():
    sync = load("sync")
    if sync.is_by_ssh(__opts__):  # the library is on the target only once the run has begun
        arguments = {name: json.dumps(plain(pillar)) for name, pillar in PILLARS.items()}
    else:
        sync.sync(__salt__, __opts__, saltenv)
        arguments = findings()
    valid = {**arguments, "order": 1, "failhard": True}
    if arguments.get("errors"):
        return {
            "exclude": [{"sls": name} for name in ALL_BUT_THIS],
            "infra-pillar-valid": state("infra_pillar.valid", **valid),
        }
    valid["require"] = [{"sls": "infra.sync"}]
    states = {
        "include": ["infra.sync"],
        "infra-pillar-valid": state("infra_pillar.valid", **valid),
    }
    if __grains__["os_family"] == "Debian":
        # A power cut in the middle of an installation would have every later one refused.
        require = [{"infra_pillar": "infra-pillar-valid"}]
        states["infra-pillar-packages-finished"] = state(
            "infra_dpkg.finished", order=3, require=require
        )
    return states
