"""The command line of the lab."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import demo, image
from .host import LabError
from .laboratory import Lab
from .suites import load


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; the process's own if not given.

    Returns:
        The exit status. `exec` and `net` do not return: the process becomes their command.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.action(arguments) or 0)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


class Ticker:
    """Prints what is being done, with the time since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, what: str) -> None:
        print(f"{time.monotonic() - self._start:6.1f} s  {what}", file=sys.stderr, flush=True)


def _up(arguments: argparse.Namespace) -> None:
    ticker = Ticker()
    lab = Lab.up(
        arguments.suite,
        name=arguments.name,
        platform=arguments.platform,
        pillar=arguments.pillar,
        attach=arguments.attach,
        tree=arguments.tree,
        progress=ticker,
    )
    # From here on it stays, so that a failed apply can be looked into.
    lab.keep()
    if arguments.apply:
        with lab.timed("apply"):
            lab.apply(progress=ticker)
    took = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in lab.seconds.items())
    print(f"lab {lab.name} is up ({took}): {', '.join(map(_label, lab.machines))}")


def _exec(arguments: argparse.Namespace) -> None:
    machine = Lab.find(arguments.lab).machine(arguments.machine)
    _become(machine.command(_command(arguments), terminal=os.environ.get("TERM", "")))


def _net(arguments: argparse.Namespace) -> None:
    _become(Lab.find(arguments.lab).net_command(_command(arguments)))


def _kill(arguments: argparse.Namespace) -> None:
    Lab.find(arguments.lab).machine(arguments.machine).kill()


def _boot(arguments: argparse.Namespace) -> None:
    Lab.find(arguments.lab).machine(arguments.machine).boot()


def _list(_: argparse.Namespace) -> None:
    for lab in Lab.all():
        record = lab.record
        facts = [record.suite, record.platform, *(["attached"] if record.attached else [])]
        if record.owner is not None:
            facts.append(f"of process {record.owner.pid}" if record.owner.alive() else "left over")
        print(f"{lab.name}  ({', '.join(facts)})")
        for machine in lab.machines:
            print(f"  {_label(machine)}  {'on' if machine.running() else 'off'}")


def _down(arguments: argparse.Namespace) -> None:
    labs = Lab.all() if arguments.all else [Lab.find(arguments.name)]
    for lab in labs:
        lab.down()


def _build(arguments: argparse.Namespace) -> None:
    kitchen = load()
    names = [arguments.platform] if arguments.platform else list(kitchen.platforms)
    ticker = Ticker()
    with ThreadPoolExecutor() as pool:
        for path in pool.map(lambda name: image.ensure(kitchen.platform(name), ticker), names):
            print(path)


def _demo(arguments: argparse.Namespace) -> None:
    ticker = Ticker()
    if arguments.add_node:
        demo.add_node(ticker)
    else:
        demo.show(
            arguments.pillar, arguments.platform, arguments.packaging, arguments.suite,
            arguments.fresh, ticker,
        )  # fmt: skip


def _label(machine: object) -> str:
    return f"{getattr(machine, 'name', '')} {getattr(machine, 'address', '')}"


def _command(arguments: argparse.Namespace) -> list[str]:
    words: list[str] = arguments.command
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise LabError("There is no command to run; it follows `--`.")
    return words


def _become(argv: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606 - the command's exit status and output are to be ours


def _parser() -> argparse.ArgumentParser:
    summary = str(sys.modules[str(__package__)].__doc__).partition("\n")[0]
    parser = argparse.ArgumentParser(prog="lab", description=summary)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="boot a suite's machines and apply the formula to them")
    up.add_argument("suite", nargs="?", metavar="SUITE", help="of kitchen.yml; its first one")
    up.add_argument("--name", help="the lab's name; the suite's")
    up.add_argument("--platform", help="of kitchen.yml; its first one")
    up.add_argument("--pillar", type=Path, metavar="FILE", help="YAML or JSON; the suite's")
    up.add_argument("--attach", action="store_true", help="let this host reach the addresses")
    up.add_argument("--no-apply", dest="apply", action="store_false", help="only boot")
    up.add_argument("--tree", type=Path, metavar="DIR", help="states other than the checkout's")
    up.set_defaults(action=_up)

    execute = commands.add_parser("exec", help="run a command on a machine and become its result")
    execute.add_argument("--lab", metavar="NAME", help="not needed if only one is up")
    execute.add_argument("machine", metavar="MACHINE")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")
    execute.set_defaults(action=_exec)

    net = commands.add_parser("net", help="run a program of this host in a lab's network")
    net.add_argument("--lab", metavar="NAME", help="not needed if only one is up")
    net.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")
    net.set_defaults(action=_net)

    for name, action, help_text in (
        ("kill", _kill, "cut a machine's power"),
        ("boot", _boot, "boot a machine again, with everything that it had written"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("--lab", metavar="NAME", help="not needed if only one is up")
        command.add_argument("machine", metavar="MACHINE")
        command.set_defaults(action=action)

    listing = commands.add_parser("list", help="list labs and their machines")
    listing.set_defaults(action=_list)

    down = commands.add_parser("down", help="take a lab down; nothing of it stays on this host")
    down.add_argument("name", nargs="?", metavar="NAME", help="not needed if only one is up")
    down.add_argument("--all", action="store_true", help="every lab")
    down.set_defaults(action=_down)

    build = commands.add_parser("build", help="build the root file systems that machines stand on")
    build.add_argument("platform", nargs="?", metavar="PLATFORM", help="all of kitchen.yml")
    build.set_defaults(action=_build)

    show = commands.add_parser("demo", help="boot one machine, apply the formula, show what runs")
    show.add_argument("--platform", help="of kitchen.yml; its first one")
    show.add_argument("--pillar", type=Path, metavar="FILE", help="YAML or JSON; pillar.example")
    show.add_argument("--packaging", choices=demo.PACKAGING, help="the vendor's if it answers")
    show.add_argument("--suite", choices=demo.SUITES, help="default: one machine; fleet: five")
    show.add_argument("--fresh", action="store_true", help="start from no snapshot")
    show.add_argument("--add-node", action="store_true", help="to the demo that is up: a minion")
    show.set_defaults(action=_demo)
    return parser
