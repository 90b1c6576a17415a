"""Grafana on an INFRA node: its settings, its administrator, what it shows, and who may see it.

No registry carries Grafana: unless one is given, what is installed is the stand-in
(test/lab/standins/grafana.py), which reads the real one's settings and provisioning files and
answers its documented API.
One machine goes through the tests of this file in their order.
"""

import json

import pytest
import vendors

PASSWORD = "first-Pass$word"  # noqa: S105 (of a machine that is thrown away)
SITES = {
    "home": {"domain": "i.pigsty"},
    "grafana": {"domain": "g.pigsty", "endpoint": "${admin_ip}:3000", "websocket": True},
}
SHOP = {"uid": "shop", "title": "Shop", "panels": []}
PILLAR = {
    "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
    "infra_listen": "0.0.0.0",  # noqa: S104 - so that somebody can come straight to it
    # What it shows of others needs them not to be there.
    **dict.fromkeys(
        ("dns_enabled", "node_ntp_enabled", "vmalert_enabled", "alertmanager_enabled",
         "blackbox_enabled", "nginx_exporter_enabled", "node_exporter_enabled", "vlogs_enabled",
         "vtraces_enabled", "vector_enabled", "vmetrics_enabled"),
        False,
    ),
    "infra_portal": SITES,
    "nginx_users": {"ann": "portal-Password"},
    "grafana_admin_password": PASSWORD,
    "grafana_datasources": {
        "Shop": {"type": "prometheus", "url": "http://10.10.10.30:9090", "basicAuth": True,
                 "basicAuthUser": "scraper", "secureJsonData": {"basicAuthPassword": "sec$ret"}},
    },
    "grafana_dashboards": {"shop": SHOP},
}  # fmt: skip


@pytest.fixture(scope="module")
def vendor(tmp_path_factory):
    return vendors.repository(tmp_path_factory.mktemp("vendor"))


@pytest.fixture(scope="module")
def pillar(vendor):
    return {"infra": {**vendor.parameters(), **PILLAR}}


@pytest.fixture(scope="module")
def lab(boot_lab, pillar, vendor):
    site = boot_lab(pillar=pillar)
    with vendor.served(site):
        yield site


@pytest.fixture(scope="module")
def machine(lab):
    return lab.machine("infra-1")


@pytest.fixture(scope="module")
def applied(machine):
    return machine.apply(check=False)


def ask(machine, path, *words, host="i.pigsty", port=80, user=""):
    """Ask over HTTP, or HTTPS at port 443; returns the status code and the answer."""
    sign = ["-u", user] if user else []
    scheme = "https" if port == 443 else "http"
    url = f"{scheme}://{host}{'' if port in (80, 443) else f':{port}'}{path}"
    resolve = f"{host}:{port}:10.10.10.10"
    told = machine.run(
        ["curl", "-sk", "-o", "-", "-w", "\n%{http_code} %{redirect_url}", "--resolve", resolve,
         *sign, *words, url],
        check=False,
    ).stdout  # fmt: skip
    body, _, last = told.rpartition("\n")
    code, _, location = last.partition(" ")
    return int(code), location or body


def api(machine, path, *words, password=PASSWORD, user="admin"):
    code, body = ask(machine, f"/ui/api{path}", *words, user=f"{user}:{password}")
    assert code == 200, (path, code, body)
    return json.loads(body)


def invocation(machine, unit="grafana-server"):
    return machine.run(["systemctl", "show", "-p", "InvocationID", "--value", unit]).stdout.strip()


def uids(machine, **who):
    return {one["name"]: (one["uid"], one["made"]) for one in api(machine, "/datasources", **who)}


def changed(machine, **parameters):
    """Apply with other parameters; returns the changes by what the state is of."""
    done = machine.apply(pillar={"infra": parameters}, check=False)
    assert done.ok, done.complaint()
    return {title.split()[0]: changes for title, changes in done.changes.items()}


