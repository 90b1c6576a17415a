#!/usr/bin/env python3
"""The repository beside the programs that do the same, each at its best, in one run.

Usage: bench_repo.py [--packages N] [--many N] [--repeat N] [--only deb,rpm,publish,fetch,many]

The packages are real ones, fetched once through apt from the machine's own sources, and kept in
${INFRA_CACHE:-~/.cache/infra-formula}/bench-repo; `many` has small ones of its own. All of it is in
memory. Each figure is the best of the repeats, of both sides in turn. The processor's time is that
of all processes together, which a busy machine changes least.

apt-ftparchive writes SHA-256 alone and no Contents, as the formula does. aptly and reprepro publish
the same packages from a folder, signed; the formula resolves, fetches from a file: upstream and
verifies them besides. Files are fetched from nginx through a relay that delays bytes, not requests,
by a round trip of 20 ms; curl has as many connections as the formula. Asserts nothing. aptly and
reprepro are Debian's packages; what is not installed is left out.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "_utils"), str(REPO), str(REPO / "test"), str(REPO / "test/support")]

import report  # noqa: E402
from infra_formula.minion import Minion  # noqa: E402
from infra_formula.repository import apt as infra_repo_apt  # noqa: E402
from infra_formula.repository import fetching as infra_repo_fetch  # noqa: E402
from infra_formula.repository import indexes as infra_repo_index  # noqa: E402
from infra_formula.repository import package_store, published, signing  # noqa: E402
from ports import free_port  # noqa: E402
from repo_samples import Key  # noqa: E402

CACHE = Path(
    os.environ.get("INFRA_CACHE") or Path.home() / ".cache" / "infra-formula"
).expanduser() / "bench-repo"  # fmt: skip
ROUND_TRIP = 0.02  # seconds
CLOSURE = ["emacs-gtk", "postgresql", "nginx", "certbot", "mercurial"]
"""Packages whose closure is fetched whole."""

# Roots of a closure of some thousand packages: desktops, languages, databases.
ROOTS = [
    "gnome-core",
    "chromium",
    "thunderbird",
    "vlc",
    "blender",
    "mercurial",
    "subversion",
    "kde-plasma-desktop",
    "libreoffice",
    "gimp",
    "inkscape",
    "postgresql",
    "emacs",
    "texlive-latex-extra",
    "default-jdk",
    "golang",
    "rustc",
    "octave",
    "nginx",
    "haproxy",
    "dnsmasq",
    "chrony",
    "certbot",
    "r-base",
    "qemu-system-x86",
    "wireshark",
    "ansible",
    "docker.io",
    "mariadb-server",
    "erlang",
    "ruby-dev",
    "php",
    "nodejs",
    "ghc",
]


def machine_sources():
    """The machine's own sources of Debian packages, as upstreams."""
    from lab import aptconf

    return [
        {
            "name": source.suite,
            "url": source.uri,
            "suite": source.suite,
            "components": source.components.split(),
            "keyring": source.signed_by or aptconf.KEYRING,
        }
        for source in aptconf.for_release(aptconf.codename())
    ]


def packages(number):
    """Fetch real packages into the cache; a folder of them and what apt says about each."""
    root = CACHE / "apt"
    found = infra_repo_apt.resolve(str(root), machine_sources(), "x86_64", ROOTS)
    chosen = found["packages"][:number]
    if len(chosen) < number:
        raise SystemExit(f"only {len(chosen)} packages; expected {number}")
    return pool_of(chosen, CACHE / f"pool-{number}"), chosen


def closure():
    """What apt says about the packages of CLOSURE, and all that they need."""
    root = str(CACHE / "apt")
    return infra_repo_apt.resolve(root, machine_sources(), "x86_64", CLOSURE)["packages"]


def pool_of(chosen, pool):
    """Have packages in a folder."""
    store = CACHE / "store"
    todo = [
        {"url": p["url"], "checksum": p["checksum"], "size": p["size"], "name": p["file"]}
        for p in chosen
        if not package_store.path(str(store), p["checksum"].partition(":")[2]).exists()
    ]
    if todo:
        infra_repo_fetch.fetch(
            Minion(), todo, str(store), str(CACHE / "partial"), timeout=60
        )  # fmt: skip
    shutil.rmtree(pool, ignore_errors=True)
    pool.mkdir(parents=True)
    for package in chosen:
        digest = package["checksum"].partition(":")[2]
        os.link(package_store.path(str(store), digest), pool / package["file"])
    return pool


