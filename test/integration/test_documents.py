"""Every command of the documents is run, in the order of each document, where it says.

One test is one block. `documents.py` says how a document tells what a block needs; the labs that a
document can name are LABS.
"""

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import documents
import pytest
import vendors
import yaml
from lab import Lab, aptconf
from lab.host import LabError, run
from lab.paths import CHECKOUT
from lab.suites import MachineSpec

SECONDS = 600
KEPT = os.environ.get("INFRA_DOCUMENTS_OUTPUT", "")
"""A folder that gets what each block printed, for whoever writes down what is expected."""


@dataclass(frozen=True)
class LabPlan:
    """A lab that documents are run in.

    Attributes:
        machines: addresses by name; commands are run on the first where nothing else is said.
        master: the first of them runs a salt-master; else each works for itself.
        pillar: what the machines have when a document begins.
        vendor: machines get the vendor's packages (see vendors.py).
        apply: the formula is applied before the first document.
        checkout: machines have a clone of this checkout, and a package of it, but no states yet.
        shut_in: machines without a way out.
        soak: documents in it are left to `make soak`.
        demo: the machine is that of `make demo`, and its commands on the host mean it.
    """

    machines: dict[str, str]
    pillar: dict = field(default_factory=dict)
    vendor: bool = False
    apply: bool = False
    master: bool = False
    checkout: bool = False
    shut_in: tuple[str, ...] = ()
    soak: bool = False
    demo: bool = False


FIRST = {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}}
SITE = {
    "infra_hosts": FIRST,
    "node_repo_modules": "",
    "node_repo_remove": False,
    # What is built where a document has it built; every machine keeps its own sources.
    "repo_enabled": False,
    "repo_remove": False,
    "repo_modules": "node",
    "repo_packages": ["tree"],
    "repo_extra_packages": [],
    "repo_upstream": aptconf.upstreams({12: "bookworm"}),
}
REPLICAS = {
    key: value
    for name in ("fleet", "fleet-secrets")
    for key, value in yaml.safe_load(
        (CHECKOUT / f"test/lab/pillar/{name}.yml").read_text(encoding="utf-8")
    ).items()
}
LABS = {
    "site": LabPlan(
        {"infra-1": "10.10.10.10", "node-1": "10.10.10.21"},
        {"infra": SITE},
        vendor=True,
        master=True,
        apply=True,
    ),
    "daily": LabPlan(
        {"infra-1": "10.10.10.10", "node-1": "10.10.10.21"},
        {"infra": SITE},
        vendor=True,
        master=True,
        apply=True,
        soak=True,
    ),
    "replicas": LabPlan(
        {"infra-1": "10.10.10.10", "infra-2": "10.10.10.11", "node-1": "10.10.10.21"},
        {
            "infra": {**REPLICAS["infra"], "infra_hosts": FIRST},
            "infra_secrets": REPLICAS["infra_secrets"],
        },
        master=True,
        apply=True,
        soak=True,
    ),
    "alone": LabPlan({"infra-1": "10.10.10.10"}, checkout=True),
    "demo": LabPlan({"infra-1": "10.10.10.10"}, apply=True, demo=True, soak=True),
    "contributor": LabPlan({"infra-1": "10.10.10.10"}, checkout=True, soak=True),
    "fresh": LabPlan(
        {"infra-1": "10.10.10.10", "node-1": "10.10.10.21"},
        {"infra": {**SITE, **vendors.DISTRO}},
        master=True,
        checkout=True,
        soak=True,
    ),
    "airgap": LabPlan(
        {"infra-1": "10.10.10.10", "builder": "10.10.10.9"},
        {
            "infra": {
                "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
                "repo_modules": "node",
                "repo_packages": ["infra-distro", "node-distro"],
                "repo_extra_packages": [],
                "repo_upstream": aptconf.upstreams({12: "bookworm"}),
                **vendors.DISTRO,
            }
        },
        checkout=True,
        shut_in=("infra-1",),
        soak=True,
    ),
}
DEFAULT = next(iter(LABS))


def _planned():
    """The blocks to run, lab after lab, each with whether it is for `make soak`."""
    found = [b for b in documents.blocks() if b.language == "bash" or _written(b)]
    unknown = [b.place for b in found if (b.lab or DEFAULT) not in LABS]
    if unknown:
        raise documents.DocumentError(f"expected a lab of {', '.join(LABS)} in {unknown}")
    for name, plan in LABS.items():
        for block in found:
            if (block.lab or DEFAULT) == name and "not run" not in block.notes:
                soak = plan.soak or block.notes.get("run", {}).get("soak", False)
                yield pytest.param(name, block, id=f"{name}-{block.place}",
                                   marks=[pytest.mark.soak] if soak else [])  # fmt: skip


def _written(block):
    return (
        "file" in block.notes
        or "shows" in block.notes
        or block.notes.get("pillar", {}).get("write")
    )