def test_one_command_makes_it_well(machine, applied):
    assert applied.ok, applied.complaint()
    code, body = ask(machine, "/ui/api/health")
    assert (code, json.loads(body)["database"]) == (200, "ok")
    row = machine.salt_call("infra_status.services", check=False)["grafana"]
    assert (row["running"], row["healthy"]) == (True, True)


def test_it_shows_what_is_declared_under_uids_of_ours(machine, applied):
    found = uids(machine)
    assert {name: uid for name, (uid, _) in found.items()} == {
        "Static": "ds-static",
        "Shop": "shop",
    }
    boards = {b["uid"]: b["folderTitle"] for b in api(machine, "/search")}
    assert boards["shop"] == "Site"


def test_a_second_time_changes_nothing_and_makes_nothing_anew(machine, applied):
    before = uids(machine), invocation(machine)
    assert machine.apply().changes == {}
    assert (uids(machine), invocation(machine)) == before


def test_no_secret_is_told_to_others(machine, applied):
    told = json.dumps(applied)
    for secret, written in ((PASSWORD, PASSWORD), ("sec$ret", "sec$$ret")):
        assert secret not in told
        places = ["/etc", "/infra/grafana", "/var/lib/infra", "/var/log"]
        found = machine.run(["grep", "-rlF", written, *places], check=False).stdout.split()
        modes = machine.run(["stat", "-c", "%U:%G %a", *found]).stdout.split("\n")[:-1]
        assert found
        assert set(modes) <= {"root:grafana 640"}, (found, modes)
    hidden = machine.run(["runuser", "-u", "nobody", "--", "cat", "/etc/grafana/grafana.ini"],
                         check=False)  # fmt: skip
    assert hidden.returncode != 0


def test_nobody_sees_anything_without_signing_in(machine, applied):
    assert ask(machine, "/ui/")[1].endswith("/ui/login")
    assert ask(machine, "/ui/api/search")[0] == 401
    assert ask(machine, "/ui/api/user", user="admin:pigsty")[0] == 401


def test_it_is_served_under_its_own_name_and_by_its_address(machine, applied):
    code, location = ask(machine, "/d/shop", host="g.pigsty")
    assert (code, location) == (301, "http://g.pigsty/ui/d/shop")
    assert ask(machine, "/ui/api/health", host="g.pigsty")[0] == 200
    assert ask(machine, "/ui/api/health", port=3000)[0] == 200


def test_who_has_the_cookie_is_protected_from_other_sites(machine, applied):
    login = json.dumps({"user": "admin", "password": PASSWORD})
    jar = "/root/jar"
    for host in ("i.pigsty", "g.pigsty"):
        signed = ["-H", f"Origin: http://{host}", "-d", login, "-c", jar]
        assert ask(machine, "/ui/login", *signed, host=host)[0] == 200
        for origin, wanted in ((f"http://{host}", 200), ("http://evil.example", 403)):
            words = ["-b", jar, "-H", f"Origin: {origin}", "-H", "Content-Type: application/json",
                     "-d", '{"dashboard": {"uid": "mine", "title": "Mine"}}']  # fmt: skip
            assert ask(machine, "/ui/api/dashboards/db", *words, host=host)[0] == wanted


def test_what_is_ours_is_not_saved_over_and_what_is_theirs_is_kept(machine, applied):
    post = ["-H", "Content-Type: application/json", "-d"]
    ours = json.dumps({"dashboard": {**SHOP, "title": "Changed"}})
    code, body = ask(machine, "/ui/api/dashboards/db", *post, ours, user=f"admin:{PASSWORD}")
    assert (code, json.loads(body)["message"]) == (400, "Cannot save provisioned dashboard")
    theirs = json.dumps({"dashboard": {"uid": "late", "title": "Theirs"}})
    api(machine, "/dashboards/db", *post, theirs)
    both = {"shop": SHOP, "late": {"uid": "late", "title": "Late", "panels": []}}
    changes = changed(machine, grafana_dashboards=both)
    kept = changes["infra-grafana-dashboards-managed"]["dashboard late"]
    assert kept == ("a user's dashboard; backed up as /var/lib/infra/replaced/grafana/late.json")
    saved = json.loads(machine.read("/var/lib/infra/replaced/grafana/late.json"))
    assert saved["title"] == "Theirs"
    titles = {b["uid"]: b["title"] for b in api(machine, "/search")}
    assert titles["late"] == "Late"


