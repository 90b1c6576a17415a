"""Reading of Ansible's inventories: structure, precedence, ranges, strings in Jinja."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.pigsty import inventory, variables
from salt.exceptions import SaltInvocationError


def value(text, host, name):
    found = inventory.read(text)
    known = variables.effective(found)[host]
    groups = {group: variables.members(found, group) for group in found["groups"]}
    if name not in known:
        return None
    return variables.resolve(known[name]["value"], host, known, groups)


LAYERS = """
all:
  vars: {a: all, b: all, c: all, d: all}
  children:
    outer:
      vars: {b: outer, c: outer, d: outer}
      children:
        inner:
          hosts: {h: {d: host}, other: }
          vars: {c: inner, d: inner}
    zz: {hosts: {h: }, vars: {e: zz, f: zz}}
    aa: {hosts: {h: }, vars: {e: aa, f: aa, ansible_group_priority: 2}}
    mm: {hosts: {h: }, vars: {f: mm, ansible_group_priority: 3}}
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", "all"), ("b", "outer"), ("c", "inner"), ("d", "host"), ("e", "aa"), ("f", "mm")],
)
def test_precedence_is_ansible_s(name, expected):
    """All, then groups from the outermost in; in one depth by priority, then by name; the host."""
    assert value(LAYERS, "h", name) == (expected, None)


def test_a_host_without_variables_has_those_of_its_groups():
    assert value(LAYERS, "other", "d") == ("inner", None)
    assert value(LAYERS, "other", "e") is None


def test_groups_beside_all_are_its_children():
    text = "all: {vars: {x: 1}}\ninfra: {hosts: {a: }}\n"
    assert value(text, "a", "x") == (1, None)


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("n[1:3]", ["n1", "n2", "n3"]),
        ("n[01:03]", ["n01", "n02", "n03"]),
        ("n[1:9:4].x", ["n1.x", "n5.x", "n9.x"]),
        ("n[a:c]", ["na", "nb", "nc"]),
        ("[1:2]-[x:y]", ["1-x", "1-y", "2-x", "2-y"]),
        ("fd00::1", ["fd00::1"]),
    ],
)
def test_ranges_of_hosts(pattern, hosts):
    assert inventory.read(yaml.safe_dump({"g": {"hosts": {pattern: None}}}))["hosts"] == hosts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ admin_ip }}", "10.10.10.10"),
        ("http://{{ admin_ip }}:{{ port }}/", "http://10.10.10.10:80/"),
        ("{{ port }}", 80),
        ("{{ port | string }}", "80"),
        ("{{ names }}", ["a", "b"]),
        ("{{ names | first }}", "a"),
        ("{{ names[1] | upper }}", "B"),
        ("{{ deep.er }}", "x"),
        ("{{ absent | default('d') }}", "d"),
        ("{{ absent | d(port) }}", 80),
        ("{{ inventory_hostname }}", "h"),
        ("{{ groups['g'][0] }}", "h"),
        ("{{ chain }}", "10.10.10.10!"),
        ("${admin_ip}", "${admin_ip}"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ({"a": ["{{ port }}"]}, {"a": [80]}),
        (12, 12),
    ],
)
def test_jinja_that_names_variables_is_rendered(text, expected):
    variables = {
        "admin_ip": "10.10.10.10", "port": 80, "names": ["a", "b"], "deep": {"er": "x"},
        "chain": "{{ admin_ip }}!", "it": text,
    }  # fmt: skip
    assert value(yaml.safe_dump({"g": {"hosts": {"h": variables}}}), "h", "it") == (expected, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ absent }}", "names what is not in the inventory: 'absent' is undefined"),
        ("{{ names.absent }}", "names what is not in the inventory"),
        ("{{ lookup('env', 'HOME') }}", "does more than name variables (call)"),
        ("{{ 'x' * 10000000 }}", "does more than name variables (mul)"),
        ("{% for i in names %}{{ i }}{% endfor %}", "does more than name variables (for)"),
        ("{{ names | b64decode }}", "the filter b64decode, which needs Ansible"),
        ("{{ it }}", "leads back to itself, through it"),
        ("{{ one }}", "leads back to itself, through one"),
        ("{{ broken", "cannot be read"),
        ("{{ secret }}", "encrypted with ansible-vault"),
        ("{{ names.__class__ }}", "fails (SecurityError)"),
    ],
)
def test_other_jinja_is_not_and_it_is_said_why(text, why):
    found = yaml.safe_dump(
        {
            "g": {
                "hosts": {"h": {"names": ["a"], "one": "{{ two }}", "two": "{{ one }}", "it": text}}
            }
        }
    )
    found += "all: {vars: {secret: !vault 'x'}}\n"
    known, fault = value(found, "h", "it")
    assert known is None
    assert why in fault


def test_text_that_grows_beyond_measure_is_not_rendered():
    variables = {f"v{n}": f"{{{{ v{n + 1} }}}}" * 2 for n in range(40)}
    variables["v40"] = "x"
    text = yaml.safe_dump({"g": {"hosts": {"h": variables}}})
    assert value(text, "h", "v0") == (None, "it is Jinja that becomes too long")


def test_tags_of_ansible():
    text = "g: {hosts: {h: {s: !vault x, u: !unsafe '{{ a }}', l: !unsafe ['{{ b }}']}}}"
    assert value(text, "h", "s") == (None, "it is encrypted with ansible-vault")
    assert value(text, "h", "u") == ("{{ a }}", None)
    assert value(text, "h", "l") == (["{{ b }}"], None)


def test_what_ansible_would_warn_of_is_noted():
    found = inventory.read("g:\n  vars:\n    a: 1\n    a: 2\n  host: {h: }\n")
    assert found["notes"] == [
        "line 4: g.vars.a is set twice; the last one counts, as in Ansible",
        "line 5: g.host is none of hosts, children and vars; it is ignored, as in Ansible",
    ]
    assert [(v["name"], v["value"], v["line"]) for v in found["variables"]] == [
        ("a", 1, 3),
        ("a", 2, 4),
    ]


def test_aliases_that_would_be_huge_are_refused():
    bomb = "x: &a0 [1, 1]\n" + "".join(
        f"y{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
    )
    with pytest.raises(SaltInvocationError, match="too large to be read"):
        inventory.read(bomb)


def test_what_is_nested_too_deeply_is_refused():
    with pytest.raises(SaltInvocationError, match="nested too deeply"):
        inventory.read("a: " + "[" * 1200 + "]" * 1200)


@given(st.text(max_size=60))
def test_any_text_is_an_inventory_or_a_clean_error(text):
    try:
        found = inventory.read(text)
    except SaltInvocationError as err:
        assert str(err)  # noqa: PT017 - either way is fine
    else:
        assert set(variables.effective(found)) == set(found["hosts"])
