"""Stand-ins: packages under the vendor's names, for tests of `infra_packaging: upstream`.

Debian ships no VictoriaLogs, VictoriaTraces, Vector and Grafana. What stands in for them here are
small programs that refuse every flag that the real ones do not document and answer only what a test
asks.
Nothing in the formula knows of them. The other packages of the vendor hold the real programs,
taken out of Debian's packages and packed under the vendor's names and paths. A program that is
given (INFRA_PROGRAMS, see programs.py) is packed in the place of either. Which programs a package
holds is in its description.

`build` makes all of them, and a signed apt repository of them as the vendor's looks.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import programs

HERE = Path(__file__).resolve().parent
VERSION = "9.0.0-1"
KEY_NAME = "Stand-in of the vendor's repository (test)"


@dataclass(frozen=True)
class Package:
    """A package of the vendor.

    Attributes:
        programs: path in the package → the vendor's name of the program that it is.
        optional: as `programs`, of those that are packed only where they are given.
        shared: folders of Debian's package that Debian's program needs beside it.
        tree: path in the package of a program that is given as a tree.
        beside: further modules of this folder that a stand-in imports.
        libraries: packages of the tests' own Python that a stand-in imports.
        files: path in the package → text.
        installed: what its script does once it is unpacked.
        depends: what it needs.
        standin_depends: what a stand-in needs.
        users: accounts that its script makes, as the vendor's does.
    """

    programs: dict[str, str] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    tree: str = ""
    beside: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    installed: str = ""
    depends: str = ""
    standin_depends: str = "python3"
    users: tuple[str, ...] = ()


# The vendor's unit, as far as it concerns a test; its own hardening is left to our drop-in to show.
GRAFANA_UNIT = """[Unit]
Description=Grafana instance (of the test)
Wants=network-online.target
After=network-online.target

[Service]
EnvironmentFile=/etc/default/grafana-server
User=grafana
Group=grafana
Type=simple
Restart=on-failure
WorkingDirectory=/usr/share/grafana
RuntimeDirectory=grafana
RuntimeDirectoryMode=0750
ExecStart=/usr/share/grafana/bin/grafana server --config=${CONF_FILE} \\
  --pidfile=${PID_FILE_DIR}/grafana-server.pid --packaging=deb \\
  cfg:default.paths.logs=${LOG_DIR} cfg:default.paths.data=${DATA_DIR} \\
  cfg:default.paths.plugins=${PLUGINS_DIR} cfg:default.paths.provisioning=${PROVISIONING_CFG_DIR}
