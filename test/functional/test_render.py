"""Every SLS renders on every platform, and the map is what its golden file says.

A golden file that has to change is written anew with INFRA_GOLDEN=write in the environment, and
its difference read before it is committed.
"""

import copy
import json
import os
from pathlib import Path

import pytest
import salt.loader
import salt.state
import vector_samples
import vrl
import yaml
from infra_formula.parameters import site, validation
from lab.standins import vector_reference
from saltfactories.utils.functional import Loaders

REPO = Path(__file__).resolve().parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
PILLAR = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))["infra"]
COMPONENTS = yaml.safe_load((REPO / "infra" / "components.yaml").read_text(encoding="utf-8"))
CERTBOT = {"certbot_email": "ops@example.org"}
SWITCHES = {row["switch"]: True for row in COMPONENTS if "switch" in row}
PLATFORMS = {
    f"{name}-{release}": {
        "os": os_name,
        "os_family": family,
        "osmajorrelease": int(release.partition(".")[0]),
        "osrelease": release,
        "oscodename": codename,
    }
    for name, os_name, family, release, codename in (
        ("debian", "Debian", "Debian", "12", "bookworm"),
        ("debian", "Debian", "Debian", "13", "trixie"),
        ("ubuntu", "Ubuntu", "Debian", "22.04", "jammy"),
        ("ubuntu", "Ubuntu", "Debian", "24.04", "noble"),
        ("el", "Rocky", "RedHat", "8", ""),
        ("el", "Rocky", "RedHat", "9", ""),
        ("el", "AlmaLinux", "RedHat", "10", ""),
    )
}  # fmt: skip
# infra/orch runs on the master; its tests are those of the fleet.
SLS = sorted(
    str(path.relative_to(REPO).with_suffix("")).replace("/", ".").removesuffix(".init")
    for path in (REPO / "infra").rglob("*.sls")
    if "orch" not in path.parts
)


@pytest.fixture(scope="module", params=list(PLATFORMS))
def platform(request):
    return request.param


@pytest.fixture(scope="module")
def loaders(salt_factories, formula_roots, platform):
    grains = PLATFORMS[platform]
    grains = {**grains, "selinux": {"enabled": grains["os_family"] == "RedHat"}, "init": "systemd"}
    factory = salt_factories.salt_minion_daemon(
        f"infra-1-{platform}",
        overrides={"file_client": "local", "grains": grains, **formula_roots},
    )
    return Loaders(
        factory.config.copy(), loaded_base_name=f"{__name__}.{platform}".replace("-", "_")
    )


def pillar(loaders, packaging, infra_node=True):
    hosts = {loaders.opts["id"]: {"infra_seq": 1}} if infra_node else {"10.9.9.9": {"infra_seq": 1}}
    infra = {**PILLAR, "infra_packaging": packaging, "infra_hosts": hosts, "infra_safeguard": False}
    return {"infra": {**infra, **unavailable(loaders, packaging)}}


def unavailable(loaders, packaging):
    """Switches of what a packaging does not have on this platform."""
    return {
        component["switch"]: False
        for _name, row, component in site.daemon_rows()
        if not site.Site({"infra_packaging": packaging}, loaders.grains).of_packaging(
            row["packages"]
        )
    }


def low(modules, sls, pillar):
    found = modules.state.show_low_sls(sls, pillar=pillar)
    assert isinstance(found, list), (sls, found)
    assert [chunk for chunk in found if not isinstance(chunk, dict)] == [], sls
    return found


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Nothing is applied here, so that there is nothing to reset."""


@pytest.mark.parametrize(("packaging", "node"), [("upstream", True), ("distro", False)])
def test_what_is_applied_renders_and_its_ids_are_of_the_house(loaders, modules, packaging, node):
    given = pillar(loaders, packaging, node)["infra"]
    everything = {**given, **SWITCHES, **unavailable(loaders, packaging), **CERTBOT}
    found = low(modules, "infra", {"infra": everything})
    assert {chunk["__id__"].split("-")[0] for chunk in found} == {"infra"}
    assert len({(c["state"], c["fun"], c["__id__"], c["name"]) for c in found}) == len(found)
    check_conditions(found)
    check_vector(found)


def check_conditions(chunks):
    """No state has a condition of Salt's own: to look for one, Salt loads all modules it has."""
    conditions = {"onlyif", "unless", "creates"}
    assert [c["__id__"] for c in chunks if conditions & c.keys()] == []


