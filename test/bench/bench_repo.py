#!/usr/bin/env python3
"""How fast the repository is indexed and fetched, beside the plain tools, in one run.

Usage: bench_repo.py [--packages N] [--repeat N] [--only deb,rpm,fetch]

The packages are real ones, fetched once through apt from the machine's own sources, and kept in
${INFRA_CACHE:-~/.cache/infra-formula}/bench-repo. Ratios say more than seconds: they are taken
between runs on the same machine within the same minute. Each figure is the best of the repeats.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "_utils"), str(REPO), str(REPO / "test"), str(REPO / "test/support")]

import report  # noqa: E402
from infra_formula.minion import Minion  # noqa: E402
from infra_formula.repository import apt as infra_repo_apt  # noqa: E402
from infra_formula.repository import fetching as infra_repo_fetch  # noqa: E402
from infra_formula.repository import indexes as infra_repo_index  # noqa: E402
from infra_formula.repository import package_store  # noqa: E402
from repo_samples import Server  # noqa: E402

CACHE = Path(
    os.environ.get("INFRA_CACHE") or Path.home() / ".cache" / "infra-formula"
).expanduser() / "bench-repo"  # fmt: skip
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
    pool = CACHE / f"pool-{number}"
    shutil.rmtree(pool, ignore_errors=True)
    pool.mkdir(parents=True)
    for package in chosen:
        digest = package["checksum"].partition(":")[2]
        os.link(package_store.path(str(store), digest), pool / package["file"])
    return pool, chosen


def seconds(function, repeat=1, before=None):
    """The best time of some runs."""
    best = float("inf")
    for _ in range(repeat):
        if before:
            before()
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def tool(argv, **options):
    """Run a program; what it says is not wanted, unless it fails."""
    done = subprocess.run(argv, capture_output=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{argv}: {done.stderr.decode()[-500:]}")


class Table:
    def __init__(self):
        self.rows = []
        self.met = True

    def add(self, what, value, base=0.0, base_name="", bar=""):
        ratio = f"{value / base:6.2f} x {base_name}" if base else ""
        self.rows.append((what, value, ratio.strip(), bar))
        print(f"{what:<46}{value:9.3f} s   {ratio:<28} {bar}", flush=True)

    def judge(self, text, ok):
        self.met = self.met and ok
        return f"bar: {text}: {'met' if ok else 'NOT MET'}"


def bench_deb(table, pool, repeat):
    """Index packages for apt."""
    files = sorted(path.name for path in pool.iterdir())
    size = sum((pool / name).stat().st_size for name in files)
    print(f"\napt: {len(files)} packages, {size / 2**30:.2f} GiB,"
          f" {infra_repo_index.processors()} processors")  # fmt: skip
    everything = [str(pool / name) for name in files]
    tool(["sha256sum", *everything])  # once unmeasured: all of it is in memory afterwards
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        cache = str(Path(tmp, "cache.db"))
        out = Path(tmp, "out")

        def ours(names):
            texts = infra_repo_index.paragraphs(str(pool), names, cache)
            infra_repo_index.write_suite(
                str(out), "dists/x", {"Suite": "x"}, {"main/binary-amd64": texts}
            )

        def forget():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(cache)

        clean = {**os.environ, "APT_CONFIG": "/dev/null"}
        floor = seconds(lambda: tool(["sha256sum", *everything]), repeat)
        plain = seconds(
            lambda: tool(["apt-ftparchive", "packages", "."], cwd=pool, env=clean), repeat
        )
        cold = seconds(lambda: ours(files), repeat, before=forget)
        nothing = seconds(lambda: ours(files), max(3, repeat))
        one = files[len(files) // 2]

        def removed():
            ours([name for name in files if name != one])

        def without():
            """Known but for one package: that is what one added is."""
            forget()
            removed()

        without()
        shutil.copy(cache, f"{cache}.kept")
        added = seconds(
            lambda: ours(files), max(3, repeat), before=lambda: shutil.copy(f"{cache}.kept", cache)
        )
        less = seconds(removed, max(3, repeat))
        perl = seconds(lambda: tool(["dpkg-scanpackages", "--multiversion", "."], cwd=pool), 1)
    table.add("sha256sum of the same bytes (floor)", floor)
    table.add("dpkg-scanpackages", perl, floor, "sha256sum")
    table.add("apt-ftparchive packages", plain, floor, "sha256sum")
    table.add("ours, cold", cold, plain, "apt-ftparchive",
              table.judge("at most 0.7", cold <= 0.7 * plain))  # fmt: skip
    table.add("ours, nothing changed", nothing, plain, "apt-ftparchive",
              table.judge("under 0.5 s", nothing < 0.5))  # fmt: skip
    table.add("ours, one package added", added, plain, "apt-ftparchive",
              table.judge("under 1 s", added < 1))  # fmt: skip
    table.add("ours, one package removed", less, plain, "apt-ftparchive")


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


def bench_rpm(table, pool, repeat):
    """Index packages for yum."""
    source = rpms(pool)
    names = sorted(path.name for path in source.iterdir())
    size = sum((source / name).stat().st_size for name in names)
    print(f"\nyum: {len(names)} packages, {size / 2**30:.2f} GiB")
    tool(["sha256sum", *(str(source / name) for name in names)])
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        cache = Path(tmp, "cache")
        stage = Path(tmp, "stage")

        def lay(wanted, target=stage):
            shutil.rmtree(target, ignore_errors=True)
            (target / "el9/rpms").mkdir(parents=True)
            for name in wanted:
                os.link(source / name, target / "el9/rpms" / name)

        def ours():
            infra_repo_index.write_repodata(str(stage), "el9", str(cache))

        def cold_start():
            shutil.rmtree(cache, ignore_errors=True)
            lay(names)

        plain = seconds(
            lambda: tool(["createrepo_c", "--quiet", str(stage / "el9")]),
            repeat,
            before=lambda: lay(names),
        )
        bare = seconds(
            lambda: tool(["createrepo_c", "--quiet", "--no-database", str(stage / "el9")]),
            repeat,
            before=lambda: lay(names),
        )
        cold = seconds(ours, repeat, before=cold_start)
        nothing = seconds(ours, repeat, before=lambda: lay(names))
        fewer = names[:-1]

        def known():
            shutil.rmtree(cache, ignore_errors=True)
            lay(fewer)
            ours()
            lay(names)

        added = seconds(ours, repeat, before=known)
        less = seconds(ours, repeat, before=lambda: lay(fewer))
    table.add("createrepo_c", plain)
    table.add("createrepo_c --no-database", bare, plain, "createrepo_c")
    table.add("ours, cold", cold, plain, "createrepo_c")
    table.add("ours, nothing changed", nothing, plain, "createrepo_c",
              table.judge("under 0.5 s", nothing < 0.5))  # fmt: skip
    table.add("ours, one package added", added, plain, "createrepo_c",
              table.judge("under 1 s", added < 1))  # fmt: skip
    table.add("ours, one package removed", less, plain, "createrepo_c")


def bench_fetch(table, pool, chosen, repeat):
    """Fetch packages from an upstream that takes 20 ms to answer."""
    picked = sorted(chosen, key=lambda p: p["size"])[:200]
    print(f"\nfetch: {len(picked)} packages,"
          f" {sum(p['size'] for p in picked) / 2**20:.1f} MiB, 20 ms per request")  # fmt: skip
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        root = Path(tmp, "up")
        (root / "pool").mkdir(parents=True)
        for package in picked:
            os.link(pool / package["file"], root / "pool" / package["file"])
        index = subprocess.run(["apt-ftparchive", "packages", "pool"], cwd=root,
                               capture_output=True, check=True).stdout  # fmt: skip
        (root / "Packages").write_bytes(index)
        server = Server(root, delay=0.02)
        upstream = {"name": "x", "url": server.url, "suite": "./", "components": [], "keyring": ""}
        items = [
            {"url": f"{server.url}/pool/{p['file']}", "checksum": p["checksum"],
             "size": p["size"], "name": p["file"]} for p in picked
        ]  # fmt: skip
        client = Path(tmp, "client")
        config = infra_repo_apt.config_text(str(client), "amd64")
        infra_repo_apt._make_root(client, infra_repo_apt.sources_text([upstream], "amd64"), config)
        env = {**os.environ, "APT_CONFIG": str(client / "apt.conf")}
        tool(["apt-get", "update", "-qq"], env=env)
        out = Path(tmp, "out")

        def empty():
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()

        theirs = seconds(
            lambda: tool(
                ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root",
                 *(f"{p['name']}={p['version']}" for p in picked)],
                cwd=out, env=env,
            ),
            repeat, before=empty,
        )  # fmt: skip
        ours = seconds(
            lambda: infra_repo_fetch.fetch(Minion(), items, str(out / "s"), str(out / "p")),
            repeat, before=empty,
        )  # fmt: skip
        server.close()
    table.add("apt-get download", theirs)
    table.add("ours, 8 connections", ours, theirs, "apt-get",
              table.judge("at least 5 times as fast", ours * 5 <= theirs))  # fmt: skip


def main():
    """Run the benchmarks that are asked for; 1 where a bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=int, default=1700)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="deb,rpm,fetch")
    arguments = parser.parse_args()
    table = Table()
    pool, chosen = packages(arguments.packages)
    wanted = arguments.only.split(",")
    if "deb" in wanted:
        bench_deb(table, pool, arguments.repeat)
    if "rpm" in wanted:
        bench_rpm(table, pool, arguments.repeat)
    if "fetch" in wanted:
        bench_fetch(table, pool, chosen, arguments.repeat)
    report.table(
        f"{arguments.packages} packages: seconds, and how many times as long as the plain tool",
        ["", "seconds", "beside", ""],
        table.rows,
    )
    return 0 if table.met else 1


if __name__ == "__main__":
    sys.exit(main())
