#!/usr/bin/env python3
"""The portal of 20, 200 and 1000 entries, against a loop of Salt's own file.managed, and Ansible's.

All run on one machine of the lab, one after the other, over the same entries: ours as `state.apply
infra.nginx` (certificate, staged test, pages and health included), Salt's as one `file.managed`
with `template: jinja` per entry, over a plain template of twenty lines, and a reload. With 200
entries there is also a playbook of ansible-core (from PyPI, in a venv of its own on that machine),
over the same template, in a loop of `template` with one reload, as a user of Pigsty renders them.
Prints seconds of wall time and the peer's seconds over ours; asserts nothing.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPO / "_utils"), str(REPO), str(REPO / "test"), str(REPO / "test/support")]

import report  # noqa: E402
from infra_formula.portal import entries as portal_entries  # noqa: E402
from infra_formula.portal import rendering  # noqa: E402
from lab import Lab  # noqa: E402
from portal_samples import LOADER, facts, settings  # noqa: E402

SIZES = (20, 200, 1000)
REPEAT = 3
PEER = """
{%- for key, entry in pillar['views'].items() %}
/etc/peer/conf.d/{{ key }}.conf:
  file.managed:
    - source: salt://peer/proxy.conf.j2
    - template: jinja
    - makedirs: true
    - context:
        entry: {{ entry | tojson }}
    - watch_in:
      - service: nginx
{%- endfor %}
nginx:
  service.running:
    - reload: true
"""
PEER_TEMPLATE = """upstream {{ entry.key }} {
    server {{ entry.endpoint }} max_fails=0;
}
server {
    server_name {{ entry.domain }};
    listen 80;
    listen 443 ssl http2;
    ssl_certificate /etc/nginx/conf.d/cert/pigsty.crt;
    ssl_certificate_key /etc/nginx/conf.d/cert/pigsty.key;
    access_log /var/log/nginx/{{ entry.key }}.log;
    location / {
        proxy_pass http://{{ entry.key }}/;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
{% if entry.websocket %}
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection upgrade;
{% endif %}
    }
}
"""

ANSIBLE_SIZE = 200
PLAYBOOK = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {
                "name": "A site per entry",
                "ansible.builtin.template": {
                    "src": "proxy.conf.j2",
                    "dest": "/etc/peer/conf.d/{{ item.key }}.conf",
                    "mode": "0644",
                },
                "loop": "{{ views | dict2items }}",
                "loop_control": {"label": "{{ item.key }}"},
                "vars": {"entry": "{{ item.value }}"},
                "notify": "reload nginx",
            }
        ],
        "handlers": [
            {
                "name": "reload nginx",
                "ansible.builtin.systemd_service": {"name": "nginx", "state": "reloaded"},
            }
        ],
    }
]


def entries(count):
    return {
        f"site{n:04d}": {
            "domain": f"site{n:04d}.pigsty",
            "endpoint": f"127.0.0.1:{10000 + n}",
            "websocket": n % 2 == 0,
        }
        for n in range(count)
    }


def seconds(action, *args):
    start = time.perf_counter()
    action(*args)
    return time.perf_counter() - start


def prepare_peer(machine):
    machine.write("/srv/salt/peer/init.sls", PEER)
    machine.write("/srv/salt/peer/proxy.conf.j2", PEER_TEMPLATE)


def apply(machine, state):
    machine.run(["salt-call", "--local", "--retcode-passthrough", "state.apply", state])


def ours(machine, pillar, count):
    """Seconds of the first apply and, the median of several, of the next that change nothing."""
    machine.set_pillar({"infra": {**pillar, "infra_portal": {}}})
    apply(machine, "infra.nginx")
    machine.run(["rm", "-f", "/etc/nginx/conf.d/cert/pigsty.crt"])
    machine.set_pillar({"infra": {**pillar, "infra_portal": entries(count)}})
    first = seconds(apply, machine, "infra.nginx")
    return first, statistics.median(seconds(apply, machine, "infra.nginx") for _ in range(REPEAT))


def peer(machine, count):
    machine.run(["rm", "-rf", "/etc/peer"])
    shown = {key: {"key": key, **entry} for key, entry in entries(count).items()}
    machine.write("/srv/pillar/infra.sls", "#!json\n" + json.dumps({"views": shown}))
    first = seconds(apply, machine, "peer")
    return first, statistics.median(seconds(apply, machine, "peer") for _ in range(REPEAT))


def prepare_ansible(machine):
    """Install ansible-core into a venv of its own; the machine has no way to PyPI."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:",
             "--dest", folder, "ansible-core"], check=True,
        )  # fmt: skip
        machine.put(Path(folder), "/opt/wheels")
    machine.run(["python3", "-m", "venv", "/opt/ansible"])
    machine.run(
        ["/opt/ansible/bin/pip", "install", "--quiet", "--no-index", "--find-links=/opt/wheels",
         "ansible-core"], timeout=600,
    )  # fmt: skip
    machine.write("/srv/ansible/site.yml", json.dumps(PLAYBOOK))
    machine.write("/srv/ansible/proxy.conf.j2", PEER_TEMPLATE)


