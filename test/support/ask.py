#!/usr/bin/env python3
"""Ask a server many questions: `ask.py BASE-URL`, with [[path, parameters], …] in JSON as input.

Prints [[status, body], …]. It is a program, since what a machine listens on is reached in it.
"""

import json
import sys
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen


def ask(base: str, path: str, parameters: dict[str, str]) -> tuple[int, str]:
    """One question; the status and the body of the answer."""
    try:
        with urlopen(f"{base}{path}?{urlencode(parameters)}", timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def main() -> None:
    """Answer what is on standard input."""
    print(json.dumps([ask(sys.argv[1], *question) for question in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