def test_what_is_taken_out_of_the_pillar_is_taken_out_of_grafana(machine, applied):
    before = invocation(machine)
    changed(machine, grafana_datasources={"Depot": {"type": "loki", "url": "http://d:3100"}})
    assert uids(machine)["Depot"][0] == "depot"
    machine.apply()
    assert set(uids(machine)) == {"Static", "Shop"}
    assert "late" not in {b["uid"] for b in api(machine, "/search")}
    assert invocation(machine) == before


def test_another_password_takes_effect_and_the_old_one_is_refused(machine, applied):
    before = invocation(machine), uids(machine)
    other = "second-Pass word"
    changes = changed(machine, grafana_admin_password=other)
    assert changes["infra-grafana-administrator-known"] == {"admin": "password set (not shown)"}
    assert other not in json.dumps(changes)
    assert api(machine, "/user", password=other)["isGrafanaAdmin"] is True
    assert ask(machine, "/ui/api/user", user=f"admin:{PASSWORD}")[0] == 401
    assert uids(machine, password=other) == before[1]
    again = machine.apply(pillar={"infra": {"grafana_admin_password": other}})
    assert again.changes == {}
    machine.apply()
    assert api(machine, "/user")["login"] == "admin"


def test_a_password_that_somebody_changed_in_grafana_is_set_back(machine, applied):
    body = json.dumps({"oldPassword": PASSWORD, "newPassword": "somebody's"})
    put = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", body]
    api(machine, "/user/password", *put)
    done = machine.apply()
    assert list(done.changes) == ["infra-grafana-administrator-known (infra_grafana.administrator)"]
    assert api(machine, "/user")["login"] == "admin"


@pytest.mark.soak
def test_another_name_is_taken_by_the_administrator_that_is_there(machine, applied):
    changes = changed(machine, grafana_admin_username="root")
    told = changes["infra-grafana-administrator-known"]["root"]
    assert told == "password set (not shown); renamed from admin"
    assert api(machine, "/user", user="root")["id"] == 1
    machine.apply()
    assert api(machine, "/user")["id"] == 1


def test_a_setting_restarts_grafana_alone(machine, applied):
    before = invocation(machine), invocation(machine, "nginx")
    changes = changed(machine, grafana_anonymous="viewer", grafana_theme="dark", language="zh")
    assert changes["infra-grafana-settings-managed"]["grafana-server"].startswith("restarted")
    assert ask(machine, "/ui/api/search")[0] == 200
    assert ask(machine, "/ui/api/datasources")[0] == 401
    after = invocation(machine), invocation(machine, "nginx")
    assert (before[0] != after[0], before[1] == after[1]) == (True, True)
    machine.apply()
    assert ask(machine, "/ui/api/search")[0] == 401


FORGED = ("X-WEBAUTH-USER", "x-webauth-user", "X-Webauth-User", "X_WEBAUTH_USER")


@pytest.mark.parametrize("host", ["i.pigsty", "g.pigsty"])
def test_only_the_portal_says_who_signed_in(lab, machine, applied, host):
    signed = {key: {**entry, "auth": True} for key, entry in SITES.items()}
    parameters = {"grafana_auth_proxy": True, "infra_portal": signed}
    if host == "i.pigsty":
        changed(machine, **parameters)
    forged = [word for name in FORGED for word in ("-H", f"{name}: admin")]
    # Without a sign-in the portal lets nobody through, whatever the header says.
    assert ask(machine, "/ui/api/user", *forged, host=host, port=443)[0] == 401
    code, body = ask(machine, "/ui/api/user", *forged, host=host, port=443,
                     user="ann:portal-Password")  # fmt: skip
    assert (code, json.loads(body)["login"]) == (200, "ann")
    assert json.loads(body)["isGrafanaAdmin"] is False
    # Nor does Grafana believe it of anybody else than the portal.
    straight = ["curl", "-s", *forged, "http://10.10.10.10:3000/ui/api/user"]
    assert "proxy authentication required" in lab.net(straight).stdout


