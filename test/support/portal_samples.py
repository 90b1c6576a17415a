"""Settings, facts and templates as the portal's tests use them."""

from pathlib import Path

import jinja2
import yaml

REPO = Path(__file__).resolve().parents[2]
TEMPLATES = REPO / "infra" / "nginx" / "files"
DEMO = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))["infra"][
    "infra_portal"
]


def settings(**changes):
    given = {
        "admin_ip": "10.10.10.10",
        "nginx_sslmode": "enable",
        "nginx_auth_over_http": False,
        "nginx_port": 80,
        "nginx_ssl_port": 443,
        "nginx_ipv6": True,
        "nginx_home": "/www",
        "nginx_user": "www-data",
        "nginx_group": "www-data",
        "nginx_modules": "modules-enabled/*.conf",
        "nginx_exporter_enabled": True,
        "nginx_users": True,
        "nginx_certificates": {},
        "infra_streams": {},
        "nginx_trusted_proxies": [],
        "nginx_real_ip_header": "X-Forwarded-For",
        "nginx_proxy_protocol_port": None,
        "nginx_proxy_protocol_ssl_port": None,
        "nginx_http_config": "",
        "nginx_log_format": "combined",
        "ca_bundle": "/etc/ssl/certs/ca-certificates.crt",
        "repo_home": "/www",
        "repo_name": "pigsty",
        "portal_auth": "",
        "oauth2_proxy_endpoint": "",
        "oauth2_proxy_prefix": "/oauth2",
        "oauth2_proxy_groups": [],
        "oauth2_proxy_cookie_name": "_oauth2_proxy",
        "portal_haproxy_logins": [],
        "addresses": ["10.10.10.10"],
        "own_address": "10.10.10.10",
        "closed_ports": [],
        "nginx_client_max_body_size": "400m",
        "nginx_proxy_connect_timeout": "5s",
        "nginx_proxy_read_timeout": "120s",
        "nginx_proxy_send_timeout": "120s",
        "components": {},
        "haproxy": {},
        "acme_peers": [],
    }
    return {**given, **changes}


ALL_COMPONENTS = {
    "grafana": {"port": 3000},
    "vmetrics": {"port": 8428},
    "vlogs": {"port": 9428},
    "vtraces": {"port": 10428},
    "vmalert": {"port": 8880},
    "alertmanager": {"port": 9059},
    "blackbox": {"port": 9115},
    "code": {"port": 8443},
    "jupyter": {"port": 8888},
    "pev": {"port": None},
}


def facts(**changes):
    given = {"nginx_version": [1, 22, 1], "ipv6": True, "lineages": [], "certificates": ""}
    return {**given, **changes}


LOADER = jinja2.FileSystemLoader(TEMPLATES)