class Reader:
    """Does what a reader of the documents does, on the machines of one lab at a time."""

    def __init__(self):
        self._stack = ExitStack()
        self._name = self._document = ""
        self._pillar = None
        self._lab = None
        self.printed = ""

    def close(self):
        self._stack.close()

    def turn_to(self, name, document):
        """Be in a lab, at the start of a document if it is another than before."""
        if name != self._name:
            self._stack.close()
            self._name, self._document = name, document
            self._pillar = LABS[name].pillar
            self._lab = None
            self._lab = self._boot(LABS[name])
        if self._lab is None:
            raise LabError("it could not be brought up; see the first block of it")
        if document != self._document:
            self._document = document
            self.write_pillar(LABS[name].pillar)

    def _boot(self, plan):
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        specs = [
            MachineSpec(name, address, internet=name not in plan.shut_in)
            for name, address in plan.machines.items()
        ]
        tree = folder / "tree"
        tree.mkdir()
        lab = self._stack.enter_context(
            Lab.up(
                "fleet" if plan.master else "default",
                name=f"documents-{os.getpid()}",
                pillar=CHECKOUT / "pillar.example" if plan.demo else plan.pillar,
                machines=specs,
                master=specs[0].name if plan.master else None,
                tree=tree if plan.checkout else None,
            )
        )
        if plan.demo:
            # With the machines that a command of the page adds.
            self._stack.callback(lambda: Lab.find(lab.name).down())
        if plan.checkout:
            clone = _clone(folder / "clone")
            for machine in lab.machines:
                machine.put(clone, "/srv/infra-formula")
        if plan.vendor:
            vendor = vendors.repository(folder)
            self._stack.enter_context(vendor.served(lab))
            for machine in lab.machines:
                vendor.add_to(machine)
        if plan.apply:
            for machine in lab.machines:
                machine.apply()
            # What the others published meanwhile.
            lab.machines[0].apply("infra.register")
        return lab

    def machine(self, block):
        """Return the machine that a block is for; None is this host."""
        first = next(iter(LABS[self._name].machines))
        named = block.notes.get("run", {}).get("machine", first)
        return None if named == "host" else self._lab.machine(named)

    def write_pillar(self, pillar):
        if pillar != self._pillar:
            self._pillar = pillar
            machine = self._lab.machines[0]
            machine.set_pillar(pillar)
            if self._lab.record.master:
                self._lab.salt("*", "saltutil.refresh_pillar", "wait=True")

    def read(self, block):
        """Do what a block is there for."""
        if "first" in block.notes and "file" in block.notes:
            self.run(self.machine(block), block.notes["first"])
        if "file" in block.notes:
            self.machine(block).write(block.notes["file"], block.text)
        elif "shows" in block.notes:
            absent = documents.missing(block.text, self.printed)
            assert absent is None, f"{block.place}: {absent!r} was not printed:\n{self.printed}"
        elif block.language == "yaml":
            self.write_pillar(documents.merged(self._pillar, documents.pillar(block)))
        else:
            done = self.run(self.machine(block), block.script())
            self.printed = done.stdout + done.stderr
            wanted = block.notes.get("run", {}).get("status", 0)
            said = f"{block.place} ended with {done.returncode}:\n{self.printed}"
            if KEPT:
                name = block.place.replace("/", "_")
                Path(KEPT, f"{name}.txt").write_text(self.printed, encoding="utf-8")
            assert done.returncode == wanted, said
            difference = block.difference(self.printed)
            assert difference is None, f"{block.place}: {difference}:\n{self.printed}"

    def run(self, machine, script):
        words = ["bash", "-c", script]
        if machine is not None:
            return machine.run(words, check=False, timeout=SECONDS)
        return subprocess.run(
            words, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS, check=False, env={**os.environ, "INFRA_DEMO": self._lab.name}
        )  # fmt: skip


def _clone(folder):
    """Return a repository of what the checkout holds now, as a reader would clone it."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    words = ["-c", f"safe.directory={CHECKOUT}", "ls-files", "-co", "--exclude-standard"]
    listed = run([*git, "-C", str(CHECKOUT), *words]).stdout.splitlines()
    for path in [path for path in listed if (CHECKOUT / path).is_file()]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / path, folder / path)
    run([*git, "init", "--quiet", "--initial-branch=main", str(folder)])
    run([*git, "-C", str(folder), "add", "--all"])
    run([*git, "-C", str(folder), "commit", "--quiet", "--message=All of it"])
    run([str(folder / "tools/package")])
    return folder


@pytest.fixture(scope="module")
def reader():
    reader = Reader()
    yield reader
    reader.close()


@pytest.mark.parametrize(("lab", "block"), list(_planned()))
def test_documents(reader, lab, block, record_property):
    record_property("commands", len(block.commands) if block.language == "bash" else 0)
    try:
        reader.turn_to(lab, block.document)
    except LabError as error:
        pytest.fail(f"the lab for {block.place}: {error}")
    reader.read(block)
