"""Write every dashboard and the page about them; remove dashboards that are no more."""

from . import catalogue


def main() -> None:
    """Write what differs, and say so."""
    files = catalogue.files()
    for path, text in files.items():
        target = catalogue.CHECKOUT / path
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print(f"written  {path}")
    for found in sorted((catalogue.CHECKOUT / catalogue.FOLDER).rglob("*.json")):
        if found.relative_to(catalogue.CHECKOUT) not in files:
            found.unlink()
            print(f"removed  {found.relative_to(catalogue.CHECKOUT)}")


if __name__ == "__main__":
    main()
