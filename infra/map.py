#!py
"""What the SLS go by: infra/map.jinja renders this, with the pillar in `parameters` and `secrets`.

It syncs the library, modules and states first: `state.apply` does not by itself (only a highstate
does), and a fresh minion has none. They come from the environment of the run. A minion that has
those of this digest need not ask its master for the hash of each file; `saltutil.sync_all` syncs
whatever the digest is.

Under salt-ssh this is rendered on the master, with the library from there; the state in
infra/sync.sls syncs the target.
"""

import hashlib
import os
import pathlib
import sys

# The renderer gives this file the execution modules as `salt`.
from salt.fileclient import FSClient

# Of _utils, _modules and _states; written by `make generate`.
DIGEST = "4a122a1271e7a7c901267f2624b255627d83be89a7fcdc5dfa977f12d9c99a44"


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


def sync(functions, cache, environment):
    """Sync what is not synced."""
    if is_synced(cache):
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


def library_on_master(options, environment):
    """The folder with the library, for a run of salt-ssh."""
    with FSClient(options) as client:
        paths = client.cache_dir("salt://_utils/infra_formula", environment)
    return next(p for p in map(pathlib.Path, paths) if p.name == "release.py").parents[1]


def run():
    by_ssh = "__master_opts__" in __opts__
    if by_ssh:
        folder = library_on_master(__opts__["__master_opts__"], saltenv)
    else:
        cache = pathlib.Path(__opts__["extension_modules"])
        sync(__salt__, cache, saltenv)
        folder = cache / "utils"
    if os.fspath(folder) not in sys.path:
        sys.path.insert(0, os.fspath(folder))
    import infra_formula

    infra_formula.current()
    from infra_formula import sls, state_tree, templates
    from infra_formula.minion import Minion

    minion = Minion(__salt__, __opts__, __grains__, environment=saltenv)
    values = state_tree.values(minion, parameters, secrets)
    functions = {"yaml": templates.to_flow_yaml, **sls.functions(minion, values)}
    return {**values, "by_ssh": by_ssh, **functions}
