#!py
"""A reactor: a minion whose key is deleted is forgotten. In the master's configuration:

    reactor:
      - 'salt/key':
        - salt://infra/orch/reactor/leave.sls

A minion can send this event itself, so nothing happens while the key is accepted. Why this is
Python: see join.sls.
"""

import importlib.util
import sys
import time


def run():
    name, fresh = "infra_fleet_reaction", 10
    fleet = sys.modules.get(name)
    # Salt takes longer to look a file up than the rest takes, which counts in a storm of events.
    if fleet is None or time.monotonic() - fleet.loaded >= fresh:
        path = __salt__["cp.cache_file"]("salt://_modules/infra_fleet.py")
        if not path:
            raise RuntimeError("infra: add the formula's _modules to the master's file_roots")
        spec = importlib.util.spec_from_file_location(name, path)
        fleet = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fleet)
        fleet.loaded = time.monotonic()
        sys.modules[name] = fleet
    return fleet.reaction(__opts__, "delete", data)
