"""The quick attacks over and over: whether ten thousand leave more behind than one."""

import contextlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

# Slower ones would make the rounds long, and leave no more behind.
QUICK_SECONDS = 1.0
CALLERS = 8
# Modules that are published at the same time.
AT_ONCE = 20
# A module that traps again and again is not called any more for a while.
TIRED = "UNAVAILABLE BREAKER_OPEN"


@dataclass
class Rounds:
    made: int = 0
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, attack, got):
        with self.lock:
            self.made += 1
            if not attack.right(tuple(o for o in got if o != TIRED)):
                self.wrong.append(f"{attack.name}: {', '.join(got)}")


def run(suite, results, wanted):
    """Repeats what was quick and right until `wanted` attacks were made."""
    quick = [r.attack for r in results if r.seconds < QUICK_SECONDS and repeatable(r)]
    rounds = Rounds(made=len(results))
    share = max(1, (wanted - rounds.made) // max(1, len(quick)))
    for batch in itertools.batched(quick, AT_ONCE):
        with contextlib.ExitStack() as standing, ThreadPoolExecutor(CALLERS) as pool:
            for attack in batch:
                standing.enter_context(attack.standing(suite.stage))
            for _ in range(share):
                for attack in batch:
                    pool.submit(lambda a=attack: rounds.note(a, a.again(suite.stage)))
            pool.shutdown()
    return rounds


def repeatable(result):
    """Calls of a guest that was published: they need nothing else."""
    attack = result.attack
    published = not any(got.startswith("push ") for got in result.got)
    return attack.guest and attack.calls == 1 and published and not result.faults
