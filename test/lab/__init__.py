"""The lab: throwaway machines that systemd runs, on a private network, for tests and for people.

from lab import Lab

with Lab.up("default", name="mine") as lab:
    lab.machine("infra-1").run(["hostname"])
"""

from .applied import Applied
from .host import CommandError, LabError
from .laboratory import Lab
from .machine import Machine
from .suites import MachineSpec

__all__ = ["Applied", "CommandError", "Lab", "LabError", "Machine", "MachineSpec"]