LimitNOFILE=10000
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
"""
GRAFANA_DEFAULTS = """LOG_DIR=/var/log/grafana
DATA_DIR=/var/lib/grafana
CONF_FILE=/etc/grafana/grafana.ini
PLUGINS_DIR=/var/lib/grafana/plugins
PROVISIONING_CFG_DIR=/etc/grafana/provisioning
PID_FILE_DIR=/run/grafana
"""
# What the vendor's script does: samples where nothing is there, and owners.
GRAFANA_INSTALLED = """
cd /etc/grafana
[ -e grafana.ini ] || echo '; the sample of the package' >grafana.ini
mkdir -p provisioning/datasources provisioning/dashboards /var/log/grafana /var/lib/grafana/plugins
sample=provisioning/datasources/sample.yaml
[ -e $sample ] || echo 'apiVersion: 1' >$sample
chown -R root:grafana /etc/grafana
chmod 0640 grafana.ini
chown -R grafana:grafana /var/log/grafana /var/lib/grafana
"""


def _plugins(*names: str) -> Package:
    where = "var/lib/grafana/plugins"
    return Package(files={f"{where}/{n}/plugin.json": f'{{"id": "{n}"}}\n' for n in names})


RELEASE = "trixie"
"""Debian's release whose programs they are: nearest to the vendor's, and they run on the older."""

PACKAGES = {
    "victoria-metrics": Package(
        {"usr/bin/victoria-metrics": "victoria-metrics"}, depends="libzstd1"
    ),
    "vmutils": Package(
        {"usr/bin/vmalert": "vmalert"}, {"usr/bin/vmagent": "vmagent"}, depends="libzstd1"
    ),
    "victoria-metrics-cluster": Package(
        optional={f"usr/bin/{name}": name for name in ("vminsert", "vmselect", "vmstorage")}
    ),
    "alertmanager": Package(
        {"usr/bin/alertmanager": "alertmanager", "usr/bin/amtool": "amtool"},
        shared=("usr/share/prometheus/alertmanager",),
        users=("prometheus",),
    ),
    "blackbox-exporter": Package(
        {"usr/bin/blackbox_exporter": "blackbox_exporter"}, users=("prometheus",)
    ),
    "nginx-exporter": Package({"usr/bin/nginx_exporter": "nginx_exporter"}, users=("prometheus",)),
    "node-exporter": Package({"usr/bin/node_exporter": "node_exporter"}, users=("prometheus",)),
    "victoria-logs": Package(
        {"usr/bin/victoria-logs": "victoria-logs"}, beside=("../../support/logsql.py",)
    ),
    "victoria-traces": Package({"usr/bin/victoria-traces": "victoria-traces"}, beside=("otlp.py",)),
    "grafana": Package(
        {"usr/share/grafana/bin/grafana": "grafana"},
        tree="usr/share/grafana",
        beside=("grafana_settings.py", "grafana_store.py"),
        files={
            "usr/lib/systemd/system/grafana-server.service": GRAFANA_UNIT,
            "etc/default/grafana-server": GRAFANA_DEFAULTS,
            "etc/grafana/ldap.toml": "# of the test\n",
        },
        standin_depends="python3, python3-yaml",
        users=("grafana",),
        installed=GRAFANA_INSTALLED,
    ),
    "grafana-plugins": _plugins("marcusolsson-static-datasource", "volkovlabs-echarts-panel"),
    "grafana-victoriametrics-ds": _plugins("victoriametrics-metrics-datasource"),
    "grafana-victorialogs-ds": _plugins("victoriametrics-logs-datasource"),
    "vector": Package(
        {"usr/bin/vector": "vector"},
        beside=("vector_reference.py", "vector_reference.json"),
        libraries=("vrl_python",),
        standin_depends="python3, python3-yaml",
        users=("vector",),
    ),
}


def build(folder: Path, version: str = VERSION) -> Path:
    """Build all packages and the repository of them.

    Args:
        folder: an empty folder.
        version: version of the packages.

    Returns:
        The repository: `dists/generic`, `pool`, and its public key `key.asc`.
    """
    pool = folder / "repo/pool"
    pool.mkdir(parents=True)
    for name, package in PACKAGES.items():
        _pack(name, package, version, folder / "build" / name, pool)
    _publish(folder / "repo", folder / "gpg")
    return folder / "repo"


def _pack(name: str, package: Package, version: str, root: Path, pool: Path) -> None:
    (root / "DEBIAN").mkdir(parents=True)
    optional = {path: one for path, one in package.optional.items() if one in programs.given()}
    uses = []
    for path, program in {**package.programs, **optional}.items():
        source, use = programs.locate(program, RELEASE)
        uses.append(use)
        if use.origin == programs.GIVEN and package.tree:
            shutil.copytree(source, root / package.tree, dirs_exist_ok=True, symlinks=True)
        else:
            _install(Path(source), root / path)
    depends = package.depends
    if any(use.origin == programs.STANDIN for use in uses):
        depends = package.standin_depends
        standin_folder = root / "usr/share" / f"{name}-stand-in"
        for module in ("serving.py", "flags.json", *package.beside):
            _install(HERE / module, standin_folder / Path(module).name, 0o644)
        for library in package.libraries:
            _copy_library(library, standin_folder)
    for tree in package.shared:
        debians = programs.PROGRAMS[next(iter(package.programs.values()))].package
        source_tree = programs.unpacked(debians, RELEASE) / tree
        shutil.copytree(source_tree, root / tree, dirs_exist_ok=True, symlinks=True)
    for path, text in package.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    lines = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "tests of the infra formula <root@localhost>",
        "Depends": depends,
        "Description": f"{name}, for tests{programs.describe(uses)}",
    }
    control = "".join(f"{key}: {value}\n" for key, value in lines.items() if value)
    (root / "DEBIAN/control").write_text(control)
    if package.users:
        made = "\n".join(
            f"getent passwd {user} >/dev/null || useradd --system --user-group {user}"
            for user in package.users
        )
        preinst = root / "DEBIAN/preinst"
        preinst.write_text(f"#!/bin/sh\nset -e\n{made}\n")
        preinst.chmod(0o755)
    if package.installed:
        postinst = root / "DEBIAN/postinst"
        postinst.write_text(f"#!/bin/sh\nset -e\n{package.installed}")
        postinst.chmod(0o755)
    _run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(root), str(pool))


def _copy_library(name: str, target: Path) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{name} is not installed: see test/requirements.txt")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(spec.origin).parent, target / name, dirs_exist_ok=True, ignore=ignored)


def _install(source: Path, target: Path, mode: int = 0o755) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _publish(repo: Path, gpg: Path) -> None:
    dist = repo / "dists/generic/main/binary-amd64"
    dist.mkdir(parents=True)
    index = _run("apt-ftparchive", "packages", "pool", cwd=repo)
    (dist / "Packages").write_text(index)
    fields = {"Origin": "Pigsty", "Codename": "generic", "Suite": "generic", "Components": "main",
              "Architectures": "amd64"}  # fmt: skip
    options = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in fields.items()]
    release = _run("apt-ftparchive", *options, "release", "dists/generic", cwd=repo)
    (repo / "dists/generic/Release").write_text(release)
    gpg.mkdir(mode=0o700)
    sign = ["gpg", "--homedir", str(gpg), "--batch", "--yes", "--pinentry-mode", "loopback",
            "--passphrase", ""]  # fmt: skip
    _run(*sign, "--quick-generate-key", KEY_NAME, "rsa3072", "sign", "never")
    _run(*sign, "--armor", "--output", str(repo / "key.asc"), "--export")
    _run(*sign, "--output", str(repo / "dists/generic/InRelease"), "--clearsign",
         str(repo / "dists/generic/Release"))  # fmt: skip
    _run("gpgconf", "--homedir", str(gpg), "--kill", "all")


def _run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def fingerprint(repo: Path) -> str:
    """Return the fingerprint of the key that signed a repository of `build`."""
    key, home = repo / "key.asc", repo.parent / "gpg"
    shown = ["gpg", "--homedir", str(home), "--with-colons", "--show-keys", str(key)]
    told = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    return next(line.split(":")[9] for line in told.splitlines() if line.startswith("fpr:"))