def test_without_the_proxy_the_header_means_nothing(machine, applied):
    machine.apply()
    forged = [word for name in FORGED for word in ("-H", f"{name}: admin")]
    for host in ("i.pigsty", "g.pigsty"):
        assert ask(machine, "/ui/api/user", *forged, host=host)[0] == 401


# What the pillar's check finds is in test/functional/test_grafana.py.
FAULTS = {
    "a mistake in the pillar": ({"grafana_dashboards": {"x": "{"}}, "grafana_dashboards.x"),
    "a database that is not there": (
        {"grafana_pgurl": "postgres://u:hush@127.0.0.1:5436/grafana"},
        "127.0.0.1:5436 does not answer"),
    "what Grafana does not start with": (
        {"grafana_config": {"smtp": {"no_such_setting": 1}}}, "no_such_setting"),
    "a port that is taken": ({"grafana_port": 80}, "grafana_port: port 80 is taken by nginx"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_is_named_and_what_ran_runs_on(machine, applied, fault):
    parameters, named = FAULTS[fault]
    done = machine.apply("infra.grafana", pillar={"infra": parameters}, check=False)
    assert not done.ok
    assert named in done.complaint()
    assert "hush" not in done.complaint()
    assert api(machine, "/user")["login"] == "admin"


def test_after_the_mistakes_nothing_is_left_of_them(machine, applied):
    # The firewall followed a port before the service refused it, and follows back.
    assert {title.split()[0] for title in machine.apply().changes} <= {
        "infra-firewall-services-confined"
    }
    assert machine.apply().changes == {}


def test_test_mode_tells_and_changes_nothing(machine, applied):
    before = invocation(machine)
    other = {"infra": {"grafana_theme": "dark", "grafana_admin_password": "other-Password"}}
    told = machine.apply(pillar=other, test=True)
    assert {title.split()[0] for title in told.changes} == {
        "infra-grafana-settings-managed", "infra-grafana-administrator-known"}  # fmt: skip
    assert invocation(machine) == before
    assert api(machine, "/user")["login"] == "admin"


@pytest.mark.soak
def test_the_way_back_keeps_the_database(machine, applied):
    assert machine.apply("infra.grafana.clean", pillar={"infra": {"infra_safeguard": False}}).ok
    assert ask(machine, "/ui/api/health", port=3000)[0] == 0
    assert "the sample of the package" in machine.read("/etc/grafana/grafana.ini")
    machine.run(["test", "-e", "/var/lib/grafana/grafana.db"])
    assert machine.apply().ok
    assert {b["uid"] for b in api(machine, "/search")} >= {"shop"}


@pytest.mark.soak
def test_the_database_is_destroyed_only_when_it_is_named(machine, applied):
    post = ["-H", "Content-Type: application/json", "-d"]
    api(machine, "/dashboards/db", *post, json.dumps({"dashboard": {"uid": "my", "title": "My"}}))
    refused = machine.apply(pillar={"infra": {"grafana_clean": True}}, check=False)
    assert "grafana_clean_confirm: /var/lib/grafana/grafana.db" in refused.complaint()
    assert "my" in {b["uid"] for b in api(machine, "/search")}
    asked = {"grafana_clean": True, "grafana_clean_confirm": "/var/lib/grafana/grafana.db"}
    changed(machine, **asked)
    assert "my" not in {b["uid"] for b in api(machine, "/search")}
    assert machine.apply(pillar={"infra": asked}).changes == {}
