"""`python tests/attacks`: sets every attack of attacks.toml on a real host and prints what came of it.

Exit status 0 only if the host lived, each attacker got the right answer, no neighbour's call
failed, and memory, threads and files came back.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "python")]

import rounds
from attack import table
from suite import AIM_SPARE, AIM_STARVED, Suite


def main():
    # So that the host and its neighbours end with this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = arguments()
    attacks = [a for a in table() if not options.only or {a.name, a.group} & set(options.only)]
    if not attacks:
        sys.exit(f"no attack and no group is called {' or '.join(options.only)}")
    say = (lambda *_: None) if options.json else (lambda text: print(text, flush=True))
    results = []
    with Suite(options.pressure) as suite:
        for attack in attacks:
            results.append(suite.try_out(attack))
            say(line(results[-1]))
        summary = summed_up(suite, results)
    if options.rounds:
        again = rounds.run(results, options.rounds)
        summary |= {
            "repeated": again.made,
            "repeated_wrong": again.wrong[:5],
            "repeated_held_before": str(again.before),
            "repeated_held_after": str(again.after),
        }
        summary["passed"] &= again.well and not again.wrong
    if options.json:
        print(json.dumps({"attacks": [r.as_json() for r in results], "summary": summary}, indent=2))
    else:
        for result in results:
            for fault in result.faults:
                print(f"FAILED {result.attack.name}: {fault}")
        print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in summary.items()))
    return 0 if summary["passed"] else 1


def arguments():
    parser = argparse.ArgumentParser(prog="attacks", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print machine-readable JSON")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="attack or group")
    parser.add_argument("--pressure", type=float, default=10, metavar="SECONDS",
                        help="of each measurement of the neighbours' p99; 0 for none")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=0, metavar="N",
                        help="then repeat the quick ones until N attacks were made")  # fmt: skip
    return parser.parse_args()


def line(result):
    """One row of the table."""
    attack = result.attack
    # Nothing passes or fails by a latency, which depends on the machine; the mark says what missed
    # what is aimed at.
    aims = {"spare": AIM_SPARE, "starved": AIM_STARVED}
    ratios = " ".join(
        f"{name} {ratio}{'' if ratio <= aims[name] else '!'}"
        for name, ratio in result.ratios.items()
    )
    return (
        f"{'FAILED' if result.faults else 'ok':6} {attack.group:11} {attack.name:28} "
        f"{', '.join(result.got)[:52]:52} {'lived' if result.alive else 'DIED'} "
        f"{result.calls}/{len(result.failures)} {result.before}→{result.after} "
        f"{result.seconds:.1f}s {ratios}"
    ).rstrip()


def summed_up(suite, results):
    left, back = suite.left(suite.first)
    failed = [result.attack.name for result in results if result.faults]
    ratios = [ratio for result in results for ratio in result.ratios.values()]
    return {
        "attacks": len(results),
        "host_deaths": suite.deaths,
        "neighbour_calls": sum(result.calls for result in results),
        "neighbour_errors": sum(len(result.failures) for result in results),
        "wrong": len(failed),
        "worst_p99_ratio": max(ratios, default=None),
        "p99_ratio_outside": suite.outside,
        "held_before": str(suite.first),
        "held_after": str(left),
        "passed": not failed and back and not suite.deaths,
    }


if __name__ == "__main__":
    sys.exit(main())
