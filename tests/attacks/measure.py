"""What a host holds: resident memory, threads, open files, child processes."""

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class Held:
    """Memory is what is resident of the host's own: files that it maps are the kernel's to drop."""

    memory: int
    threads: int
    files: int
    children: int

    @classmethod
    def of(cls, pid):
        status = (Path("/proc") / str(pid) / "status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        memory = sum(int(lines[kind].split()[0]) << 10 for kind in ("RssAnon", "RssShmem"))
        files = sum(not is_warm_code(file) for file in (Path("/proc") / str(pid) / "fd").iterdir())
        return cls(memory, int(lines["Threads"]), files, children(pid))

    def within(self, before, slack):
        return all(
            getattr(self, name) <= getattr(before, name) + extra
            for name, extra in asdict(slack).items()
        )

    def __str__(self):
        return f"{self.memory // MIB}M/{self.threads}t/{self.files}f/{self.children}p"


# What one attack may leave behind for a while: the allocator's reserve, idle threads of a pool that
# end after some seconds, connections on their way out. What all of them left is held to less.
OF_ONE = Held(memory=64 * MIB, threads=24, files=16, children=1)
OF_ALL = Held(memory=128 * MIB, threads=4, files=4, children=1)


def is_warm_code(file):
    """Whether this is the compiled code of a deleted module.

    A warm slot of the pool keeps the first pages of its last instance's memory, and with them the
    file; so there are never more of these than warm slots.
    """
    try:
        return os.readlink(file).endswith(".code (deleted)")
    except FileNotFoundError:
        return True


def children(pid):
    """How many processes have this parent; dead ones that nobody collected count."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            except OSError:
                continue
            found += int(parent) == pid
    return found


def settled(pid, before, slack, patience):
    """What the host holds once it is back to `before`, or after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        held = Held.of(pid)
        if held.within(before, slack) or time.monotonic() > deadline:
            return held
        time.sleep(0.1)
