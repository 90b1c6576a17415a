"""The formula's templates of rules."""

from pathlib import Path

RULES = Path(__file__).resolve().parents[2] / "infra/vmalert/files/rules"
TEMPLATES = {
    str(path.relative_to(RULES)): path.read_text(encoding="utf-8") for path in RULES.rglob("*.j2")
}
"""Path below the folder → text."""
