"""The ports that tests give to their servers."""

import socket
import subprocess
import sys
from pathlib import Path

import ports

FOLDER = Path(ports.__file__).parent
ASK = "import ports; print(*(ports.free_port() for _ in range(150)), flush=True); input()"


def test_no_two_processes_get_the_same_port_and_the_kernel_gives_none_of_them():
    given = [ports.free_port() for _ in range(150)]  # of two blocks
    running = [
        subprocess.Popen(
            [sys.executable, "-c", ASK], cwd=FOLDER, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    try:
        for one in running:
            given += map(int, one.stdout.readline().split())
    finally:
        for one in running:
            one.communicate("\n")
    assert len(set(given)) == 600
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(given) < first


def test_a_port_that_something_has_is_passed_over():
    start = next(port for port in iter(ports.free_port, 0) if port % 100 < 90) + 1  # of one block
    with socket.create_server(("127.0.0.1", start)), socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", start + 1))
        assert ports.free_port() not in (start, start + 1)
