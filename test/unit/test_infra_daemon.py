"""The pure part of what the daemons share, and its states on a machine that is made up."""

import logging
import re
import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from infra_formula import process, systemd, templates
from infra_formula.daemon import checks, data_removal, flags, health, installation, unit_files
from infra_formula.daemon import parameters as daemon_parameters
from infra_formula.fileset.file_set import FilePlan, FileSet
from infra_formula.monitoring import cluster, remote_write, storage_nodes
from infra_formula.parameters import merging, site
from infra_formula.parameters.site import Site
from salt.exceptions import CommandExecutionError, SaltInvocationError
from support.doubles import double

from _states import infra_daemon as states

REPO = Path(__file__).resolve().parents[2]
ROWS = {name: row for name, row, _component in site.daemon_rows()}
TEMPLATE = (REPO / "infra/daemon/files/unit.service.j2").read_text(encoding="utf-8")


def daemon(**changes):
    return {
        "name": "vmetrics",
        "title": "VictoriaMetrics",
        "unit": "vmetrics",
        "user": "victoria",
        "program": "/usr/bin/victoria-metrics",
        "flags": [
            {"text": "-httpListenAddr=:8428", "template": "-httpListenAddr=:{vmetrics_port}"},
            {"text": "-retentionPeriod=15d", "template": "-retentionPeriod={vmetrics_retention}"},
        ],
        "options": "",
        "options_parameter": "vmetrics_options",
        "version": "-version",
        "port": 8428,
        "port_parameter": "vmetrics_port",
        "health": "/health",
        "reload": {},
        "after": [],
        "writes": ["/data/infra/metrics"],
        "writes_parameter": "infra_data",
        "service": {},
        **changes,
    }


@pytest.fixture
def configure_loader_modules():
    names = ("__salt__", "__grains__", "__context__")
    return {states: {**{name: {} for name in names}, "__opts__": {"test": False}}}


# -- flags ---


def test_options_come_behind_our_flags():
    found = flags.command_line(daemon(options="-search.maxSeries=5"))
    assert found[1:] == ["-httpListenAddr=:8428", "-retentionPeriod=15d", "-search.maxSeries=5"]


def test_an_option_takes_the_place_of_our_flag_of_its_name():
    found = flags.command_line(daemon(options="--retentionPeriod=30d -x"))
    assert found[1:] == ["-httpListenAddr=:8428", "--retentionPeriod=30d", "-x"]


@pytest.mark.parametrize("options", ["-a='b", "-a=\nb", '-a="b"', "-a=$HOME", "-a=\\b", None, 3])
def test_options_that_are_no_arguments_are_refused_by_name(options):
    with pytest.raises(SaltInvocationError, match="vmetrics_options: expected arguments"):
        flags.command_line(daemon(options=options))


WORDS = st.text(st.characters(exclude_characters="\\\"$`'", categories=("L", "N", "P", "S", "Zs")),
                min_size=1, max_size=12)  # fmt: skip


@given(st.lists(WORDS.map(lambda w: "-o=" + w), max_size=5))
def test_what_systemd_reads_is_what_was_asked_for(words):
    options = " ".join(shlex.quote(w) for w in words)
    if flags.options_problem(options):
        return
    wanted = daemon(options=options, flags=[])
    env = unit_files.files(wanted, TEMPLATE)["default/vmetrics"]["text"]
    (line,) = [x for x in env.split("\n") if x.startswith("VMETRICS_OPTS=")]
    # systemd takes the outer quotes off, then splits at blanks with single quotes respected.
    assert shlex.split(line.removeprefix('VMETRICS_OPTS="')[:-1]) == shlex.split(options)


