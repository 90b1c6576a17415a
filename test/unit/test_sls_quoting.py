"""What is put into an SLS is quoted: data of a minion, an event or the pillar is never YAML."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent / "infra"
TEMPLATES = sorted(
    path
    for pattern in ("*.sls", "*.jinja")
    for path in ROOT.rglob(pattern)
    if "files" not in path.parts and not path.read_text(encoding="utf-8").startswith("#!py")
)
EXPRESSION = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
# Macros, whose own text is read here as well.
MACRO = re.compile(
    r"(carried|cleaned|configured|daemon_states|installed|recorded|removed|running|scraping_states"
    r"|step|untrusted|checked)\(.*\)",
    re.DOTALL,
)
# Of the formula's own tables (components.yaml, platforms), and literals of a loop.
OWN = {
    *("boolean", "component.name", "daemon.seconds", "daemon.unit", "pattern", "option"),
    *("daemons[name].unit", "done[-1]", "done[-1] if done else 'infra-clean-allowed'"),
    *("drop_in", "infra.ca_trust_command", "kind", "component", "what"),
    *("requisite", "require_in", "stage", "user", "who", "drift_units"),
    *("service.name", "service.unit", "service.file_set", "service.root"),
    "' --fresh' if grains['os_family'] == 'Debian'",
    "'managed' if infra.certbot_dns_credentials else 'absent'",
    "'infra.pillar' if site.is_infra_node else 'infra.node.ca'",
}
# The same under a name that is somebody else's in another file.
OWN_HERE = {
    ("ca/untrust.jinja", "name"),
    ("clean.jinja", "name"),
    ("vmetrics/scraping.jinja", "name"),
    ("orch/upgrade.sls", "sls"),  # of two literals
    ("daemon/states.jinja", "name"),
    ("orch/minion.jinja", "key"),  # checked by the line before it
}


def unquoted(path):
    text = re.sub(r"\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for found in EXPRESSION.finditer(text):
        expression = " ".join(found[1].split())
        quoted = re.fullmatch(r"yaml\(.*\)", expression) or (
            "orch" in path.parts and expression.endswith("| tojson")
        )
        if quoted or MACRO.fullmatch(expression):
            continue
        if expression.startswith("raise(") or expression in OWN:
            continue
        if "infra-node-ca-present" in expression:  # one requisite or the other
            continue
        if (str(path.relative_to(ROOT)), expression) not in OWN_HERE:
            yield expression


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_values_of_others_are_quoted(path):
    assert list(unquoted(path)) == []


def test_no_pattern_ends_before_a_line_break():
    """`$` matches before a line break at the end, so that a name would bring one along."""
    wrong = [
        (path.name, pattern)
        for path in TEMPLATES
        for pattern in re.findall(
            r"(?:match|regex_match)\('((?:[^'\\]|\\.)*)'", path.read_text(encoding="utf-8")
        )
        if pattern.endswith("$")
    ]
    assert wrong == []


def test_line_breaks_do_not_depend_on_how_jinja_trims_blocks():
    """With trim_blocks, ``{%-`` and ``{#-`` join lines of YAML."""
    trimmed = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in TEMPLATES
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.lstrip().startswith(("{%-", "{#-")) and not line.rstrip().endswith("-%}")
    }
    # Its macros make one line, whatever is trimmed.
    assert {line for line in trimmed if not line.startswith("orch/minion.jinja")} == set()
