#!py
"""A reactor: a minion that starts is made a client and registered. In the master's configuration:

    reactor:
      - 'salt/minion/*/start':
        - salt://infra/orch/reactor/join.sls

A minion that was registered before is only registered anew, not changed: what was changed by hand
while it was down is left alone at a reboot.

This is Python, not a template: an event is a minion's own word, and none of it becomes a part of
what is run. What happens with the id is in _utils/infra_formula/registration/spool.py, read from the file roots, so
that the two are always of one release.
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
    return spool.reaction(__opts__, "start", data)
