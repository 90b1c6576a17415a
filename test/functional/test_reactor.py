"""The reactor, as Salt's own runs it: whatever an event holds, nothing of it is run.

A minion may send any event: with `event.send` its own id stands beside its data, but the list form
of the same request lets it choose every key, the id of the event included.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import salt.config
import salt.minion
import salt.utils.reactor
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

REPO = Path(__file__).resolve().parent.parent.parent
JOIN, LEAVE = (f"salt://infra/orch/reactor/{name}.sls" for name in ("join", "leave"))
ACCEPTED = ("infra-1", "node-1", "db.example_1")
DELETED = "node-9"
RUN = {
    "state": "runner",
    "fun": "state.orchestrate",
    "name": "infra-reactor-events-processed",
    "__id__": "infra-reactor-events-processed",
    "args": [{"mods": "infra.orch.process_events"}],
}
INJECTED = "x:\n  local.cmd.run:\n    - tgt: '*'\n    - arg: [id]"
# Each names nobody, somebody else, several, or ends one thing and begins another.
TEXTS = [
    *("", " ", "*", "?", "node-?", "node-*", "[a-z]*", "node-[12]", ".", "..", "-", "_"),
    *("node-1,infra-1", "node-1, infra-1", "node-1 or *", "node-1 and not *", "not node-1"),
    *("E@.*", "G@os:Debian", "L@node-1", "L@node-1,infra-1", "S@0.0.0.0/0", "N@all", "I@a:*"),
    *("P@os:.*", "R@x", "J@a:.*", "( node-1 or * )", "node-1:", "node-1: x", "node-1 #", "#"),
    *("node-1\n", "\nnode-1", "node-1\r\n", "node-1\u2028x", "node-1\x85x", "node-1\x00"),
    *(f"node-1\n{INJECTED}", f"node-1-applied:\n{INJECTED}\ny", "node-1'\n- tgt: '*", '"', "'"),
    *('node-1"\n    - tgt: "*', "node-1\\", "{node-1}", "[node-1]", "&a node-1", "*a", "!!x"),
    *("{{ salt['cmd.run']('id') }}", "{% raw %}", "{#", "${jndi:x}", "$(id)", "`id`", "; id"),
    *("../node-1", "node-1/../infra-1", "/etc/passwd", "node-1/", "a\\b", "%2e%2e", "nod\u00e9-1"),
    *("node-1\u202e", "\u200bnode-1", "n" * 101, "n" * 100000, "-x", "node-1-", "~", "node-1\t"),
    *("\ufb01-1", "\uff4eode-1", "|"),
]
HOSTILE = [
    *TEXTS,
    *(None, True, False, 0, 1, 1.5, [], ["node-1"], ["*"], {}, {"node-1": 1}),
]


class Master:
    """Options, keys and the reactor of a master below a folder of its own."""

    def __init__(self, root, roots):
        self.opts = salt.config.apply_master_config(
            {"root_dir": str(root), "user": "root", "reactor": [], **roots}
        )
        self.pki = Path(self.opts["pki_dir"])
        self.cache = Path(self.opts["cachedir"])
        for folder in (self.pki / "minions", self.cache / "proc", Path(self.opts["sock_dir"])):
            folder.mkdir(parents=True)
        self.spool = self.cache / "infra_fleet"
        for minion_id in ACCEPTED:
            self.accept(minion_id)
        self.reactor = salt.utils.reactor.Reactor(self.opts)
        self.minion = salt.minion.MasterMinion(self.opts)

    def accept(self, minion_id):
        public = PUBLIC.read_text(encoding="utf-8")
        (self.pki / "minions" / minion_id).write_text(public, encoding="utf-8")

    def reset(self):
        shutil.rmtree(self.spool, ignore_errors=True)

    def reactions(self, sls, data):
        tag = "salt/key" if sls == LEAVE else "salt/minion/anything/start"
        return [
            {k: v for k, v in chunk.items() if k not in ("order", "__sls__")}
            for chunk in self.reactor.reactions(tag, data, [sls])
        ]

    def noted(self):
        """Ids that are to be seen to, and whether the INFRA nodes are to register."""
        if not self.spool.is_dir():
            return [], False
        names = sorted(path.name for path in (self.spool / "started").iterdir())
        return names, (self.spool / "register").exists()

    def compiled(self, sls, pillar):
        """High data of an orchestration; a list of errors where there are any."""
        pillar = {"infra": {"infra_hosts": {"infra-1": {}}}, **pillar}
        return self.minion.functions["state.show_sls"](sls, pillar=pillar)


PUBLIC = Path(__file__).parent / "golden" / "reactor" / "minion.pub"


@pytest.fixture(scope="module")
def master(formula_roots):
    with tempfile.TemporaryDirectory(prefix="sr-", dir="/tmp") as root:
        made = Master(root, formula_roots)
        yield made
        made.minion.destroy()


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Nothing is applied here, so that there is nothing to reset."""


@pytest.fixture(autouse=True)
def empty(master):
    master.reset()


def delete(minion_id, **more):
    return {"act": "delete", "result": True, "id": minion_id, **more}


