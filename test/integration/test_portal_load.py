"""The portal under load while it changes: no request fails."""

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from .test_portal import ADDRESS, DEMO, STATES, Portal

REQUESTS = 20_000
APPLIES = 5


@pytest.fixture(scope="module")
def busy(boot_lab):
    portal = Portal(boot_lab())
    portal.machine.apply(STATES)
    portal.machine.write("/www/web.cc/index.html", "the site")
    return portal


@pytest.mark.parametrize("options", [[], ["-disable-keepalive"]])
def test_no_request_fails_while_entries_come_and_go(busy, options):
    applied = threading.Event()
    answers: Counter[str] = Counter()

    def load():
        while not applied.is_set() or sum(answers.values()) < REQUESTS:
            answers.update(ask(busy, options))

    with ThreadPoolExecutor() as pool:
        running = pool.submit(load)
        try:
            for n in range(APPLIES):
                extra = {f"extra{n % 2}": {"domain": f"extra{n}.pigsty.cc", "path": "/www/extra"}}
                changed = busy.apply({**DEMO, **extra}).changes
                assert any("portal-managed" in title for title in changed)
        finally:
            applied.set()
        running.result()
    assert answers.keys() == {"200"}, answers
    assert sum(answers.values()) >= REQUESTS


def ask(portal, options):
    """A batch of requests; how often each status code came, and each error."""
    told = portal.lab.net(
        ["hey", "-n", "2000", "-c", "20", "-q", "100", "-host", "pigsty.cc", *options,
         f"http://{ADDRESS}/"]
    ).stdout  # fmt: skip
    errors = told.partition("Error distribution:")[2]
    found = re.findall(r"\[(\d+)\]\t(\d+) responses", told)
    return Counter({code: int(n) for code, n in found}) + Counter(errors.splitlines())
