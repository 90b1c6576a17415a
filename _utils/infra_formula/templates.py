"""Text of generated files: served templates and data in YAML.

A copy in the site's own file roots takes the place of a served file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import jinja2
import salt.utils.yaml

from infra_formula import compiled
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset.contents import MANAGED_BY
from infra_formula.minion import Minion

HEADER = f"# {MANAGED_BY}. Changes here are overwritten.\n"


def read(minion: Minion, path: str) -> str:
    """Text of a served file.

    path
        Its ``salt://`` path.

    Raises CommandFailed if it is not served.
    """
    text = minion.call("cp.get_file_str", path)
    if not text:
        raise CommandFailed(f"{path} is not served; is the formula in file_roots?")
    return str(text)


def render(
    path: str,
    text: str,
    values: Mapping[str, Any],
    *,
    imports: Mapping[str, str] | None = None,
    square_brackets: bool = False,
    filters: Mapping[str, Callable[..., str]] | None = None,
) -> str:
    """Render the text of a template of a configuration file.

    path
        Where the text is from, for errors.
    text
        The template. Its filter ``tojson`` writes every character as it is.
    values
        Names that it may use; another one is an error.
    imports
        Templates that it imports: name → text.
    square_brackets
        The delimiters are ``[[ ]]``, ``[% %]`` and ``[# #]``: ``{{ }}`` belong to the program that
        reads the file.
    filters
        Further filters by name.

    Raises InvalidInput for a template that is broken.
    """
    loader = jinja2.DictLoader({**(imports or {}), path: text})
    environment = make_environment(loader, square_brackets=square_brackets)
    environment.filters["tojson"] = _to_json
    environment.filters.update(filters or {})
    try:
        return environment.get_template(path).render(values)
    except jinja2.TemplateError as err:
        raise InvalidInput(f"{path}: {err}") from err


_OF_DICT = frozenset(dir(dict))


class _Environment(jinja2.Environment):
    """Looks an attribute of a dictionary up as a key at once: jinja2 tries ``getattr`` before.

    Nor does it chain the globals of each template to those of the environment.
    """

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        return {**self.globals, **d} if d else self.globals

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute not in _OF_DICT:
            try:
                return obj[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


def make_environment(
    loader: jinja2.BaseLoader,
    *,
    autoescape: bool = False,
    square_brackets: bool = False,
) -> jinja2.Environment:
    """Make the environment of templates, each of which is compiled once.

    loader
        Loads them by name.
    autoescape
        Whether values are escaped for HTML.
    square_brackets
        As for :func:`render`.
    """
    left, right = "[]" if square_brackets else "{}"
    return _Environment(
        loader=loader,
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        variable_start_string=left * 2,
        variable_end_string=right * 2,
        block_start_string=f"{left}%",
        block_end_string=f"%{right}",
        comment_start_string=f"{left}#",
        comment_end_string=f"#{right}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,  # one environment is for one rendering
        bytecode_cache=compiled.CACHE,
    )


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class SaltLoader(jinja2.BaseLoader):
    """Loads templates by name from a served directory.

    folder
        Its URL, e.g. ``salt://infra/nginx/files``.
    """

    def __init__(self, minion: Minion, folder: str) -> None:
        self.minion = minion
        self.folder = folder

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """Text of a template; raises TemplateNotFound if it is not served, or empty."""
        text = self.minion.call("cp.get_file_str", f"{self.folder}/{template}")
        if not text:
            raise jinja2.TemplateNotFound(template)
        return str(text), None, None


def to_yaml(data: object) -> str:
    """Data as YAML, in the order in which it is given and without line breaks in strings."""
    text = salt.utils.yaml.safe_dump(
        data, default_flow_style=False, sort_keys=False, allow_unicode=True, width=4096
    )
    return str(text)


_ESCAPES = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..|\\.|\x7f")


def to_flow_yaml(data: object) -> str:
    """Data as YAML on one line, with any character in its strings.

    JSON is YAML, but for what is beyond U+FFFF: JSON writes it as two surrogates, which YAML does
    not know, and YAML as ``\\U0001f600``. A surrogate by itself is no character: it becomes U+FFFD.
    """
    return _ESCAPES.sub(_yaml_escape, json.dumps(data, default=str))


def _yaml_escape(found: re.Match[str]) -> str:
    escape = found[0]
    if escape == "\x7f":
        return "\\x7f"
    if len(escape) == 12:
        return f"\\U{ord(json.loads(chr(34) + escape + chr(34))):08x}"
    return "\\ufffd" if len(escape) == 6 else escape