def ansible(machine, count):
    """Seconds of the playbook at first, and of the next that changes nothing."""
    shown = {key: {"key": key, **entry} for key, entry in entries(count).items()}
    machine.write("/srv/ansible/views.json", json.dumps({"views": shown}))
    machine.run(["rm", "-rf", "/etc/peer"])
    machine.run(["mkdir", "-p", "/etc/peer/conf.d"])
    run = ["/opt/ansible/bin/ansible-playbook", "-i", "localhost,", "-e",
           "@/srv/ansible/views.json", "/srv/ansible/site.yml"]  # fmt: skip
    first = seconds(lambda: machine.run(run, timeout=1800))
    return first, seconds(lambda: machine.run(run, timeout=1800))


def main():
    pillar = {"infra_hosts": {"10.10.10.10": {"infra_seq": 1}}, "infra_packaging": "distro"}
    pillar |= dict.fromkeys(
        ("grafana_enabled", "vlogs_enabled", "vtraces_enabled", "vector_enabled"), False
    )
    rows = []
    with Lab.up("default", name="bench-portal", pillar={"infra": pillar}) as lab:
        machine = lab.machine("infra-1")
        apply(machine, "infra.nginx")
        prepare_peer(machine)
        for count in SIZES:
            report.progress(f"{count} entries: ours")
            row = (count, *ours(machine, pillar, count))
            report.progress(f"{count} entries: a loop of file.managed")
            rows.append((*row, *peer(machine, count)))
        report.progress(f"{ANSIBLE_SIZE} entries: a playbook")
        prepare_ansible(machine)
        by_ansible = ansible(machine, ANSIBLE_SIZE)
    report.table(
        "Seconds of a whole apply: ours, a loop of file.managed, and how many times ours that is",
        ["entries", "first", "loop", "", "no-op", "loop", ""],
        [
            (count, first, other, report.ratio(first, other), noop, idle, report.ratio(noop, idle))
            for count, first, noop, other, idle in rows
        ],
    )
    _, first, noop, *_ = next(row for row in rows if row[0] == ANSIBLE_SIZE)
    report.table(
        f"Seconds for {ANSIBLE_SIZE} entries: ours, a playbook, and how many times ours that is",
        ["", "ours", "playbook", ""],
        [
            ("first", first, by_ansible[0], report.ratio(first, by_ansible[0])),
            ("again", noop, by_ansible[1], report.ratio(noop, by_ansible[1])),
        ],
    )
    rendered = []
    for count in SIZES:
        given = entries(count)
        portal_entries.problems(given, settings())
        spent = min(
            seconds(rendering.files, given, settings(), facts(), LOADER) for _ in range(REPEAT)
        )
        rendered.append((count, f"{spent:.3f}"))
    report.table("Pure rendering", ["entries", "seconds"], rendered)


if __name__ == "__main__":
    main()