def systemd_words(text):
    """Arguments of ``$VARIABLE`` in a unit, as systemd reads an environment file and splits it.

    parse_env_file() of env-file.c takes a backslash off what a shell needs it for, in double
    quotes; extract_first_word() with EXTRACT_UNQUOTE takes each backslash off, in quotes too.
    """
    value = re.sub(r'\\([\\"$`])', r"\1", text)
    words, word, quote, escaped = [], None, "", False
    for character in value:
        if escaped:
            word, escaped = (word or "") + character, False
        elif character == "\\":
            word, escaped = word or "", True
        elif quote:
            quote, word = ("", word) if character == quote else (quote, word + character)
        elif character in "'\"":
            quote, word = character, word or ""
        elif character in " \t":
            words, word = [*words, *([] if word is None else [word])], None
        else:
            word = (word or "") + character
    return [*words, *([] if word is None else [word])]


ANY_WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
REGEX = r'--collector.filesystem.mount-points-exclude=^/(dev|proc|run/"x y"|\w+\.d)($|/)'


@given(st.lists(ANY_WORDS.map(lambda word: "-o=" + word), max_size=5))
@example([REGEX, "-o='", "-o=`${HOME}`", "-o=;", "-o= "])
def test_a_list_of_arguments_may_have_any_character(words):
    wanted = daemon(options=words, flags=[])
    assert flags.command_line(wanted)[1:] == words
    env = unit_files.files(wanted, TEMPLATE)["default/vmetrics"]["text"]
    (line,) = [x for x in env.split("\n") if x.startswith("VMETRICS_OPTS=")]
    text = line.removeprefix('VMETRICS_OPTS="')[:-1]
    assert not re.search(r'(?<!\\)(\\\\)*[$`"]', text)  # the file's quotes end at its end
    assert systemd_words(text) == words


def test_a_list_is_refused_by_name_where_it_holds_no_arguments():
    with pytest.raises(SaltInvocationError, match=r"vmetrics_options: .* number 2"):
        flags.command_line(daemon(options=["-a", "-b\nc"]))
    with pytest.raises(SaltInvocationError, match="a list of arguments may have any of them"):
        flags.command_line(daemon(options="-a=$"))


def test_an_option_is_added_to_a_flag_that_a_program_takes_several_times():
    ours = [{"text": "-rule=/ours/*.yml", "template": "x", "repeatable": True}]
    found = flags.command_line(daemon(flags=ours, options="-rule=/theirs/*.yml"))
    assert found[1:] == ["-rule=/ours/*.yml", "-rule=/theirs/*.yml"]


def test_an_option_that_excludes_a_flag_leaves_it_out():
    ours = [{"text": "-notifier.blackhole", "template": "x", "unless": ["notifier.url"]}]
    assert flags.command_line(daemon(flags=ours, options=""))[1:] == ["-notifier.blackhole"]
    found = flags.command_line(daemon(flags=ours, options="-notifier.url=http://a/"))
    assert found[1:] == ["-notifier.url=http://a/"]


def test_options_by_their_names():
    options = "-rule=/a --rule.x=1 -external.label b=c -other d -external.url=e"
    found = flags.options_named(options, "rule.", "external.")
    assert found == ["--rule.x=1", "-external.label", "b=c", "-external.url=e"]
    assert flags.options_named(["--rule.x", "a b"], "rule.") == ["--rule.x", "a b"]


# -- units ---


def test_a_unit_is_hardened_and_a_daemon_can_say_otherwise():
    own = {"CapabilityBoundingSet": "CAP_NET_RAW", "ProtectHome": "read-only", "PrivateTmp": None}
    unit = unit_files.files(daemon(service=own), TEMPLATE)["systemd/system/vmetrics.service"]
    lines = unit["text"].splitlines()
    assert "User=victoria" in lines
    assert "ExecStart=/usr/bin/victoria-metrics $VMETRICS_OPTS" in lines
    assert "ReadWritePaths=/data/infra/metrics" in lines
    assert "ProtectSystem=strict" in lines
    assert "CapabilityBoundingSet=CAP_NET_RAW" in lines
    assert "ProtectHome=read-only" in lines
    assert not [line for line in lines if line.startswith("PrivateTmp")]
    assert call_filter(lines)[0].startswith("~@clock ")


