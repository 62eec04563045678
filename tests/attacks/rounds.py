"""The quick attacks over and over: whether ten thousand leave more behind than one."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from suite import Suite

# Slower ones would make the rounds long, and leave no more behind.
QUICK_SECONDS = 1.0
CALLERS = 8
# Modules that are published at the same time.
AT_ONCE = 20
# Calls of each before it is the next ones' turn.
ROUND = 50
# What a host may say to anybody when eight attack at once.
BUSY = "RESOURCE_EXHAUSTED OVERLOADED"
# A module that traps again and again would not be called any more.
SETTINGS = "[breaker]\ntraps = 0\n"


@dataclass
class Rounds:
    made: int = 0
    wrong: list[str] = field(default_factory=list)
    before: object = None
    after: object = None
    # Whether the host lived, kept its neighbours and gave back what it held.
    well: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, attack, got):
        with self.lock:
            self.made += 1
            if not attack.right(got) and BUSY not in got:
                self.wrong.append(f"{attack.name}: {', '.join(got)}")


def run(results, wanted):
    """Repeats what was quick and right until `wanted` attacks were made, on a host of its own."""
    quick = [r.attack for r in results if r.seconds < QUICK_SECONDS and repeatable(r)]
    rounds = Rounds()
    with Suite(settings=SETTINGS) as suite:
        while rounds.made < wanted and quick:
            for at in range(0, len(quick), AT_ONCE):
                batch = quick[at : at + AT_ONCE]
                go(suite.stage, batch, min(ROUND, wanted // len(quick) + 1), rounds)
            # What was held after the first time round is what it is held to.
            rounds.before = rounds.before or suite.held()
        failures = suite.heard()["failures"]
        rounds.after, back = suite.left(rounds.before)
        rounds.well = suite.answers() and not failures and back
    return rounds


def go(stage, batch, times, rounds):
    with contextlib.ExitStack() as standing, ThreadPoolExecutor(CALLERS) as pool:
        for attack in batch:
            standing.enter_context(attack.standing(stage))
        for attack in batch * times:
            pool.submit(lambda a=attack: rounds.note(a, a.again(stage)))
        pool.shutdown()


def repeatable(result):
    """Calls of a guest that was published: they need nothing else."""
    attack = result.attack
    published = not any(got.startswith("push ") for got in result.got)
    return attack.guest and attack.calls == 1 and published and not result.faults
