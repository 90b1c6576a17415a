"""The documents can be read: their blocks, their links; and what reads them does so rightly."""

import re
from textwrap import dedent

import documents
import pytest
from documents import DocumentError, missing, parse

LANGUAGES = {"bash", "yaml", "text", "json", "ini", "mermaid", "python", "nginx", "jinja"}
COMMANDS = re.compile(
    r"^(\$ |# |sudo )?(salt|salt-call|salt-run|salt-key|make|curl|apt-get|systemctl) "
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def page(text):
    return parse(dedent(text).strip("\n") + "\n", "page.md")


def test_blocks_keep_their_place_their_language_and_the_notes_before_them():
    first, second = page(
        """
        Words.

        <!-- lab: site -->
        <!-- run: {machine: node-1, status: 2} -->
        <!-- first:
        touch /a
        touch /b
        -->
        ```bash
        ls /a
        ```

        1. A list.

           ```yaml
           infra: {}
           ```
        """
    )
    assert (first.line, first.language, first.text) == (10, "bash", "ls /a\n")
    assert first.notes == {"run": {"machine": "node-1", "status": 2}, "first": "touch /a\ntouch /b"}
    assert (second.line, second.text, second.lab, second.notes) == (
        16,
        "infra: {}\n",
        "site",
        {},
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```bash\nls\n", "page.md:1: this block is not closed"),
        ("<!-- runs: {x: y} -->\n", "page.md:1: expected one of lab, run"),
        (
            "<!-- run: {where: x} -->\n```bash\n```\n",
            r"page.md:1: expected \{machine, status, soak\}",
        ),
        (
            "<!-- run: {status: one} -->\n```bash\n```\n",
            r"page.md:1: expected \{machine, status, soak\}",
        ),
        ("<!-- run: node-1 -->\n```bash\n```\n", r"page.md:1: expected \{machine, status, soak\}"),
        ("<!-- not run: -->\n```bash\n```\n", "page.md:1: expected a value after `not run:`"),
        ("<!-- shows -->\nWords.\n", "page.md:2: expected a block after `shows`"),
        ("<!-- shows -->\n", "page.md: expected a block after `shows`, got the end"),
        ("<!-- shows -->\n```bash\nls\n```\n", "page.md:3: `shows` does not go with bash"),
    ],
)
def test_a_document_that_is_not_understood_is_refused(text, told):
    with pytest.raises(DocumentError, match=told):
        parse(text, "page.md")


def test_a_comment_to_people_is_none_to_the_tests():
    assert page("<!-- Written by hand -->\nWords.\n") == []


def test_commands_are_counted_as_people_count_them():
    (block,) = page(
        """
        ```bash
        # a comment
        salt '*' state.apply infra \\
          test=True
        cat >/tmp/x <<'EOF'
        not a command
        EOF
        if true; then
          echo one
        fi
        ls   # another
        ```
        """
    )
    assert [line.split(" ")[0] for line in block.commands] == ["salt", "cat", "if", "ls"]


def test_a_failing_command_is_named_by_its_line_in_the_document():
    import subprocess

    (block,) = page("Words.\n\n<!-- first: x=1 -->\n```bash\ntrue\ntest $x = 2\ntrue\n```\n")
    done = subprocess.run(["bash", "-c", block.script()], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "failed: line 6\n")


@pytest.mark.parametrize(
    ("shown", "absent"),
    [
        ("one\nthree\n", None),
        ("t…  2\n…\nthree", None),
        ("three\none\n", "one"),
        ("four", "four"),
        ("one…three", "one…three"),
    ],
)
def test_what_is_shown_was_printed(shown, absent):
    assert missing(shown, "one\ntwo 2\nthree\n") == absent


def test_pillars_are_merged_as_a_reader_would():
    below = {"infra": {"a": [1], "portal": {"home": {"domain": "i"}}}}
    above = {"infra": {"a": [2], "portal": {"wiki": {}}}}
    wanted = {"infra": {"a": [2], "portal": {"home": {"domain": "i"}, "wiki": {}}}}
    assert documents.merged(below, above) == wanted


def test_a_part_of_a_pillar_is_put_into_its_place():
    (block,) = page(
        """
        <!-- pillar: {at: dns_records, with: {dns_port: 5353}} -->
        ```yaml
        - 10.0.0.1 a
        ```
        """
    )
    assert documents.pillar(block) == {"infra": {"dns_port": 5353, "dns_records": ["10.0.0.1 a"]}}


@pytest.mark.parametrize(
    "text", ["```yaml\n- a\n```\n", "```yaml\ninfra: {}\nother: 1\n```\n", "```yaml\na: [\n```\n"]
)
def test_yaml_is_a_pillar_or_says_what_it_is(text):
    (block,) = page(text)
    with pytest.raises(DocumentError, match=r"page\.md:2"):
        documents.pillar(block)


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("a\nSucceeded: 3\nFailed:    0\n took 12 ms\n", None),
        ("a\nSucceeded: 3\nFailed:    1\n took 12 ms\n", "without a failed state"),
        ("a\n took 12 ms\n", "without a failed state"),
        ("a\nFailed:    0\n took some ms\n", r"'/\^ took \\\\d\+ ms\$/' was not printed"),
    ],
)
def test_an_output_is_compared_with_what_is_expected(printed, told):
    (block,) = page(
        "<!-- prints: /^ took \\d+ ms$/ -->\n```bash\nsalt '*' state.apply infra\ndate\n```\n"
    )
    assert (block.applies, block.speaking) == (1, ["date"])
    found = block.difference(printed)
    assert found is None if told is None else re.search(told, found)


# The documents themselves


MOST_UNCHECKED = 6
"""Blocks of which nothing that is printed is compared."""


def expectations():
    """Blocks that are run, with the lines that are expected of each."""
    found = documents.blocks()
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language == "bash" and "not run" not in block.notes:
            shown = after is not None and after.document == block.document
            lines = after.text if shown and "shows" in after.notes else ""
            lines = f"{lines}\n{block.notes.get('prints', '')}"
            yield block, [line for line in lines.splitlines() if line.strip(" …")]


def test_every_command_that_prints_something_has_an_expected_output():
    short = [
        f"{block.place}: {len(lines)} for {block.speaking}"
        for block, lines in expectations()
        if "unchecked" not in block.notes and len(lines) < len(block.speaking)
    ]
    assert short == []


def test_few_outputs_are_not_compared_and_each_has_its_reason():
    unchecked = {
        block.place: block.notes["unchecked"]
        for block, _ in expectations()
        if "unchecked" in block.notes
    }
    assert len(unchecked) <= MOST_UNCHECKED
    assert [place for place, reason in unchecked.items() if len(reason) < 20] == []


def test_every_block_says_what_it_is_and_no_command_hides_as_text():
    found = documents.blocks()
    assert [b.place for b in found if b.language not in LANGUAGES] == []
    hidden = [b.place for b in found if b.language == "text" and COMMANDS.search(b.text)]
    assert hidden == []


def test_every_yaml_parses_and_is_known_for_what_it_is():
    assert sum(documents.pillar(block) is not None for block in documents.blocks()) > 5


PAGES = [*documents.paths(), *(documents.ROOT / name for name in documents.TRANSLATED)]
PAGES.append(documents.ROOT / "CHANGELOG.md")


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    dead = []
    for link in LINK.findall(_without_blocks(document)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


def _without_blocks(path):
    return re.sub(r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)


def _anchors(path):
    """Anchors of a page's headings, as the forges make them."""
    found = set()
    for title in re.findall(r"^#+ (.*)$", _without_blocks(path), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", title.strip().lower())
        found.add(kept.replace(" ", "-"))
    return found