def test_a_minion_that_starts_is_noted_and_one_run_is_requested(master):
    assert master.reactions(JOIN, {"id": "node-1", "cmd": "_minion_event"}) == [RUN]
    assert master.noted() == (["node-1"], False)


def test_a_key_that_was_deleted_is_noted_and_one_run_is_requested(master):
    assert master.reactions(LEAVE, delete(DELETED)) == [RUN]
    assert master.noted() == ([], True)


def test_hostile_ids_are_at_least_sixty():
    assert len({repr(value) for value in HOSTILE}) == len(HOSTILE) >= 60


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("sls", [JOIN, LEAVE])
def test_an_event_with_a_hostile_id_does_nothing(master, sls, value):
    assert master.reactions(sls, delete(value)) == []
    assert master.noted() == ([], False)


@pytest.mark.parametrize("data", [None, "", [], ["id"], 1, {}, {"data": {"id": "node-1"}}])
def test_an_event_of_another_form_does_nothing(master, data):
    assert master.reactions(JOIN, data) == []
    assert master.reactions(LEAVE, data) == []
    assert master.noted() == ([], False)


def test_the_id_inside_the_data_of_a_minion_is_not_used(master):
    master.reactions(JOIN, {"id": "node-1", "data": {"id": "infra-1"}, "tag": "x"})
    assert master.noted() == (["node-1"], False)


def test_a_start_of_a_minion_without_an_accepted_key_does_nothing(master):
    pending = master.pki / "minions_pre"
    pending.mkdir(exist_ok=True)
    shutil.copy(PUBLIC, pending / "node-7")
    for minion_id in ("node-7", "node-8"):
        assert master.reactions(JOIN, {"id": minion_id}) == []
    assert master.noted() == ([], False)


@pytest.mark.parametrize(
    "data",
    [
        delete("node-1"),  # forged: the key is accepted
        {**delete(DELETED), "act": "accept"},
        {**delete(DELETED), "act": "pend"},
        {**delete(DELETED), "result": False},
        {**delete(DELETED), "result": "x"},
        {"data": delete(DELETED), "id": DELETED},  # what `event.send` makes of it
    ],
)
def test_a_key_event_that_deletes_nothing_does_nothing(master, data):
    assert master.reactions(LEAVE, data) == []
    assert master.noted() == ([], False)


def test_a_storm_of_events_requests_one_run(master):
    runs = []
    for number in range(60):
        runs += master.reactions(JOIN, {"id": ACCEPTED[number % len(ACCEPTED)]})
        runs += master.reactions(LEAVE, delete(f"gone-{number}"))
    assert runs == [RUN]
    assert master.noted() == (sorted(ACCEPTED), True)


def test_what_a_run_that_never_began_was_to_do_is_requested_again(master):
    assert master.reactions(JOIN, {"id": "node-1"}) == [RUN]
    assert master.reactions(JOIN, {"id": "node-1"}) == []
    (master.spool / "requested").unlink()  # as after REQUESTED seconds
    assert master.reactions(JOIN, {"id": "node-1"}) == [RUN]


def test_a_folder_that_others_may_write_is_refused(master, caplog):
    master.spool.mkdir(mode=0o700)
    master.spool.chmod(0o777)
    assert master.reactions(JOIN, {"id": "node-1"}) == []
    assert "nobody else may write" in caplog.text
    master.reset()
    with tempfile.TemporaryDirectory() as elsewhere:
        master.spool.symlink_to(elsewhere)
        assert master.reactions(JOIN, {"id": "node-1"}) == []
        assert list(Path(elsewhere).iterdir()) == []
    master.spool.unlink()


