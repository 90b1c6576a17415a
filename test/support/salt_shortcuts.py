"""What Salt does over and over in one process is done once: fixtures of the functional tests.

None of it changes what a test sees. A minion of the command line does each of these once in its
life; a process with hundreds of tests would spend most of its time on them.
"""

import functools
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
import salt.loader.lazy
import salt.utils.entrypoints
import salt.utils.event
import salt.utils.extmods
from jinja2.sandbox import SandboxedEnvironment


class Compiled(jinja2.BytecodeCache):
    """Templates that were compiled in this process, by what they were compiled from."""

    def __init__(self):
        self.codes = {}

    def load_bytecode(self, bucket):
        bucket.code = self.codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket):
        self.codes[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def compiled_templates():
    """Salt makes an environment for each SLS and compiles each import anew: most of its time."""
    own = SandboxedEnvironment.__init__
    SandboxedEnvironment.__init__ = functools.partialmethod(own, bytecode_cache=Compiled())
    yield
    SandboxedEnvironment.__init__ = own


@pytest.fixture(scope="session", autouse=True)
def synced_modules(tmp_path_factory):
    """The first minion of a process syncs from its file roots, the next of the same roots copies.

    Only into a folder that is not there yet: what a test syncs again, it syncs as Salt does.
    """
    own, kept, told = salt.utils.extmods.sync, tmp_path_factory.mktemp("synced"), {}

    def sync(opts, form, *args, **given):
        target = Path(opts["extension_modules"], form)
        # salt-factories adds folders of the minion's own, in which nothing is.
        sources = {
            env: [root for root in roots if Path(root, f"_{form}").is_dir()]
            for env, roots in opts["file_roots"].items()
        }
        key = json.dumps([form, sources, args, given], sort_keys=True, default=str)
        if target.exists():
            return own(opts, form, *args, **given)
        if key not in told:
            told[key] = (kept / str(len(told)), *own(opts, form, *args, **given))
            if target.exists():  # Salt removes a folder in which nothing is
                shutil.copytree(target, told[key][0])
        elif told[key][0].exists():
            shutil.copytree(told[key][0], target)
        _, names, touched = told[key]
        return list(names), touched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(salt.utils.extmods, "sync", sync)
        yield


@pytest.fixture(scope="session", autouse=True)
def events_that_nobody_hears():
    """Where no daemon has the socket of events, Salt tries for a second before it gives up."""
    own = salt.utils.event.SaltEvent.connect_pull

    def connect_pull(event, *args, **given):
        heard = any(Path(event.opts["sock_dir"]).glob("*pull*"))
        return own(event, *args, **given) if heard else False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(salt.utils.event.SaltEvent, "connect_pull", connect_pull)
        yield


@pytest.fixture(scope="session", autouse=True)
def listed_modules():
    """Each state that is called has Salt make 20 loaders, which sort the same 250 folders anew.

    What a loader finds rests on the names in its folders, and on the options that are named below.
    """
    own, found = salt.loader.lazy.LazyLoader._refresh_file_mapping, {}

    def refresh(loader):
        key = (
            tuple((folder, _names(folder)) for folder in loader.module_dirs),
            tuple(loader.static_modules),
            tuple(loader.disabled),
            tuple(loader.opts.get("optimization_order", ())),
            *(loader.opts.get(name) for name in ("cython_enable", "enable_zip_modules")),
        )
        if key not in found:
            own(loader)
            found[key] = (loader.file_mapping, loader.suffix_map, loader.suffix_order)
        mapping, suffixes, order = found[key]
        loader.file_mapping = dict(mapping)
        loader.suffix_map, loader.suffix_order = dict(suffixes), list(order)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(salt.loader.lazy.LazyLoader, "_refresh_file_mapping", refresh)
        yield


def _names(folder):
    """Names in a folder of modules, and of its compiled ones."""
    found = []
    for place in (folder, os.path.join(folder, "__pycache__")):
        try:
            found.append(tuple(os.listdir(place)))
        except OSError:
            found.append(())
    return tuple(found)


@pytest.fixture(scope="session", autouse=True)
def listed_distributions():
    """Salt reads the metadata of every package of the venv twice a second."""
    listing = SimpleNamespace(
        entry_points=functools.cache(salt.utils.entrypoints.importlib_metadata.entry_points)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(salt.utils.entrypoints, "importlib_metadata", listing)
        yield
