"""JSON of others that is nested deeper than Python's parser goes: an error like any other."""

import io
import tarfile

import pytest
from infra_formula import json_text
from infra_formula.backup import archive as backup
from infra_formula.daemon import local_ports
from infra_formula.errors import CommandFailed
from infra_formula.grafana import api
from infra_formula.repository import archive, contents

DEEP = "[" * 200_000


@pytest.mark.parametrize("text", [DEEP, DEEP.encode(), '{"a": ' * 200_000, "nonsense", "\x00"])
def test_what_cannot_be_parsed_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"deep|Expecting value"):
        json_text.parse(text)


def test_an_archive_with_such_a_manifest_is_refused(tmp_path):
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(f"pigsty/{archive.MANIFEST}")
        member.size = len(DEEP)
        tar.addfile(member, io.BytesIO(DEEP.encode()))
    path.chmod(0o600)
    (tmp_path / "out").mkdir()
    with pytest.raises(CommandFailed, match="nested too deep"):
        archive.unpack(str(path), str(tmp_path / "out"))
    assert archive.peek(str(path)) == {}


def test_a_description_of_such_a_repository_is_none(tmp_path):
    (tmp_path / "repo.json").write_text(DEEP, encoding="utf-8")
    assert contents.read_json(str(tmp_path / "repo.json")) == {}


def test_a_backup_with_such_a_manifest_is_refused():
    with pytest.raises(CommandFailed, match="nested too deep"):
        backup._manifest("/root/b", DEEP.encode())


def test_a_program_that_answers_so_is_named(monkeypatch):
    monkeypatch.setattr(local_ports, "request", lambda *arguments, **options: (200, DEEP))
    with pytest.raises(CommandFailed, match="VictoriaMetrics on port 8428: expected JSON"):
        local_ports.get_json(8428, "/", "VictoriaMetrics")
    administrator = {"port": 3000, "username": "admin", "password": "x"}
    assert api.call(administrator, "GET", "/") == (200, DEEP)
