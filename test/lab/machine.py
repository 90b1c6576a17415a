"""One machine of a lab: booted by systemd-nspawn, on its own network address."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import archive, container, image, network, paths, snapshot
from . import pillar as pillars
from .applied import Applied
from .host import CommandError, LabError, kill, run, text
from .record import Process, Record
from .snapshot import Snapshot
from .suites import MachineSpec

BOOT_SECONDS = 90
KILL_SECONDS = 3
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
}


class Machine:
    """A machine of a lab.

    Attributes:
        name: its host name and minion id.
        address: its IPv4 address.
        spec: all that the suite says about it.
    """

    def __init__(self, record: Record, spec: MachineSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.address = spec.address
        self.address6 = spec.address6
        self._record = record
        self._folder = record.machine_folder(spec.name)
        self._launched: subprocess.Popen[str] | None = None
        self._snapshot: Snapshot | None = None

    # What it is made of

    def prepare(self, files: Mapping[str, str], name: str = "") -> None:
        """Lay out what the machine has over its image before it first boots.

        Args:
            files: text by absolute path, added to what every machine has of its own.
            name: of the snapshots that the machine may start from, and that `keep` takes; none if
                empty.
        """
        texts = {
            "/etc/hostname": f"{self.name}\n",
            "/etc/hosts": (
                "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
                f"{self.address} {self.name}\n"
            ),
            "/etc/resolv.conf": "".join(f"nameserver {ip}\n" for ip in network.nameservers()),
            **files,
        }
        if self._start_from_snapshot(name, texts):
            texts = {}  # it has them
        else:
            texts["/etc/machine-id"] = f"{uuid.uuid4().hex}\n"
        upper = self._folder / "disk.d" / "upper" if self.spec.disk else self._folder / "upper"
        for path, content in texts.items():
            target = upper / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        if self.spec.disk:
            (upper.parent / "work").mkdir()
            made = [*("mkfs.ext4", "-q", "-F", "-m", "0", "-d"), str(upper.parent)]
            run([*made, str(self._folder / "disk"), f"{self.spec.disk}M"])
        layer = self._folder / "packages"
        # A machine without a way out must not find packages that it could never have fetched.
        archive.layer(self._pool if self.spec.internet else Path("/nonexistent"), layer)

    def _start_from_snapshot(self, name: str, texts: Mapping[str, str]) -> bool:
        if not name:
            return False
        made = Path(self._record.images[self._platform])
        digest = snapshot.digest(made, self._state_folders(), texts)
        self._snapshot = Snapshot(name, digest)
        with snapshot.locked():
            if not self._snapshot.usable():
                return False
            # From here on it is in use.
            self._record.snapshots[self.name] = str(self._snapshot.folder)
            self._record.save()
        return True

    @property
    def from_snapshot(self) -> bool:
        """Whether the machine started from a snapshot."""
        return self.name in self._record.snapshots

    def keep(self) -> None:
        """Take a snapshot of the machine, which stands still meanwhile.

        Raises:
            LabError: it could not be taken.
        """
        init = self._init()
        if self._snapshot is None or init is None:
            raise LabError(f"{self.name} was not prepared for a snapshot, or is switched off.")
        with container.frozen(init):
            self._snapshot.take(self._folder / "upper")

    @property
    def _platform(self) -> str:
        return self.spec.platform or self._record.platform

    @property
    def _pool(self) -> Path:
        return image.archives(self._platform)

    # Its life

    def launch(self) -> None:
        """Start booting; `wait` waits for the end of it.

        Raises:
            LabError: it is running.
        """
        if self.running():
            raise LabError(f"{self.name} is running already.")
        # Also what an end of systemd-nspawn alone would have left.
        self.kill()
        lower = [
            self._folder / "packages",
            *([Path(self._record.snapshots[self.name])] if self.from_snapshot else []),
            Path(self._record.images[self._platform]),
        ]
        with (self._folder / "console.log").open("a") as console:
            self._launched = container.start(
                self._folder,
                self._container,
                [
                    *("--boot", "--console=read-only", "--resolv-conf=off"),
                    f"--hostname={self.name}",
                    "--capability=CAP_NET_ADMIN",
                    f"--network-namespace-path={self._netns}",
                    *(f"--bind-ro={part}:/srv/salt/{part.name}" for part in self._state_folders()),
                ],
                console,
                lower=lower,
            )

    def wait(self) -> None:
        """Wait until systemd has booted the machine.

        Raises:
            LabError: it did not within its time; the message has the end of the console.
        """
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            if self._launched is not None and self._launched.poll() is not None:
                break
            if self._init() is not None:
                asked = self.run(["systemctl", "is-system-running"], check=False, timeout=10)
                if asked.stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.1)
        tail = (self._folder / "console.log").read_text(errors="replace").splitlines()[-20:]
        raise LabError("\n".join([f"{self.name} did not boot. Its console:", *tail]))

    def boot(self) -> None:
        """Boot the machine again, with everything that it had written; returns when it is up."""
        self.launch()
        self.wait()

    def kill(self) -> None:
        """Cut the power: every process of the machine ends at once, without a chance to tidy up."""
        supervisor = container.process(self._folder, self._record.boot)
        patience = time.monotonic() + KILL_SECONDS
        # Without its first process systemd-nspawn ends by itself, and removes what it has here.
        while supervisor is not None and supervisor.alive():
            init = self._init()
            if init is not None:
                kill(init)
            elif time.monotonic() > patience:
                kill(supervisor.pid)
            if self._launched is not None:
                self._launched.poll()
            time.sleep(0.02)
        if self._launched is not None:
            self._launched.wait()
            self._launched = None
        container.tidy(self._folder, self._container)

    def running(self) -> bool:
        """Tell whether the machine is switched on."""
        return self._init() is not None

    def remove(self) -> None:
        """Switch the machine off, and remove all that it has outside its folder."""
        self.kill()
        network.remove_machine(self._record, self.name)
        if self.spec.internet:
            archive.harvest(self._folder / "upper", self._pool)

    @property
    def _container(self) -> str:
        return f"{self._record.name}.{self.name}"

    @property
    def _netns(self) -> Path:
        return network.NETNS / self._record.machine_netns(self.name)

    def _state_folders(self) -> list[Path]:
        """Return the folders that the machine has in /srv/salt: none where its master has them."""
        if self._record.master not in ("", self.name):
            return []
        tree = Path(self._record.tree)
        if tree == paths.CHECKOUT:
            return [tree / part for part in ("infra", "_modules", "_states", "_utils")]
        return sorted(part for part in tree.iterdir() if part.is_dir())

    def _init(self) -> int | None:
        """Return the id, on the host, of the machine's first process; None if it is off."""
        supervisor = container.process(self._folder, self._record.boot)
        if supervisor is None or not supervisor.alive():
            return None
        for pid in _children(supervisor):
            # The last of these is the id inside: 1 for the first process of a machine.
            if _status(pid, "NSpid").split()[1:] == ["1"]:
                return pid
        return None

    # Working with it

    def command(self, argv: Sequence[str], terminal: str = "") -> list[str]:
        """Return the host's command that runs a command on the machine.

        Args:
            argv: the command, as the machine knows it.
            terminal: the kind of terminal to tell it of, if any.

        Raises:
            LabError: the machine is switched off.
        """
        init = self._init()
        if init is None:
            raise LabError(f"{self.name} is switched off; boot it: test/lab/lab boot {self.name}")
        environment = {**ENVIRONMENT, **({"TERM": terminal} if terminal else {})}
        return [
            *("nsenter", f"--target={init}", "--mount", "--uts", "--ipc", "--net", "--pid"),
            *("--cgroup", "--", "env", "--ignore-environment", "--chdir=/root"),
            *(f"{name}={value}" for name, value in environment.items()),
            *argv,
        ]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: str | bytes | None = None,
        timeout: float | None = 600,
        on_error_line: Callable[[str], None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine, as root in its home, with a clean environment.

        Args:
            argv: the command and its arguments.
            check: raise when it ends with anything but 0.
            input: what its standard input has; none means an empty one.
            timeout: seconds that it may take.
            on_error_line: called with each line of its standard error as it comes.

        Returns:
            The completed process, with text output.

        Raises:
            CommandError: it failed (with `check`) or took too long; has what it said.
            LabError: the machine is switched off.
        """
        process = subprocess.Popen(
            self.command(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, which takes in what it starts on the machine.
            start_new_session=True,
        )
        lines = _Lines(process, on_error_line) if on_error_line else None
        data = input.encode() if isinstance(input, str) else input
        try:
            out, err = process.communicate(data, timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            said = lines.finish() if lines else text(err)
            raise CommandError(argv, None, text(out), said, self.name) from error
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        said = lines.finish() if lines else text(err)
        if check and process.returncode != 0:
            raise CommandError(argv, process.returncode, text(out), said, self.name)
        return subprocess.CompletedProcess(list(argv), process.returncode, text(out), said)

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file on the machine, with the folders that it lies in.

        Args:
            path: absolute path on the machine.
            content: the whole content.
            mode: its permissions.
        """
        self.run(["install", "-D", f"--mode={mode:o}", "/dev/stdin", path], input=content)

    def read(self, path: str) -> str:
        """Return the text of a file on the machine.

        Raises:
            CommandError: it cannot be read.
        """
        return self.run(["cat", "--", path]).stdout

    def put(self, source: Path, path: str) -> None:
        """Copy a file or folder of the host to the machine.

        Args:
            source: what to copy; a folder's content goes into `path`.
            path: absolute path on the machine: the copy's own name.
        """
        if source.is_file():
            self.write(path, source.read_bytes(), source.stat().st_mode & 0o777)
            return
        packed = subprocess.run(
            ["tar", "--create", f"--directory={source}", "."], capture_output=True, check=True
        )
        self.run(["mkdir", "-p", path])
        self.run(
            ["tar", "--extract", "--no-same-owner", f"--directory={path}"], input=packed.stdout
        )

    def salt_call(self, *words: str, check: bool = True, timeout: float | None = 900) -> Any:
        """Run `salt-call` on the machine, masterless unless its lab has a master.

        Args:
            words: function and arguments, and options if need be.
            check: raise when it ends with anything but 0.
            timeout: seconds that it may take.

        Returns:
            What the function returned.

        Raises:
            CommandError: it failed (with `check`), or answered with something other than JSON.
        """
        return self._salt_call(words, check, timeout, None)

    def apply(
        self,
        state: str = "infra",
        *,
        test: bool = False,
        pillar: Mapping[str, Any] | None = None,
        check: bool = True,
        timeout: float | None = 1800,
        progress: Callable[[str], None] | None = None,
    ) -> Applied:
        """Apply a state on the machine, masterless unless its lab has a master.

        Args:
            state: the state.
            test: only say what would change.
            pillar: merged over the machine's own pillar.
            check: raise when a state fails.
            timeout: seconds that it may take.
            progress: told of each state as it starts.

        Returns:
            The states' results by their ids.

        Raises:
            LabError: states failed (with `check`); the message has their comments.
        """
        words = ["state.apply", state]
        if test:
            words.append("test=True")
        if pillar is not None:
            words.append(f"pillar={json.dumps(pillar)}")
        applied = Applied.of(self._salt_call(words, False, timeout, progress))
        if check and not applied.ok:
            raise LabError(f"{self.name}: {applied.complaint()}")
        return applied

    def set_pillar(self, pillar: Mapping[str, Any]) -> None:
        """Replace the pillar that the machine serves to itself, or as a master to all."""
        made = pillars.files(pillar)
        if "infra_secrets" not in pillar:
            del made["/srv/pillar/top.sls"]  # a test may have one of its own
            secrets = "/srv/pillar/infra_secrets.sls"
            if self.run(["test", "-e", secrets], check=False).returncode == 0:
                made[secrets] = "{}\n"  # of the pillar before
        for path, content in made.items():
            self.write(path, content)

    def add_pillar(self, name: str, text: str) -> None:
        """Put a further file over the pillar that the machine serves to itself.

        Args:
            name: the file's name, without `.sls`.
            text: what is in it.
        """
        self.write(f"/srv/pillar/{name}.sls", text)
        top: dict[str, list[str]] = {"*": ["infra", name]}
        secrets = ["test", "-e", "/srv/pillar/infra_secrets.sls"]
        if self.run(secrets, check=False).returncode == 0:
            top["infra-*"] = ["infra_secrets"]
        self.write("/srv/pillar/top.sls", json.dumps({"base": top}))

    def _salt_call(
        self,
        words: Sequence[str],
        check: bool,
        timeout: float | None,
        progress: Callable[[str], None] | None,
    ) -> Any:
        argv = ["salt-call", "--out=json", "--retcode-passthrough"]
        argv += [] if self._record.master else ["--local"]
        argv += ["--log-level=info"] if progress else []
        argv += words

        def tell(line: str) -> None:
            # [INFO    ] Executing state file.managed for [/etc/hosts]
            _, running, rest = line.partition("Executing state ")
            if progress and running:
                function, _, name = rest.partition(" for [")
                progress(f"{function}  {name.removesuffix(']')}")

        done = self.run(
            argv, check=check, timeout=timeout, on_error_line=tell if progress else None
        )
        try:
            answer = json.loads(done.stdout)
        except ValueError as error:
            raise CommandError(
                argv, done.returncode, done.stdout, done.stderr or done.stdout, self.name
            ) from error
        return answer["local"]

    def __repr__(self) -> str:
        return f"<Machine {self.name} {self.address}>"


class _Lines:
    """Hands over each line of a process's standard error as it comes, and keeps all of them."""

    def __init__(self, process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
        assert process.stderr is not None
        self._stream, process.stderr = process.stderr, None
        self._on_line = on_line
        self._kept: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            self._kept.append(line.decode(errors="replace"))
            self._on_line(self._kept[-1].rstrip("\n"))

    def finish(self) -> str:
        """Return all of it, once the process has ended."""
        self._thread.join(timeout=10)
        self._stream.close()
        return "".join(self._kept)


def _children(process: Process) -> list[int]:
    try:
        listing = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(pid) for pid in listing.split()]


def _status(pid: int, key: str) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return next((line.partition(":")[2] for line in lines if line.startswith(f"{key}:")), "")
