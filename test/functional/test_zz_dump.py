import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(os.environ["REPO"]) / "test" / "functional"))
OUT = Path(os.environ["OUT"])
from saltfactories.utils.functional import Loaders

from functional.test_render import PILLAR, PLATFORMS, SWITCHES

WANT = ["debian-12", "ubuntu-24.04", "el-9"]


@pytest.fixture(scope="module", params=WANT)
def platform(request):
    return request.param


@pytest.fixture(scope="module")
def loaders(salt_factories, formula_roots, platform):
    grains = PLATFORMS[platform]
    grains = {
        **grains,
        "selinux": {"enabled": grains["os_family"] == "RedHat"},
        "init": "systemd",
        "ipv4": ["10.10.10.10", "127.0.0.1"],
        "ipv6": ["::1"],
        "cpuarch": "x86_64",
    }
    factory = salt_factories.salt_minion_daemon(
        "infra-1", overrides={"file_client": "local", "grains": grains, **formula_roots}
    )
    return Loaders(
        factory.config.copy(),
        loaded_base_name=f"{__name__}.{platform}".replace("-", "_").replace(".", "_"),
    )


@pytest.fixture(autouse=True)
def reset_loaders_state():
    pass


def pillars():
    one = {"infra-1": {"infra_seq": 1}}
    many = {
        "infra-1": {"infra_seq": 1, "ip": "10.10.10.10"},
        "10.10.10.11": {"infra_seq": 2},
        "m3": {"infra_seq": 3, "ip": "10.10.10.13"},
    }
    byip = {"10.10.10.10": {"infra_seq": 1}, "10.10.10.11": {"infra_seq": 2}}
    client = {"10.9.9.9": {"infra_seq": 1}}
    all_remove = {
        "infra_safeguard": False,
        "infra_remove": ["service", "config", "package", "data"],
    }
    base = {k: v for k, v in PILLAR.items()}
    for pk in ("upstream", "distro"):
        yield f"{pk}-defaults-one", {"infra_packaging": pk, "infra_hosts": one}
        yield f"{pk}-ex-one", {**base, "infra_packaging": pk, "infra_hosts": one, **all_remove}
        yield (
            f"{pk}-all-many",
            {
                **base,
                **SWITCHES,
                "infra_packaging": pk,
                "infra_hosts": many,
                **all_remove,
                "certbot_email": "a@b.example",
                "certbot_sign": True,
                "nginx_users": {"a": "b"},
            },
        )
        yield (
            f"{pk}-all-byip",
            {
                **base,
                **SWITCHES,
                "infra_packaging": pk,
                "infra_hosts": byip,
                **all_remove,
                "infra_listen": "0.0.0.0",
                "infra_firewall_allow": {"vlogs": ["10.0.0.1"]},
                "node_firewall_mode": "zone",
                "nginx_sslmode": "disable",
                "nginx_port": 8080,
            },
        )
        yield (
            f"{pk}-ex-client",
            {**base, "infra_packaging": pk, "infra_hosts": client, **all_remove},
        )
        yield (
            f"{pk}-off-one",
            {**base, **{k: False for k in SWITCHES}, "infra_packaging": pk, "infra_hosts": one},
        )
        yield (
            f"{pk}-nodes",
            {
                **base,
                "infra_packaging": pk,
                "infra_hosts": byip,
                "nodes": {
                    "10.10.10.10": {
                        "nodename": "abc",
                        "vector_enabled": False,
                        "node_cluster": "x",
                    },
                    "infra-1": {"haproxy_enabled": True},
                },
            },
        )


def norm(chunk):
    c = {
        k: v
        for k, v in chunk.items()
        if not k.startswith("__orchestration") and k not in ("order",)
    }
    out = {}
    for k, v in c.items():
        if isinstance(v, str) and v[:1] in "[{":
            try:
                v = json.loads(v)
            except ValueError:
                pass
        out[k] = v
    return out


def test_dump(loaders, modules, platform):
    for name, pillar in pillars():
        if pillar["infra_packaging"] == "distro":
            for k in ("vlogs", "vtraces", "grafana", "vector"):
                pillar[k + "_enabled"] = False
            if platform.startswith("el"):
                for k in (
                    "vmetrics",
                    "vmalert",
                    "alertmanager",
                    "blackbox",
                    "nginx_exporter",
                    "node_exporter",
                ):
                    pillar[k + "_enabled"] = False
        if "nginx_sslmode" in pillar:
            pillar["certbot_sign"] = False
        found = {}
        for sls in ["infra", "infra.clean"]:
            low = modules.state.show_low_sls(sls, pillar={"infra": pillar})
            if isinstance(low, list) and all(isinstance(c, dict) for c in low):
                low = [norm(c) for c in low]
            found[sls] = low
        (OUT / f"{platform}.{name}.json").write_text(
            json.dumps(found, indent=1, sort_keys=True, default=str)
        )
