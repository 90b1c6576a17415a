"""Data in the stores of an INFRA node, written and read by what their documents describe."""

import json
import time
from urllib.parse import quote

import traces
from waiting import eventually

PORTS = {"vmetrics": 8428, "vlogs": 9428, "vtraces": 10428}
ALL = tuple(PORTS)


def send(machine, store, path, body, kind):
    """Post a body to a store of the machine."""
    machine.write("/root/body", body)
    url = f"http://127.0.0.1:{PORTS[store]}{path}"
    machine.run(
        ["curl", "-sSf", "-H", f"Content-Type: {kind}", "--data-binary", "@/root/body", url]
    )


def ask(machine, store, path):
    """What a store of the machine answers."""
    return machine.run(["curl", "-sSf", f"http://127.0.0.1:{PORTS[store]}{path}"]).stdout


def send_trace(machine, service):
    send(machine, "vtraces", traces.PATH, traces.request(service), traces.TYPE)


def services(machine):
    """Who sent traces to the machine."""
    return json.loads(ask(machine, "vtraces", "/select/jaeger/api/services"))["data"]


def lines(machine, query):
    """Lines of logs that a query finds."""
    path = f"/select/logsql/query?query={quote(query)}"
    return [json.loads(line) for line in ask(machine, "vlogs", path).splitlines()]


def fill(machine, mark, stores=ALL):
    """Write something with a mark of its own into each store, and see that it can be found.

    It is on disk some seconds later, or once a store is stopped: a flush is into memory alone.
    """
    if "vmetrics" in stores:
        body = "".join(f'filled{{mark="{mark}",n="{n}"}} {n}\n' for n in range(1000))
        send(machine, "vmetrics", "/api/v1/import/prometheus", body, "text/plain")
    if "vlogs" in stores:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows = [
            {"_msg": f"line {n}", "_time": moment, "job": "filled", "filled": mark}
            for n in range(1000)
        ]
        body = "".join(f"{json.dumps(row)}\n" for row in rows)
        send(machine, "vlogs", "/insert/jsonline", body, "application/x-ndjson")
    if "vtraces" in stores:
        send_trace(machine, f"filled-{mark}")
    for store in stores:
        ask(machine, store, "/internal/force_flush")
    assert eventually(lambda: missing(machine, mark, stores) == []), missing(machine, mark, stores)


def missing(machine, mark, stores=ALL):
    """Stores that do not have all of what `fill` wrote."""
    found = {}
    if "vmetrics" in stores:
        match = quote(f'{{__name__="filled",mark="{mark}"}}')
        export = ask(machine, "vmetrics", f"/api/v1/export?match[]={match}".replace("[]", "%5B%5D"))
        found["vmetrics"] = len(export.splitlines()) == 1000
    if "vlogs" in stores:
        path = f"/select/logsql/query?limit=2000&query={quote(f'filled:{mark}')}"
        found["vlogs"] = len(ask(machine, "vlogs", path).splitlines()) == 1000
    if "vtraces" in stores:
        found["vtraces"] = f"filled-{mark}" in services(machine)
    return [store for store, there in found.items() if not there]


def units(machine):
    """Units of the services of the formula that are switched on there."""
    rows = machine.salt_call("infra_status.services", check=False).values()
    return [row["unit"] for row in rows if row["enabled"] and row["unit"]]


def unsteady(machine):
    """What of the formula's services is not healthy, or was restarted by systemd, and why."""
    rows = machine.salt_call("infra_status.services", check=False)
    ill = {name: row["said"] for name, row in rows.items()
           if row["enabled"] and not row["healthy"]}  # fmt: skip
    units = [f"{row['unit'].removesuffix('.service')}.service" for row in rows.values()
             if row["enabled"] and row["unit"]]  # fmt: skip
    shown = machine.run(["systemctl", "show", "--property=NRestarts", "--value", *units]).stdout
    counts = dict(zip(units, shown.split(), strict=True))
    return {**ill, **{unit: f"restarted {n} times" for unit, n in counts.items() if n != "0"}}


def assert_steady(machine):
    """Every service of the formula becomes healthy, and none of them was restarted meanwhile."""
    assert eventually(lambda: unsteady(machine) == {}, 60), unsteady(machine)
