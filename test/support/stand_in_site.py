"""A real master with real minions whose states are stand-ins: each leaves a line in a file.

The orchestrations, the reactor's files and the library are the formula's.
"""

import json
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
LINE = """
{% do salt['saltutil.sync_modules'](refresh=false) %}
VERB:
  file.append:
    - name: LOG
    - text: VERB {{ grains['id'] }} {{ saltenv }} {{ pillar.get('mark', '-') }} {{ salt['cmd.run_stdout']('date +%s%N', python_shell=True) }}
    - reload_modules: true
"""  # noqa: E501
FACTS = """
VERB-facts:
  module.run:
    - infra_register.CALL: []
    - require:
      - file: VERB
"""
REGISTER = """
import json
import pathlib

def _path():
    return pathlib.Path(__opts__["cachedir"]) / "facts.json"

def facts():
    path = _path()
    return json.loads(path.read_text()) if path.exists() else {"contract": 1}

def send():
    return __salt__["mine.send"]("infra_register.facts")

def apply():
    _path().write_text(json.dumps({"contract": 1, "ip": "10.0.0.1", "ins": __opts__["id"]}))
    return send()

def forget():
    _path().unlink(missing_ok=True)
    return __salt__["mine.delete"]("infra_register.facts")
"""

STATUS = """
import pathlib
import time

def services():
    hanging = pathlib.Path("LOG.hanging")
    while hanging.exists() and __opts__["id"] in hanging.read_text().split():
        time.sleep(0.1)
    path = pathlib.Path("LOG.unhealthy")
    ill = path.exists() and __opts__["id"] in path.read_text().split()
    return {"nginx": {"enabled": True, "healthy": not ill, "said": "nginx answers 502"},
            "dns": {"enabled": False, "healthy": None}}
"""


def write_states(root, log):
    """The formula's orchestrations and library, and stand-ins for the states that they apply."""
    for name in (
        "infra/orch",
        "_utils/infra_formula",
        "_modules/infra_fleet.py",
        "_states/infra_fleet.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(REPO / name)
    (root / "_modules/infra_register.py").write_text(REGISTER, encoding="utf-8")
    status = STATUS.replace("LOG", str(log))
    (root / "_modules/infra_status.py").write_text(status, encoding="utf-8")
    for name, verb, call in (
        ("upgrade", "upgraded", None),
        ("init", "applied", "apply"),
        ("register", "registered", None),
        ("clean", "cleaned", "forget"),
    ):
        text = LINE + (FACTS if call else "")
        text = text.replace("VERB", verb).replace("LOG", str(log)).replace("CALL", call or "")
        (root / "infra" / f"{name}.sls").write_text(text, encoding="utf-8")


def write_pillar(root, hosts, mark="-"):
    (root / "top.sls").write_text("{{ saltenv }}: {'*': [infra]}\n", encoding="utf-8")
    given = {"infra": {"infra_hosts": hosts}, "mark": mark}
    (root / "infra.sls").write_text(json.dumps(given), encoding="utf-8")
    return root


class Site:
    """A master, its minions by id, and the lines that states have left."""

    def __init__(self, master, minions, log, srv):
        self.master, self.minions, self.log, self.srv = master, minions, log, srv
        self.cache = Path(master.config["cachedir"])
        self.marker = log.with_name("marker")

    def lines(self, words=2):
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        return [" ".join(line.split()[:words]) for line in text.splitlines()]

    def answer_time(self, minions):
        """Seconds until these minions have answered, which is long on a busy machine."""
        begun = time.monotonic()
        done = self.master.salt_cli(timeout=300).run(
            "--timeout=240", "--list", "test.ping", minion_tgt=",".join(minions)
        )
        assert done.returncode == 0, done
        return time.monotonic() - begun

    def send(self, minion, events):
        """Events of which the minion chooses all, the id beside the data included."""
        preload = {"events": [{"tag": tag, "data": data} for tag, data in events]}
        done = minion.salt_call_cli(timeout=300).run("event.send", "any/tag", preload=preload)
        assert done.returncode == 0, done

    def orchestrate(self, name, *arguments, pillar=None):
        """Run an orchestration; returns its exit code, its steps by their IDs, and all output."""
        run = self.master.salt_run_cli(timeout=600)
        if pillar is not None:
            arguments = (*arguments, f"pillar={json.dumps(pillar)}")
        done = run.run("--out=json", "state.orchestrate", name, *arguments)
        text = done.stdout
        found = json.loads(text[text.index("{") :]) if "{" in text else {}
        data = next(iter(found.get("data", {}).values()), {})
        states = data.values() if isinstance(data, dict) else []  # a list of errors
        steps = {s["__id__"]: s for s in sorted(states, key=lambda s: s["__run_num__"])}
        return done.returncode, steps, done.stdout + done.stderr

    def orchestrations(self):
        found = self.master.salt_run_cli(timeout=300).run("jobs.list_jobs").data
        return [job for job in found.values() if "orchestrate" in job["Function"]]

    def failed_runs(self, since):
        """Orchestrations that failed, of those after the first ``since``."""
        found = self.master.salt_run_cli(timeout=300).run("jobs.list_jobs").data
        jids = sorted(jid for jid, job in found.items() if "orchestrate" in job["Function"])[since:]
        failed = []
        for jid in jids:
            job = self.master.salt_run_cli(timeout=300).run("jobs.list_job", jid).data
            returned = next(iter(job["Result"].values()), {}).get("return", {})
            if returned.get("success") is not True:
                failed.append(job)
        return failed

    def mine(self):
        run = self.master.salt_run_cli(timeout=300)
        return run.run("mine.get", "*", "infra_register.facts").data

    def idle(self):
        spool = self.cache / "infra_fleet"
        names = [path.name for path in spool.rglob("*") if path.is_file()]
        return sorted(names) == ["lock", "record.json"]