def check_vector(chunks):
    """What Vector is given is as its reference says, and its programs compile."""
    (chunk,) = [c for c in chunks if (c["state"], c["fun"]) == ("infra_vector", "managed")] or [
        None
    ]
    if chunk is None:
        return
    config = vector_samples.of_state(chunk)
    assert vector_reference.problems(config) == []
    for path, program in vrl.programs(config).items():
        assert [
            engine.problem(program) for engine in vrl.ENGINES if engine.problem(program)
        ] == [], path


def unmet(chunks):
    """Requisites of an SLS that nothing in it or in what it includes meets."""
    # Salt 3006 knows no SLS that has nothing but includes.
    known = {("sls", chunk["__sls__"]) for chunk in chunks}
    known |= {(chunk["state"], chunk[key]) for chunk in chunks for key in ("__id__", "name")}
    return {
        (chunk["__id__"], kind, wanted)
        for chunk in chunks
        for kind in ("require", "watch", "onchanges", "onfail", "listen", "prereq")
        for requisite in chunk.get(kind, [])
        for wanted in requisite.items()
        if wanted not in known
    }


def sequence(chunks):
    """IDs in the order in which they run: by number, after what they require."""
    found, by_id = [], {}
    for chunk in chunks:
        by_id.setdefault((chunk["state"], chunk["__id__"]), []).append(chunk)

    def run(chunk):
        if chunk["__id__"] in found:
            return
        for requisite in chunk.get("require", []):
            for key in requisite.items():
                for needed in by_id.get(key, ()):
                    run(needed)
        found.append(chunk["__id__"])

    for chunk in chunks:
        run(chunk)
    return found


FOLLOWERS = {
    ("infra_register", "targets"): "infra-register-targets-managed",
    ("infra_register", "named"): "infra-register-names-managed",
    ("infra_portal", "pages"): "infra-nginx-pages-managed",
    ("infra_portal", "managed"): "infra-nginx-portal-managed",
}


@pytest.mark.parametrize("platform", ["debian-12", "el-9"], indirect=True)
def test_what_follows_the_inventory_is_applied_once_after_it_and_alone_by_infra_register(
    loaders, modules
):
    given = {"infra": {**pillar(loaders, "upstream")["infra"], **SWITCHES, **CERTBOT}}
    whole, alone = (low(modules, sls, given) for sls in ("infra", "infra.register"))
    order = sequence(whole)
    place = {name: order.index(name) for name in order}
    # What others wait for is published before the repository is built, which takes minutes; what
    # others publish meanwhile is found, since it is looked for when the daemons run.
    assert place["infra-register-facts-published"] < place["infra-repo-archive-unpacked"]
    inventory = place["infra-register-inventory-managed"]
    daemons = [name for name in order if name.endswith("-service-healthy")]
    assert len(daemons) > 5
    for name in daemons:
        before = name not in ("infra-node_exporter-service-healthy", "infra-vector-service-healthy",
                              "infra-nginx_exporter-service-healthy")  # fmt: skip
        assert (place[name] < inventory) == before, name
    for (state, function), name in FOLLOWERS.items():
        chunks = [[c for c in some if (c["state"], c["fun"]) == (state, function)]
                  for some in (whole, alone)]  # fmt: skip
        assert [[c["__id__"] for c in some] for some in chunks] == [[name], [name]]
        assert place[name] > inventory
        arguments = [
            {
                key: value
                for key, value in some[0].items()
                if key not in ("order", "require", "__sls_included_from__")
            }
            for some in chunks
        ]
        assert arguments[0] == arguments[1]
        settings = arguments[0]["settings" if state == "infra_register" else "registration"]
        assert set(settings) >= {"nodes", "reserved", "others", "domains", "networks", "assigned"}
    installs = [c["__id__"] for c in alone if c["__id__"].startswith("infra-nginx-")]
    assert installs == ["infra-nginx-pages-managed", "infra-nginx-portal-managed"]