class Cost(NamedTuple):
    """Seconds of the clock, and of the processors."""

    wall: float
    cpu: float


def processor_time():
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def costs(repeat, **runs: Callable[[], None] | tuple[Callable[[], None], Callable[[], None]]):
    """The least of some runs of each, in turn; a pair is what is done before, and the run."""
    best = dict.fromkeys(runs, Cost(float("inf"), float("inf")))
    for _ in range(repeat):
        for name, run in runs.items():
            before, function = run if isinstance(run, tuple) else (lambda: None, run)
            before()
            wall, cpu = time.perf_counter(), processor_time()
            function()
            best[name] = Cost(
                min(best[name].wall, time.perf_counter() - wall),
                min(best[name].cpu, processor_time() - cpu),
            )
    return best


def tool(argv, output=None, **options):
    """Run a program; what it says is not wanted, unless it fails."""
    with open(output or os.devnull, "wb") as out:
        done = subprocess.run(argv, stdout=out, stderr=subprocess.PIPE, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{argv}: {done.stderr.decode()[-500:]}")


class Table:
    """Rows of one table, and whether all bars are met."""

    met = True

    def __init__(self, title):
        self.title = title
        self.rows = []
        report.progress(title)

    def add(self, what, cost, base=None, base_name="", wall=0.0, cpu=0.0):
        """A row; ``wall`` and ``cpu`` are the most that it may take, as times of ``base``."""
        ratios = ["", "", ""]
        if base:
            ratios = [
                f"{cost.wall / base.wall:.2f} x", f"{cost.cpu / base.cpu:.2f} x", base_name
            ]  # fmt: skip
        bars = []
        for name, limit, got in (("wall", wall, 0), ("CPU", cpu, 1)):
            if limit and base:
                is_met = cost[got] <= limit * base[got]
                Table.met = Table.met and is_met
                bars.append(f"{name} {limit:g} x: {'met' if is_met else 'missed'}")
        self.rows.append((what, cost.wall, cost.cpu, *ratios, ", ".join(bars)))

    def close(self):
        head = ["", "seconds", "processor", "wall", "CPU", "of", "bar"]
        report.table(self.title, head, self.rows)


def sha256_alone():
    """Arguments of apt-ftparchive."""
    off = ("MD5", "SHA1", "SHA512", "Contents")
    return [part for kind in off for part in ("-o", f"APT::FTPArchive::{kind}=false")]


def bench_deb(pool, repeat):
    """Index packages for apt."""
    files = sorted(path.name for path in pool.iterdir())
    size = sum((pool / name).stat().st_size for name in files)
    table = Table(f"apt's index of {len(files)} packages, {size / 2**30:.2f} GiB,"
                  f" {infra_repo_index.processors()} processors")  # fmt: skip
    everything = [str(pool / name) for name in files]
    tool(["sha256sum", *everything])  # once unmeasured: all of it is in memory afterwards
    env = {**os.environ, "APT_CONFIG": str(CACHE / "empty.conf")}
    (CACHE / "empty.conf").touch()
    one = files[len(files) // 2]
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        cache, database = Path(tmp, "cache.db"), Path(tmp, "peer.db")
        out, former = Path(tmp, "out"), Path(tmp, "former")
        less = Path(tmp, "less")
        less.mkdir()
        for name in files:
            if name != one:
                os.link(pool / name, less / name)

        def ours(folder=pool, before=""):
            names = [name for name in files if folder is pool or name != one]
            texts = infra_repo_index.paragraphs(str(folder), names, str(cache))
            infra_repo_index.write_suite(
                str(out), "dists/x", {"Suite": "x"}, {"main/binary-amd64": texts}, before
            )

        def peer(*options, folder=pool):
            argv = ["apt-ftparchive", "-q", *sha256_alone(), *options, "packages", "."]
            tool(argv, Path(tmp, "Packages"), cwd=folder, env=env)
            if options:
                tool(["gzip", "-6kf", "--no-name", "Packages"], cwd=tmp)

        def known():
            database.unlink(missing_ok=True)
            peer("--db", str(database))
            cache.unlink(missing_ok=True)
            ours()
            shutil.rmtree(former, ignore_errors=True)
            shutil.copytree(out, former)

        def known_but_one():
            database.unlink(missing_ok=True)
            peer("--db", str(database), folder=less)
            cache.unlink(missing_ok=True)
            ours(less)

        found = costs(
            repeat,
            floor=lambda: tool(["openssl", "sha256", *everything]),
            plain=peer,
            cold=(lambda: cache.unlink(missing_ok=True), ours),
        )
        known()
        found |= costs(
            max(5, repeat),
            database=lambda: peer("--db", str(database)),
            unchanged=lambda: ours(before=str(former)),
        )
        found |= costs(
            repeat,
            one_database=(known_but_one, lambda: peer("--db", str(database))),
            one=(known_but_one, ours),
        )
    floor, plain = found["floor"], found["plain"]
    table.add("openssl sha256 of the same bytes (floor)", floor)
    table.add("apt-ftparchive", plain, floor, "the floor")
    table.add("formula, cold", found["cold"], plain, "apt-ftparchive", 0.65, 1.1)
    table.add("formula, cold", found["cold"], floor, "the floor", 1.4)
    table.add("apt-ftparchive --db and gzip, nothing changed", found["database"])
    table.add(
        "formula, nothing changed", found["unchanged"], found["database"], "apt-ftparchive --db", 1
    )
    table.add("apt-ftparchive --db and gzip, one package added", found["one_database"])
    table.add(
        "formula, one package added", found["one"], found["one_database"], "apt-ftparchive --db"
    )
    table.close()


def rpms(pool):
    """As many rpms with the same payload, made by one run of rpmbuild; kept."""
    number = len(list(pool.iterdir()))
    folder = CACHE / f"rpms-{number}"
    if folder.exists():
        return folder
    print("  making rpms of the same payload, once", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        lines = ["Name: bench", "Version: 1", "Release: 1", "Summary: x", "License: x",
                 "BuildArch: noarch", "%define _binary_payload w0.gzdio",
                 "%define __os_install_post %{nil}", "AutoReqProv: no",
                 "%description", "x", "%install",
                 "mkdir -p %{buildroot}/usr/share/bench"]  # fmt: skip
        names = sorted(path.name for path in pool.iterdir())
        lines += [f"cp '{pool / name}' %{{buildroot}}/usr/share/bench/{i}"
                  for i, name in enumerate(names)]  # fmt: skip
        for i, _name in enumerate(names):
            lines += [f"%package -n bench-{i}", "Summary: x", "AutoReqProv: no",
                      f"%description -n bench-{i}", "x", f"%files -n bench-{i}",
                      f"/usr/share/bench/{i}"]  # fmt: skip
        spec = Path(tmp, "bench.spec")
        spec.write_text("\n".join(lines) + "\n")
        tool(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp}", str(spec)])
        made = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        for path in Path(tmp, "RPMS").rglob("*.rpm"):
            path.rename(made / path.name)
        made.rename(folder)
    return folder


def bench_rpm(pool, repeat):
    """Index packages for yum."""
    source = rpms(pool)
    names = sorted(path.name for path in source.iterdir())
    size = sum((source / name).stat().st_size for name in names)
    table = Table(f"yum's index of {len(names)} packages, {size / 2**30:.2f} GiB")
    tool(["sha256sum", *(str(source / name) for name in names)])
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        cache = Path(tmp, "cache")
        stage = Path(tmp, "stage")

        def lay(wanted):
            shutil.rmtree(stage, ignore_errors=True)
            (stage / "el9/rpms").mkdir(parents=True)
            for name in wanted:
                os.link(source / name, stage / "el9/rpms" / name)

        def ours():
            infra_repo_index.write_repodata(str(stage), "el9", str(cache))

        def peer(*options):
            tool(["createrepo_c", "--quiet", "--no-database", "--compatibility",
                  "--general-compress-type=gz", *options, str(stage / "el9")])  # fmt: skip

        def forget(wanted=names):
            shutil.rmtree(cache, ignore_errors=True)
            lay(wanted)

        def known(wanted):
            forget(wanted)
            ours()
            metadata = stage / "el9/repodata"
            shutil.copytree(metadata, Path(tmp, "kept"), dirs_exist_ok=True)
            lay(names)

        def known_to_peer(wanted):
            lay(wanted)
            peer()
            for name in set(names) - set(wanted):
                os.link(source / name, stage / "el9/rpms" / name)

        found = costs(repeat, plain=(lambda: lay(names), peer), cold=(forget, ours))
        found |= costs(
            repeat,
            peer_same=(lambda: known_to_peer(names), lambda: peer("--update")),
            same=(lambda: known(names), ours),
            peer_one=(lambda: known_to_peer(names[:-1]), lambda: peer("--update")),
            one=(lambda: known(names[:-1]), ours),
        )
    table.add("createrepo_c", found["plain"])
    table.add("formula, cold", found["cold"], found["plain"], "createrepo_c")
    table.add("createrepo_c --update, nothing changed", found["peer_same"])
    table.add("formula, nothing changed", found["same"], found["peer_same"], "createrepo_c")
    table.add("createrepo_c --update, one package added", found["peer_one"])
    table.add("formula, one package added", found["one"], found["peer_one"], "createrepo_c")
    table.close()


class Upstream:
    """A signed apt upstream in a folder."""

    def __init__(self, root, key):
        self.root, self.key = Path(root), key
        (self.root / "pool").mkdir(parents=True)
        (self.root / "dists/stable/main/binary-amd64").mkdir(parents=True)

    def index(self):
        folder = self.root / "dists/stable"
        packages = folder / "main/binary-amd64/Packages"
        cache = self.root.with_name(f"{self.root.name}.db")
        tool(["apt-ftparchive", "-q", "--db", str(cache), *sha256_alone(), "packages", "pool"],
             packages, cwd=self.root)  # fmt: skip
        tool(["gzip", "-1kf", str(packages)])
        head = ["Suite: stable", "Codename: stable", "Architectures: amd64", "Components: main"]
        for path in folder.glob("*Release*"):
            path.unlink()
        sums = subprocess.run(["apt-ftparchive", "release", "."], cwd=folder, check=True,
                              capture_output=True, text=True)  # fmt: skip
        (folder / "Release").write_text("\n".join([*head, sums.stdout]))
        self.key.clear(folder / "Release", folder / "InRelease")


def request(upstream, home, names):
    """What a build is given for one upstream."""
    return {
        "name": "bench", "home": str(home), "targets": ["d12.x86_64"], "modules": "node",
        "upstream": [{"name": "up", "module": "node", "releases": [12], "arch": ["x86_64"],
                      "baseurl": f"{upstream.root.as_uri()} stable main",
                      "gpgkey": upstream.key.public}],
        "packages": names, "keep": 1,
    }  # fmt: skip


def bench_publish(repeat):
    """Publish a folder of packages, and one package more."""
    pool = pool_of(closure(), CACHE / "pool-closure")
    files = sorted(pool.iterdir())
    one = small_package(pool, "zz-one-more", "1")
    table = Table(f"Publish {len(files)} packages, signed: aptly, reprepro and the formula")
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        key = Key()
        upstream = Upstream(Path(tmp, "up"), key)
        home, cache, keys = Path(tmp, "www"), Path(tmp, "cache"), Path(tmp, "k")
        signing.key(str(keys))
        env = {**os.environ, "GNUPGHOME": key.home}
        peers = Path(tmp, "peers")

        def fresh():
            for folder in (home, cache, peers, upstream.root / "pool"):
                shutil.rmtree(folder, ignore_errors=True)
            (upstream.root / "pool").mkdir()
            for path in files:
                os.link(path, upstream.root / "pool" / path.name)
            upstream.index()
            (peers / "conf").mkdir(parents=True)
            (peers / "conf/distributions").write_text(
                "Codename: stable\nArchitectures: amd64\nComponents: main\n"
                f"SignWith: {key.fingerprint}\n"
            )
            (peers / "aptly.conf").write_text(
                json.dumps({"rootDir": str(peers / "aptly"), "architectures": ["amd64"]})
            )

        def add():
            os.link(one, upstream.root / "pool" / one.name)
            upstream.index()

        def build():
            is_added = (upstream.root / "pool" / one.name).exists()
            names = [*CLOSURE, *(["zz-one-more"] if is_added else [])]
            transfer = {"cache": str(cache), "state": str(Path(tmp, "state"))}
            given = request(upstream, home, names)
            published.build(Minion(), given, key={"home": str(keys)}, transfer=transfer)

        def aptly(*argv):
            tool(["aptly", f"-config={peers / 'aptly.conf'}", *argv], env=env)

        def aptly_first():
            aptly("repo", "create", "bench")
            aptly("repo", "add", "bench", str(upstream.root / "pool"))
            aptly("publish", "repo", "-distribution=stable", "-batch", "-skip-contents",
                  f"-gpg-key={key.fingerprint}", "bench")  # fmt: skip

        def aptly_next():
            aptly("repo", "add", "bench", str(one))
            aptly("publish", "update", "-batch", "-skip-contents",
                  f"-gpg-key={key.fingerprint}", "stable")  # fmt: skip

        def reprepro(paths):
            tool(["reprepro", "-b", str(peers), "--silent", "includedeb", "stable", *paths],
                 env=env)  # fmt: skip

        def pool_files():
            return [str(path) for path in sorted((upstream.root / "pool").iterdir())]

        runs = {"formula": (build, build)}
        if shutil.which("aptly"):
            runs["aptly"] = (aptly_first, aptly_next)
        if shutil.which("reprepro"):
            runs["reprepro"] = (lambda: reprepro(pool_files()), lambda: reprepro([str(one)]))
        found = {}
        for name, (first, following) in runs.items():

            def then(first=first):
                fresh()
                first()
                add()

            found[name] = costs(repeat, first=(fresh, first), following=(then, following))
        key.close()
        subprocess.run(["gpgconf", "--homedir", keys, "--kill", "all"], check=False)
    for step, title in (("first", "publish"), ("following", "one package more")):
        for name in sorted(found, key=lambda n: n == "formula"):
            others = [(n, c[step]) for n, c in found.items() if n != "formula"]
            fastest = min(others, key=lambda pair: pair[1].wall, default=None)
            base = (fastest[1], fastest[0]) if name == "formula" and fastest else (None, "")
            table.add(f"{name}: {title}", found[name][step], *base)
    table.close()


@contextlib.contextmanager
def far_away(root):
    """Serve a folder by nginx, a round trip away; the URL."""
    port = free_port()
    config = root.parent / "nginx.conf"
    config.write_text(
        f"daemon off; pid {root.parent}/pid; error_log /dev/null; worker_processes 1;"
        " user root; events {} http { access_log off; sendfile on; keepalive_requests 100000;"
        f" server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    )
    nginx = subprocess.Popen(["nginx", "-c", config], stderr=subprocess.DEVNULL)
    relay = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("relay.py"), str(port), str(ROUND_TRIP / 2)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{relay.stdout.readline().strip()}"
    finally:
        for process in (relay, nginx):
            process.terminate()
            process.wait()


def bench_fetch(chosen, repeat):
    """Fetch packages through a relay."""
    small = sorted(chosen, key=lambda p: p["size"])[:200]
    connections = infra_repo_fetch.CONNECTIONS
    table = Table(f"Fetch by {connections} connections, {ROUND_TRIP * 1000:.0f} ms away")
    for name, picked in (
        ("apt-get download", small),
        ("apt-get install --download-only", closure()),
    ):
        with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
            root = Path(tmp, "up")
            root.mkdir()
            root.chmod(0o755)
            Path(tmp).chmod(0o755)
            pool_of(picked, root / "pool")
            tool(["apt-ftparchive", "packages", "pool"], root / "Packages", cwd=root)
            with far_away(root) as url:
                found = fetch_costs(Path(tmp), url, picked, name, repeat)
        size = sum(p["size"] for p in picked) / 2**20
        table.add(f"{name}, {len(picked)} packages, {size:.0f} MiB", found["theirs"])
        table.add("formula", found["ours"], found["theirs"], name, 0.5)
        table.add("formula", found["ours"], found["curl"], "curl --parallel, sha256sum")
    table.close()


def fetch_costs(tmp, url, picked, name, repeat):
    client = tmp / "client"
    upstream = {"name": "x", "url": url, "suite": "./", "components": [], "keyring": ""}
    infra_repo_apt._make_root(
        client,
        {
            "etc/apt/sources.list.d/x.sources": infra_repo_apt.sources_text([upstream], "amd64"),
            "apt.conf": infra_repo_apt.config_text(str(client), "amd64"),
        },
    )
    env = {**os.environ, "APT_CONFIG": str(client / "apt.conf")}
    tool(["apt-get", "update", "-qq"], env=env)
    out, archives = tmp / "out", client / "var/cache/apt/archives"
    if name == "apt-get download":
        versions = [f"{p['name']}={p['version']}" for p in picked]
        command = ["apt-get", "download", "-qq", *versions]
    else:
        command = ["apt-get", "install", "-qq", "-y", "--download-only", *CLOSURE]
    items = [
        {"url": f"{url}/pool/{p['file']}", "checksum": p["checksum"], "size": p["size"],
         "name": p["file"]} for p in picked
    ]  # fmt: skip

    def empty():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for path in archives.glob("*.deb"):
            path.unlink()

    def ours():
        infra_repo_fetch.fetch(Minion(), items, str(out / "s"), str(out / "p"))

    def curl():
        """curl by itself, and what compares its files with their checksums."""
        (out / "curl").write_text(
            "".join(f'url = "{one["url"]}"\noutput = "{one["name"]}"\n' for one in items)
        )
        (out / "sums").write_text(
            "".join(f"{one['checksum'].partition(':')[2]}  {one['name']}\n" for one in items)
        )
        at_once = str(infra_repo_fetch.CONNECTIONS)
        tool(["curl", "-sS", "--fail", "--parallel", "--parallel-max", at_once, "-K", "curl"],
             cwd=out)  # fmt: skip
        tool(["sha256sum", "--check", "--quiet", "sums"], cwd=out)

    return costs(repeat, theirs=(empty, lambda: tool(command, cwd=out, env=env)),
                 curl=(empty, curl), ours=(empty, ours))  # fmt: skip


def bench_many(number):
    """Build a repository of many small packages."""
    table = Table(f"A repository of {number} packages")
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        key = Key()
        signing.key(f"{tmp}/k")
        upstream = Upstream(Path(tmp, "up"), key)
        for index in range(number):
            small_package(upstream.root / "pool", f"sample-{index}", f"1.{index}")
        upstream.index()
        given = request(upstream, Path(tmp, "www"), [f"sample-{i}" for i in range(number)])
        file = Path(tmp, "request.json")
        for title, force in (("built", False), ("the same again", False), ("asked anew", True)):
            file.write_text(json.dumps([given, tmp, force]))
            done = subprocess.run([sys.executable, __file__, "--build", file], check=True,
                                  capture_output=True, text=True)  # fmt: skip
            wall, cpu, memory = json.loads(done.stdout.splitlines()[-1])
            table.add(f"{title}; {memory / 1024:.0f} MiB at most", Cost(wall, cpu))
        key.close()
        subprocess.run(["gpgconf", "--homedir", f"{tmp}/k", "--kill", "all"], check=False)
    table.close()


def small_package(folder, name, version):
    """A package, written without dpkg-deb, which takes longer to start."""
    import io
    import tarfile

    def member(file, data):
        stamp = f"{file:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        return stamp + data + (b"\n" if len(data) % 2 else b"")

    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\n"
        "Section: misc\nPriority: optional\nDescription: sample\n"
    ).encode()
    parts = [member("debian-binary", b"2.0\n")]
    for file, content in (("control.tar.gz", {"./control": control}), ("data.tar.gz", {})):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            for path, data in content.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        parts.append(member(file, out.getvalue()))
    path = folder / f"{name}_{version}_all.deb"
    path.write_bytes(b"!<arch>\n" + b"".join(parts))
    return path


def build_once(file):
    """Build what a file asks for; prints seconds, those of the processors, and KiB of memory."""
    given, tmp, force = json.loads(Path(file).read_text())
    wall, cpu = time.perf_counter(), processor_time()
    transfer = {"cache": f"{tmp}/cache", "state": f"{tmp}/state"}
    published.build(Minion(), given, key={"home": f"{tmp}/k"}, transfer=transfer, force=force)
    seconds, used = time.perf_counter() - wall, processor_time() - cpu
    memory = max(resource.getrusage(who).ru_maxrss
                 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    print(json.dumps([seconds, used, memory]))


def main():
    """Run the benchmarks that are asked for; 1 where a bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=int, default=1700)
    parser.add_argument("--many", type=int, default=10000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="deb,rpm,publish,fetch,many")
    parser.add_argument("--build", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        build_once(arguments.build)
        return 0
    pool, chosen = packages(arguments.packages)
    wanted = arguments.only.split(",")
    if "deb" in wanted:
        bench_deb(pool, arguments.repeat)
    if "rpm" in wanted:
        bench_rpm(pool, arguments.repeat)
    if "publish" in wanted:
        bench_publish(arguments.repeat)
    if "fetch" in wanted:
        bench_fetch(chosen, arguments.repeat)
    if "many" in wanted:
        bench_many(arguments.many)
    return 0 if Table.met else 1


if __name__ == "__main__":
    sys.exit(main())