def call_filter(lines):
    """Values of SystemCallFilter in a unit, in their order."""
    return [x.partition("=")[2] for x in lines if x.startswith("SystemCallFilter=")]


def test_no_unit_has_a_list_of_allowed_system_calls():
    # systemd takes the first value as the kind of the list: what is allowed, or (~) what is denied.
    for name, row in ROWS.items():
        wanted = daemon(name=name, unit=row["unit"], service=row.get("service", {}))
        unit = unit_files.files(wanted, TEMPLATE)[f"systemd/system/{row['unit']}.service"]
        first, *later = call_filter(unit["text"].splitlines())
        assert first.startswith("~"), name
        assert not [value for value in later if value.startswith("~")], name
        groups = first[1:].split()
        wanted = {"@clock", "@debug", "@module", "@mount", "@privileged", "@raw-io", "@reboot"}
        assert wanted <= set(groups), name


def test_a_call_that_a_daemon_needs_is_taken_off_the_list_of_denied_calls():
    unit = unit_files.files(daemon(service={"SystemCallFilter": "adjtimex"}), TEMPLATE)
    lines = unit["systemd/system/vmetrics.service"]["text"].splitlines()
    assert call_filter(lines)[0].startswith("~@clock ")
    assert call_filter(lines)[1:] == ["adjtimex"]


def test_every_row_names_what_it_needs():
    for name, row in ROWS.items():
        missing = {"title", "unit", "user", "port", "health", "version", "flags"} - set(row)
        assert not missing, name


def _own_site():
    grains = {"id": "infra-1", "ipv4": ["10.0.0.1"], "os_family": "Debian"}
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
    return Site({**merging.defaults(grains), "infra_hosts": hosts, "admin_ip": "10.0.0.1"}, grains)


def test_every_parameter_of_a_row_is_one():
    defaults = yaml.safe_load((REPO / "infra/defaults.yaml").read_text(encoding="utf-8"))
    computed = {"address", "each", "portal_url", "log_link", "dedup_interval"}
    computed |= {
        *remote_write.flag_values(_own_site()),
        *cluster.flag_values(_own_site()),
        *storage_nodes.flag_values(_own_site(), {}),
        "write_url",
    }
    for name, row in ROWS.items():
        for flag in row["flags"]:
            text = flag if isinstance(flag, str) else flag["flag"]
            unknown = set(flags.parameters_in(text)) - set(defaults) - computed
            assert not unknown, name
        for key in ("switch", "port", "options"):
            assert row.get(key, "admin_ip") in defaults, (name, key)


@pytest.mark.parametrize("packaging", ["distro", "upstream"])
@pytest.mark.parametrize("family", ["Debian", "RedHat"])
def test_every_daemon_has_a_program_in_each_packaging(packaging, family):
    here = Site({"infra_packaging": packaging}, {"os_family": family})
    for name, row in ROWS.items():
        assert here.of_packaging(row["program"]).startswith("/"), name
        assert isinstance(here.of_packaging(row["packages"]), list), name


def test_what_has_no_package_is_told_with_the_switch_that_turns_it_off():
    grains = {"id": "infra-1", "os_family": "Debian"}
    parameters = {name: value for name, value in merging.defaults(grains).items()}
    for name in ("vtraces", "grafana", "vector"):
        parameters[f"{name}_enabled"] = False
    here = Site({**parameters, "infra_packaging": "distro", "vlogs_enabled": True}, grains)
    (message,) = daemon_parameters.package_problems(here)
    assert message.startswith("vlogs_enabled: expected false with infra_packaging: distro")


# -- what runs ---