def test_the_parent_of_a_data_directory_that_is_new_is_for_everybody_to_enter(loaders, modules):
    given = pillar(loaders, "upstream")["infra"]
    client = {
        **given,
        "infra_hosts": {"elsewhere": {"infra_seq": 1}},
        "vector_data": "/no/such/folder/vector",
    }
    chunks = {c["__id__"]: c for c in low(modules, "infra.vector", {"infra": client})}
    parent = chunks["infra-vector-parent-present"]
    assert (parent["name"], parent["user"], parent["mode"]) == ("/no/such/folder", "root", "0755")
    assert parent["order"] < chunks["infra-vector-directory-present"]["order"]
    assert "/no/such/folder" in chunks["infra-vector-installation-recorded"]["paths"]
    there = {**client, "vector_data": "/var/lib/vector"}
    found = {c["__id__"] for c in low(modules, "infra.vector", {"infra": there})}
    assert "infra-vector-parent-present" not in found


# What differs within a family is in the map, so that one platform of each is enough.
@pytest.mark.parametrize("platform", ["debian-12", "el-9"], indirect=True)
def test_each_sls_renders_by_itself_and_includes_what_it_requires(loaders, platform):
    with salt.state.HighState(copy.deepcopy(loaders.opts), pillar(loaders, "distro")) as compiler:
        for sls in SLS:
            compiler.building_highstate = type(compiler.building_highstate)()
            compiler.push_active()
            try:
                high, errors = compiler.render_highstate({"base": [sls]})
            finally:
                compiler.pop_active()
            compiled = compiler.state.compile_high_data(high)
            # Salt 3008 tells of errors beside the chunks.
            chunks, more = compiled if isinstance(compiled, tuple) else (compiled, [])
            assert errors + more == [], sls
            assert unmet(chunks) == set(), sls


def test_the_pillar_is_validated_once_in_a_run_and_anew_in_each(
    loaders, modules, given_pillar, monkeypatch
):
    checks = []
    own = validation.check

    def check(*arguments, **options):
        checks.append(arguments)
        return own(*arguments, **options)

    monkeypatch.setattr(validation, "check", check)
    ports = []
    for port in (53, 5353):
        given = {"infra": {**pillar(loaders, "distro")["infra"], "dns_port": port}}
        found = low(modules, "infra", given_pillar(given))
        (records,) = (chunk for chunk in found if chunk["__id__"] == "infra-dns-records-managed")
        ports.append(records["port"])
        assert len(checks) == 1
        checks.clear()
    assert ports == [53, 5353]


DUMP = """#!jinja|json
{%- from "infra/map.jinja" import infra, arguments with context %}
{%- import_yaml "infra/defaults.yaml" as defaults %}
{%- set changed = {} %}
{%- for key, value in infra.items() if key not in ("infra_packaging", "infra_hosts") %}
  {%- if key not in defaults or defaults[key] != value %}
    {%- do changed.update({key: value}) %}
  {%- endif %}
{%- endfor %}
{"map": {"test.nop": [{"changed": {{ changed | tojson }}},
  {"installations": {{ arguments.daemons.installations | tojson }}}]}}
"""


@pytest.mark.parametrize("packaging", ["distro", "upstream"])
def test_the_map_is_golden(loaders, modules, formula_roots, platform, packaging):
    Path(formula_roots["file_roots"]["base"][0], "map-dump.sls").write_text(DUMP, encoding="utf-8")
    (chunk,) = modules.state.show_low_sls("map-dump", pillar=pillar(loaders, packaging))
    shown = {key: chunk[key] for key in ("changed", "installations")}
    path = GOLDEN / f"{platform}.{packaging}.json"
    if os.environ.get("INFRA_GOLDEN") == "write":
        text = json.dumps(shown, indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert shown == json.loads(path.read_text(encoding="utf-8"))


def test_a_minion_that_has_the_release_makes_no_renderer_for_each_sls(
    loaders, modules, monkeypatch
):
    """A renderer takes longer than the rest of an SLS, and a request to the master."""
    given = {"infra": pillar(loaders, "upstream")["infra"]}
    before = low(modules, "infra", given)  # syncs what is not synced
    made = []
    render = salt.loader.render
    monkeypatch.setattr(salt.loader, "render", lambda *a, **k: made.append(a) or render(*a, **k))
    assert low(modules, "infra", given) == before
    assert len(made) <= 2  # the compiler's own
