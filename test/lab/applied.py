"""What an apply did: Salt's answer, with the questions that are always asked of it."""

from __future__ import annotations

from typing import Any


class Applied(dict[str, dict[str, Any]]):
    """Results of states by their ids, as Salt returned them.

    Attributes:
        errors: why no state ran at all, if so: a pillar or a template that does not render.
    """

    def __init__(self, results: dict[str, dict[str, Any]], errors: list[str]) -> None:
        super().__init__(results)
        self.errors = errors

    @classmethod
    def of(cls, answer: Any) -> Applied:
        """Return an apply's results from what Salt answered."""
        if isinstance(answer, dict) and all(isinstance(value, dict) for value in answer.values()):
            return cls(answer, [])
        if answer is None or answer is False:
            return cls({}, ["the minion did not answer"])
        return cls(
            {}, [str(line) for line in answer] if isinstance(answer, list) else [str(answer)]
        )

    @property
    def ok(self) -> bool:
        """Whether states ran, and none failed."""
        return not self.errors and not self.failed

    @property
    def failed(self) -> dict[str, str]:
        """The comment of each state that failed, by `id (module.function)`."""
        return {
            self._title(key): str(result.get("comment", ""))
            for key, result in self.items()
            if result.get("result") is False
        }

    @property
    def changes(self) -> dict[str, Any]:
        """What each state changed, or would change, by `id (module.function)`."""
        return {
            self._title(key): result["changes"]
            for key, result in self.items()
            if result.get("changes")
        }

    def complaint(self) -> str:
        """Return what went wrong, as text of several lines."""
        parts = list(self.errors)
        parts += [f"{title}: {comment}" for title, comment in self.failed.items()]
        return "\n".join(["the apply failed:", *parts])

    def _title(self, key: str) -> str:
        module, _, rest = key.partition("_|-")
        return f"{self[key].get('__id__', rest)} ({module}.{key.rpartition('_|-')[2]})"