def runs(**changes):
    command = flags.command_line(daemon())
    return {"active": True, "replaced": False, "command": command, "reload": False, **changes}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, ""),
        ({"active": False, "command": []}, ""),
        ({"replaced": True}, "its program was upgraded"),
        ({"command": ["/usr/bin/victoria-metrics", "-x"]}, "it runs with other flags"),
        ({"command": ["/usr/bin/python3", *flags.command_line(daemon())]}, ""),
        ({"reload": True}, "its unit changed"),
    ],
)
def test_what_runs_is_compared_with_what_is_asked_for(found, why):
    assert health.restart_reason(daemon(), runs(**found)) == why


def test_a_complaint_of_two_lines_is_quoted_whole():
    said = "Checking 'x'  FAILED: yaml: unmarshal errors:\n  line 14: field a not found in type b\n"
    assert "field a not found" in checks.extract_error_lines(said)


def test_of_a_programs_words_those_that_complain_are_quoted():
    said = "info starting\nflag provided but not defined: -x\nusage of it\n  -y int\n"
    assert checks.extract_error_lines(said) == "flag provided but not defined: -x"


@pytest.mark.parametrize("status", [0, 3])
def test_what_a_program_says_of_a_file_is_about_the_name_that_is_known(monkeypatch, caplog, status):
    run = double(monkeypatch, process, "run", side_effect=process.run)
    caplog.set_level(logging.DEBUG)
    script = f'cat "$0"; stat -c %a "$(dirname "$0")"; echo "$0: bad" >&2; exit {status}'
    good, told = checks.run_check(["sh", "-c", script, "{path}"], "logs/a.yml", "hush {path}\n")
    assert good is (status == 0)
    assert told == "logs/a.yml: bad\nhush {path}\n700"
    assert not Path(run.call_args.args[0][-1]).exists()
    assert script in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize("refused", ["-noSuchFlag", "-retentionPeriod=15d"])
def test_a_refused_flag_names_its_parameter(monkeypatch, refused):
    monkeypatch.setattr(flags.salt.utils.path, "which", lambda name: name)

    def run(command, **_):
        bad = refused in command
        return {"retcode": 2 * bad, "stdout": "", "stderr": f"error: unknown {refused}" * bad}

    double(monkeypatch, process, "run", side_effect=run)
    options = "-noSuchFlag" if refused == "-noSuchFlag" else ""
    named = "vmetrics_options" if options else "vmetrics_retention"
    with pytest.raises(CommandExecutionError, match=f"^{named}: "):
        flags.validate_flags(daemon(options=options))


# -- states ---


MANIFEST = "/var/lib/infra/manifest/daemon-vmetrics.json"


