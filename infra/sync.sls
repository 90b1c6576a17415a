#!py
"""Syncs the library, modules and states, while it is rendered: so that test=True has them too.

`state.apply` does not sync them by itself (only a highstate does), and a fresh minion has none. They
come from the environment of the run. A minion that has those of this digest need not ask its master
for the hash of each file; `saltutil.sync_all` syncs whatever the digest is.

Under salt-ssh this is rendered on the master; a state syncs them on the target.
"""

import hashlib
import pathlib

DIGEST = "c26985d68dc586ed8d1d653dd68128d89e1c9b4a6f1a03d751e31cb9c1264bb0"  # of _utils, _modules and _states; written by `make generate`


def is_by_ssh(options):
    return "__master_opts__" in options


def digest(cache):
    """The digest of what is in Salt's cache of the formula, as `make generate` computes it."""
    whole = hashlib.sha256()
    for folder, pattern in (
        ("modules", "infra_*.py"),
        ("states", "infra_*.py"),
        ("utils", "infra_formula/**/*.py"),
    ):
        for path in sorted((cache / folder).glob(pattern)):
            name = f"_{folder}/{path.relative_to(cache / folder)}"
            if name != "_utils/infra_formula/release.py":
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{name}\0{content}\n".encode())
    return whole.hexdigest()


def is_synced(cache):
    """Whether all of this release was synced, and nothing else since."""
    # The first is written when all is synced; the second comes with the library, by any sync.
    for name in ("infra_formula.synced", "utils/infra_formula/release.py"):
        try:
            if DIGEST not in (cache / name).read_text(encoding="utf-8", errors="replace"):
                return False
        except OSError:
            return False
    return True


def sync(functions, options, environment):
    """Sync what is not synced. Also used by infra/pillar/init.sls."""
    cache = pathlib.Path(options["extension_modules"])
    if is_by_ssh(options) or is_synced(cache):
        return
    synced = []
    for kind in ("utils", "modules", "states"):
        synced += functions[f"saltutil.sync_{kind}"](saltenv=environment, refresh=False)
    marker = cache / "infra_formula.synced"
    if digest(cache) == DIGEST:
        marker.write_text(f"{DIGEST}\n", encoding="utf-8")
    else:
        # A master lists its files anew every 20 seconds only, or somebody changed the formula. The
        # next run syncs again.
        marker.unlink(missing_ok=True)
    if synced:
        # The minion's own process, which runs beacons and the mine, takes them too.
        functions["saltutil.refresh_modules"]()


def run():
    sync(__salt__, __opts__, saltenv)
    first = [{"order": "first"}]
    if is_by_ssh(__opts__):
        call = {
            "infra_library.synced": [*first, {"environment": saltenv}, {"reload_modules": True}]
        }
    else:
        call = {"test.nop": first}
    return {"infra-sync-modules-loaded": call}