def test_without_the_library_in_the_file_roots_nothing_is_run(master, monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "infra_formula_spool", raising=False)
    fetch = type(master.reactor.minion.functions).__getitem__

    def lookup(self, name):
        found = fetch(self, name)
        if name != "cp.cache_file":
            return found
        return lambda path, *a, **k: "" if "registration/spool.py" in path else found(path, *a, **k)

    monkeypatch.setattr(type(master.reactor.minion.functions), "__getitem__", lookup)
    assert master.reactions(JOIN, {"id": "node-1"}) == []
    assert "add the formula's _utils to the master's file_roots" in caplog.text


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
EVENTS = ANYTHING | st.fixed_dictionaries(
    {"id": ANYTHING | st.sampled_from([*ACCEPTED, DELETED])},
    optional={
        "act": st.sampled_from(["delete", "accept"]) | ANYTHING,
        "result": st.booleans() | ANYTHING,
        "data": ANYTHING,
        "tag": ANYTHING,
        "cmd": ANYTHING,
    },
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(sls=JOIN, data={"id": f"node-1\n{INJECTED}"})
@example(sls=LEAVE, data=delete(f"node-1\n{INJECTED}"))
@given(sls=st.sampled_from([JOIN, LEAVE]), data=EVENTS)
def test_whatever_an_event_holds_at_most_the_one_run_follows(master, sls, data):
    master.reset()
    assert master.reactions(sls, data) in ([], [RUN])
    started, _register = master.noted()
    assert set(started) <= set(ACCEPTED)


# -- orchestrations, which a person can call, too ------------------------------------------------


def steps_of(found):
    """Without the one that loads modules, where they were not synced before."""
    return {name: body for name, body in found.items() if name != "infra-orch-modules-loaded"}


def step(body):
    """Arguments of a step."""
    parts = body["infra_fleet"]
    return {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}


ORCHESTRATIONS = {"infra.orch.join": "infra_join", "infra.orch.leave": "infra_leave"}


@pytest.mark.parametrize(
    ("sls", "value"),
    # The check is the same, so that some do for the second.
    [("infra.orch.join", v) for v in HOSTILE] + [("infra.orch.leave", v) for v in HOSTILE[::6]],
    ids=lambda value: repr(value)[:30],
)
def test_an_orchestration_refuses_a_hostile_id_with_one_error(master, sls, value):
    found = master.compiled(sls, {ORCHESTRATIONS[sls]: value})
    assert isinstance(found, list), found
    (error,) = found
    assert f"Jinja error: {ORCHESTRATIONS[sls]}: expected the id of a minion" in error


@pytest.mark.parametrize("sls", ORCHESTRATIONS)
def test_an_orchestration_refuses_a_minion_without_an_accepted_key(master, sls):
    (error,) = master.compiled(sls, {ORCHESTRATIONS[sls]: "node-8"})
    assert "expected a minion whose key this master has accepted" in error


@pytest.mark.parametrize("minion_id", ACCEPTED)
@pytest.mark.parametrize("sls", ORCHESTRATIONS)
def test_an_orchestration_targets_that_minion_alone_and_the_infra_nodes(master, sls, minion_id):
    found = master.compiled(sls, {ORCHESTRATIONS[sls]: minion_id})
    assert isinstance(found, dict), found
    verb = "applied" if sls.endswith("join") else "cleaned"
    steps = {name: step(body) for name, body in steps_of(found).items()}
    assert set(steps) == {f"infra-orch-{minion_id}-{verb}", "infra-orch-machines-registered"}
    alone = steps[f"infra-orch-{minion_id}-{verb}"]
    assert (alone["tgt"], alone["tgt_type"]) == ([minion_id], "list")
    registered = steps["infra-orch-machines-registered"]
    assert (registered["tgt"], registered.get("tgt_type")) == ("L@infra-1", None)


@pytest.mark.parametrize("sls", ["infra.orch.register", "infra.orch.deploy"])
@pytest.mark.parametrize("key", ["infra-1 or *", "infra-1,node-1", f"infra-1\n{INJECTED}", "*"])
def test_a_key_of_infra_hosts_names_one_machine(master, sls, key):
    (error,) = master.compiled(sls, {"infra": {"infra_hosts": {key: {"infra_seq": 1}}}})
    assert "infra_hosts: expected minion ids or addresses as keys, got" in error


@pytest.mark.parametrize("given", [{}, {"test": False}, {"test": True}])
def test_a_step_of_a_deployment_looks_only_whenever_the_whole_run_does(master, given):
    """An argument ``test`` of false would win over the ``test=True`` of the command line."""
    hosts = {"infra-1": {"infra_seq": 1}}
    found = master.compiled(
        "infra.orch.deploy", {"infra": {"infra_hosts": hosts}, "infra_deploy": given}
    )
    steps = {name: step(body) for name, body in steps_of(found).items()}
    assert len(steps) == 4
    for name, arguments in steps.items():
        assert "test" not in arguments, name
        if name != "infra-orch-clients-answered":
            expected = {"test": True} if given.get("test") else {}
            assert arguments["arguments"] == expected, name


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"missing": "ignore"}, "infra_deploy.missing: expected fail or warn, got"),
        ({"missing": True}, "infra_deploy.missing: expected fail or warn, got"),
        ({"batch": "many"}, "infra_deploy.batch: expected a number or a share like 25%, got"),
        ({"batch": 0}, "infra_deploy.batch: expected a number or a share like 25%, got"),
        ({"from": "middle"}, "infra_deploy.from: expected one of infra, clients, register, got"),
        ({"tgt": ["node-1"]}, "infra_deploy.tgt: expected a compound target, got"),
        ({"tgt": " "}, "infra_deploy.tgt: expected a compound target, got"),
        ({"test": "yes"}, "infra_deploy.test: expected true or false, got"),
        ({"timeout": 0}, "infra_deploy.timeout: expected seconds, at least 1, got"),
        ({"timeout": True}, "infra_deploy.timeout: expected seconds, at least 1, got"),
        ({"mising": "warn"}, "infra_deploy: expected one of from, batch, tgt, test, missing, "),
    ],
    ids=str,
)
def test_a_setting_of_a_deployment_that_is_not_valid_is_one_error(master, given, error):
    for name in ("deploy", "register"):
        (found,) = master.compiled(f"infra.orch.{name}", {"infra_deploy": given})
        assert error in found


@pytest.mark.parametrize("value", ["warn", ["missing"], 5])
def test_settings_of_a_deployment_are_a_mapping(master, value):
    (found,) = master.compiled("infra.orch.deploy", {"infra_deploy": value})
    assert "infra_deploy: expected a mapping, got" in found
