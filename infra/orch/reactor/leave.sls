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
    name, fresh = "infra_formula_spool", 10
    spool = sys.modules.get(name)
    # Salt takes longer to look a file up than the rest takes, which counts in a storm of events.
    if spool is None or time.monotonic() - spool.loaded >= fresh:
        path = __salt__["cp.cache_file"]("salt://_utils/infra_formula/registration/spool.py")
        if not path:
            raise RuntimeError("infra: add the formula's _utils to the master's file_roots")
        spec = importlib.util.spec_from_file_location(name, path)
        spool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(spool)
        spool.loaded = time.monotonic()
        sys.modules[name] = spool
    return spool.reaction(__opts__, "delete", data)