def compared(**more):
    """What FileSet.plan returns."""
    plan = FilePlan(FileSet("daemon-vmetrics", "/nowhere"), {}, **more)
    plan.diff = {rel: "- a\n+ b" for rel in plan.change}
    if plan.pending or plan.damaged:
        plan.diff[MANIFEST] = "corrupt" if plan.damaged else "interrupted"
    return plan


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine on which the daemon is configured and runs; tests change what it tells."""
    monkeypatch.setattr(installation, "ROOT", str(tmp_path))
    (tmp_path / "default").mkdir()
    (tmp_path / "default/vmetrics").write_text("VMETRICS_OPTS='-other'\n")
    returns = {
        (templates, "read"): TEMPLATE,
        (systemd, "unit_state"): runs(),
        (flags, "validate_flags"): None,
        (health, "port_problem"): "",
        (health, "restart"): None,
        (systemd, "systemctl"): None,
        (FileSet, "managed_files"): {"default/vmetrics": "x"},
        (FileSet, "plan"): compared(change=["default/vmetrics"]),
    }
    doubles = {
        name: double(monkeypatch, module, name, return_value=value)
        for (module, name), value in returns.items()
    }
    reloaded = lambda _plan, *, reload: reload()  # noqa: E731
    doubles["apply"] = double(monkeypatch, FilePlan, "apply", side_effect=reloaded)
    return doubles


@pytest.mark.parametrize("test", [True, False])
def test_a_change_restarts_what_runs(machine, monkeypatch, test):
    monkeypatch.setattr(states, "__opts__", {"test": test})
    ret = states.configured("vmetrics", daemon())
    assert ret["result"] is (None if test else True)
    assert ret["changes"]["vmetrics"] == "restarted: its files changed"
    assert machine["restart"].called is not test


LATER = {"text": "--push=5s", "template": "--push=5s", "at_next_start": True}
MORE = {"text": "--more=1", "template": "--more=1"}


@pytest.mark.parametrize(
    ("ran_with", "options", "restarted"),
    [
        ([], "", False),  # one that is new in a release waits for the next start
        (["--push=5s"], "", False),
        (["--push=9s"], "", True),
        ([], "--push=9s", True),  # the site asks for it
        (["--less=1"], "", True),
        (["--push=5s", "--less=1"], "", True),
    ],
)
def test_a_flag_may_wait_for_the_next_start(machine, tmp_path, ran_with, options, restarted):
    before = daemon()
    before["flags"] += [{"text": text, "template": text} for text in ran_with]
    for rel, file in unit_files.files(before, TEMPLATE).items():
        path = tmp_path / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["text"])
    wanted = daemon(options=options)
    wanted["flags"] += [LATER]
    found = runs(command=flags.command_line(before))
    assert bool(health.restart_reason(wanted, found)) is restarted
    desired = unit_files.files(wanted, TEMPLATE)["default/vmetrics"]["text"]
    current = (tmp_path / "default/vmetrics").read_text()
    assert unit_files.requires_restart(current, desired, wanted) is restarted


def test_a_flag_that_waits_does_not_keep_another_from_its_restart():
    wanted = daemon()
    wanted["flags"] += [LATER, MORE]
    assert health.restart_reason(wanted, runs()) == "it runs with other flags"


UNIT_FILE = "systemd/system/vmetrics.service"


@pytest.mark.parametrize(
    ("change", "restarted"),
    [
        (("SystemCallFilter=", "SystemCallFilter=@system-service\nSystemCallFilter=~"), False),
        (("NoNewPrivileges=yes", "NoNewPrivileges=no"), True),
        (("ExecStart=/usr/bin/", "ExecStart=/opt/"), True),
        (None, True),
    ],
)
def test_a_change_of_the_system_call_filter_alone_restarts_nothing(
    machine, tmp_path, change, restarted
):
    path = tmp_path / UNIT_FILE
    path.parent.mkdir(parents=True)
    if change:
        text = unit_files.files(daemon(), TEMPLATE)[UNIT_FILE]["text"]
        assert change[0] in text
        path.write_text(text.replace(*change))
    else:
        path.symlink_to("nowhere")
    machine["plan"].return_value = compared(change=[UNIT_FILE])
    ret = states.configured("vmetrics", daemon())
    assert ret["result"] is True
    assert UNIT_FILE in ret["changes"]
    assert ("vmetrics" in ret["changes"]) is restarted
    assert machine["restart"].called is restarted
    assert machine["systemctl"].called is not restarted


def test_what_an_interrupted_run_left_is_taken_up(machine):
    machine["plan"].return_value = compared(pending=True)
    ret = states.configured("vmetrics", daemon())
    assert ret["changes"] == {
        MANIFEST: "interrupted",
        "vmetrics": "restarted: its files changed",
    }
    machine["restart"].assert_called_once()


def test_a_damaged_manifest_is_nothing_to_restart_a_daemon_for(machine):
    machine["plan"].return_value = compared(damaged=True)
    assert states.configured("vmetrics", daemon())["result"] is True
    machine["apply"].assert_called_once()
    machine["restart"].assert_not_called()


def test_what_does_not_run_is_not_started_here(machine):
    machine["unit_state"].return_value = runs(active=False, command=[])
    assert states.configured("vmetrics", daemon())["result"] is True
    machine["restart"].assert_not_called()


def test_nothing_to_do_does_nothing(machine):
    machine["plan"].return_value = compared()
    assert states.configured("vmetrics", daemon()) == {
        "name": "vmetrics",
        "changes": {},
        "result": True,
        "comment": "vmetrics is up to date.",
    }
    machine["apply"].assert_not_called()


def test_files_that_are_there_but_not_recorded_are_recorded(machine):
    machine["plan"].return_value = compared()
    machine["managed_files"].return_value = {}
    ret = states.configured("vmetrics", daemon())
    assert (ret["result"], list(ret["changes"])) == (True, ["vmetrics"])
    machine["apply"].assert_called_once()
    machine["restart"].assert_not_called()


@pytest.mark.parametrize("asked", ["validate_flags", "port_problem"])
def test_a_fault_found_beforehand_changes_nothing(machine, asked):
    machine["port_problem"].return_value = "vmetrics_port: taken"
    if asked == "validate_flags":
        machine["port_problem"].return_value = ""
        machine[asked].side_effect = CommandExecutionError("vmetrics_port: taken")
    ret = states.configured("vmetrics", daemon())
    assert ret["result"] is False
    assert ret["changes"] == {}
    assert ret["comment"] == "vmetrics_port: taken"
    machine["apply"].assert_not_called()


def test_a_fault_at_the_restart_is_the_comment(machine):
    machine["restart"].side_effect = CommandExecutionError("it says: no")
    ret = states.configured("vmetrics", daemon())
    assert (ret["result"], ret["changes"], ret["comment"]) == (False, {}, "it says: no")


# -- a unit of the package's own ---

DROPIN = (REPO / "infra/daemon/files/dropin.conf.j2").read_text(encoding="utf-8")


def test_a_unit_of_the_package_s_is_hardened_by_a_drop_in_and_keeps_its_command():
    row = ROWS["grafana"]
    own = daemon(name="grafana", unit="grafana-server", use_package_unit=True, flags=[], options="",
                 writes=row["writable_paths"], service=row["service"])  # fmt: skip
    ((path, spec),) = unit_files.files(own, DROPIN).items()
    assert path == "systemd/system/grafana-server.service.d/infra.conf"
    lines = spec["text"].splitlines()
    assert "ReadWritePaths=/var/lib/grafana /var/log/grafana" in lines
    assert "ProtectSystem=strict" in lines
    assert not [line for line in lines if line.startswith(("ExecStart", "User", "Memory"))]


def test_its_flags_are_its_own_and_an_upgrade_is_noticed_all_the_same():
    own = daemon(use_package_unit=True, flags=[])
    found = {"active": True, "replaced": False, "command": ["grafana", "server"], "reload": False}
    assert health.restart_reason(own, found) == ""
    assert health.restart_reason(own, {**found, "replaced": True}) == "its program was upgraded"
    flags.validate_flags({**own, "program": "/bin/false"})  # does not raise


@pytest.fixture
def store(monkeypatch, tmp_path):
    """A directory of data, and what is remembered of its destruction."""
    memory = {}
    double(monkeypatch, data_removal, "recorded", side_effect=memory.get)
    double(monkeypatch, data_removal, "record", side_effect=memory.__setitem__)
    double(monkeypatch, systemd, "systemctl")
    (tmp_path / "day").mkdir()
    (tmp_path / "day/rows").write_text("x")
    return tmp_path


def cleaned(path, clean=True, confirm=None):
    return states.cleaned("vlogs", [str(path)], "vlogs", clean, confirm or "")


@pytest.mark.parametrize("confirm", ["", "yes", "/data/infra"])
def test_data_is_kept_unless_it_is_named(store, confirm):
    ret = cleaned(store, confirm=confirm)
    assert ret["result"] is False
    assert f"vlogs_clean_confirm: {store}" in ret["comment"]
    assert (store / "day/rows").exists()


def test_data_is_destroyed_once(store):
    assert cleaned(store, confirm=str(store))["changes"]
    assert list(store.iterdir()) == []
    (store / "new").write_text("x")
    assert cleaned(store, confirm=str(store))["changes"] == {}
    assert (store / "new").exists()


def test_a_database_that_is_named_goes_with_what_lies_beside_it(store):
    for name in ("grafana.db", "grafana.db-wal", "other.db"):
        (store / name).write_text("x")
    assert cleaned(store / "grafana.db", confirm=str(store / "grafana.db"))["result"] is True
    assert sorted(path.name for path in store.iterdir()) == ["day", "other.db"]


def test_in_a_test_run_data_is_kept(store, monkeypatch):
    monkeypatch.setattr(states, "__opts__", {"test": True})
    assert cleaned(store, confirm=str(store))["result"] is None
    assert (store / "day/rows").exists()


@pytest.mark.parametrize("test", [True, False])
def test_what_is_switched_off_is_stopped_and_nothing_else(monkeypatch, test):
    there = {"daemon-vlogs": ["default/vlogs"]}
    removed = lambda file_set, **_: there.get(file_set.name, [])  # noqa: E731
    double(monkeypatch, FileSet, "remove", side_effect=removed)
    systemctl = double(monkeypatch, systemd, "systemctl")
    monkeypatch.setattr(states, "__opts__", {"test": test}, raising=False)
    off = [{"name": "vlogs", "unit": "vlogs"}, {"name": "vtraces", "unit": "vtraces"}]
    ret = states.switched_off("off", off)
    assert ret["changes"] == {"vlogs": "switched off"}
    stopped = [c.args for c in systemctl.mock_calls if "--now" in c.args]
    assert stopped == ([] if test else [("disable", "--now", "vlogs.service")])


# What each release of the blackbox exporter prints of its flag, and what the flag does there:
# 0.23 has none; 0.25 logs nothing of probes by default; 0.26 and 0.28 log all that a probe does; in
# 0.27 the flag is no threshold but the level that these lines get: `warn` would show all of them.
BLACKBOX_HELP = {
    "0.23": ("      --log.level=info           Only log messages with the given severity", False),
    "0.25": (
        '      --log.prober="none"        Log level from probe requests. One of',
        False,
    ),
    "0.26": (
        '      --log.prober="info"        Log level from probe requests. One of',
        True,
    ),
    "0.27": ('      --log.prober="debug"       Log level for probe request logs.', False),
    "0.28": ('      --log.prober="info"        Log level for probe request logs.', True),
}


@pytest.mark.parametrize("release", BLACKBOX_HELP)
def test_probes_are_quiet_by_a_flag_only_where_they_are_loud_without(monkeypatch, release):
    text, wanted = BLACKBOX_HELP[release]
    row = ROWS["blackbox"]
    conditional = [f for f in row["flags"] if isinstance(f, dict) and "help" in f]
    assert [f["flag"] for f in conditional] == ["--log.prober=error"]
    rows = [{"text": "--a", "template": "--a"}]
    rows += [{"text": f["flag"], "template": f["flag"], "help": f["help"]} for f in conditional]
    double(monkeypatch, process, "run", return_value={"retcode": 0, "stdout": "", "stderr": text})
    monkeypatch.setattr(flags.salt.utils.path, "which", lambda name: name)
    asked = flags.with_supported_flags(daemon(flags=rows))
    assert flags.command_line(asked)[1:] == ["--a", *(["--log.prober=error"] if wanted else [])]
    # An option of the site's takes the place of the flag, as of any other.
    own = {**asked, "options": "--log.prober=debug"}
    assert flags.command_line(own)[1:] == ["--a", "--log.prober=debug"]


def test_a_program_that_is_not_installed_is_not_asked_and_gets_no_conditional_flag(monkeypatch):
    run = double(monkeypatch, process, "run")
    monkeypatch.setattr(flags.salt.utils.path, "which", lambda name: None)
    own = daemon(flags=[{"text": "--x", "template": "--x", "help": "x"}])
    assert flags.command_line(flags.with_supported_flags(own))[1:] == []
    assert flags.command_line(own)[1:] == []  # nor where nobody asked
    run.assert_not_called()
