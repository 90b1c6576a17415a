#!py
"""Syncs the library, modules and states, while it is rendered: so that test=True has them too.

`state.apply` does not sync them by itself (only a highstate does), and a fresh minion has none. They
come from the environment of the run. A minion that has those of this digest need not ask its master
for the hash of each file; `saltutil.sync_all` syncs whatever the digest is.

Under salt-ssh this is rendered on the master; a state syncs them on the target.
"""

import os

DIGEST = "fc56c04857110c5ee6e0c12cb963fcf16808d9fa3d66ea224165646906d6201e"  # of _utils, _modules and _states; written by `make generate`


def is_by_ssh(opts):
    return "__master_opts__" in opts


def is_synced(folder):
    """Whether all of this release was synced, and nothing else since."""
    # The first is written when all is synced; the second comes with the library, from any sync.
    for name in ("infra_formula.synced", "utils/infra_formula/release.py"):
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                if DIGEST not in file.read():
                    return False
        except OSError:
            return False
    return True


def sync(salt, opts, environment):
    folder = opts["extension_modules"]
    if is_by_ssh(opts) or is_synced(folder):
        return
    synced = []
    for kind in ("utils", "modules", "states"):
        synced += salt[f"saltutil.sync_{kind}"](saltenv=environment, refresh=False)
    with open(os.path.join(folder, "infra_formula.synced"), "w", encoding="utf-8") as file:
        file.write(f"{DIGEST}\n")
    if synced:
        # The minion's own process, which runs beacons and the mine, takes them too.
        salt["saltutil.refresh_modules"]()


def run():
    sync(__salt__, __opts__, saltenv)
    first = [{"order": "first"}]
    if is_by_ssh(__opts__):
        call = {"infra_library.synced": [*first, {"environment": saltenv}, {"reload_modules": True}]}
    else:
        call = {"test.nop": first}
    return {"infra-sync-modules-loaded": call}
