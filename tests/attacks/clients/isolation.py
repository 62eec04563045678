"""Guests that look for what is not theirs: another's memory, the time, chance, the log's format."""

import json

import harness
from stage import NAMESPACE, component

ROUNDS = 25
POOLED = "instances: {policy: pooled, warm: 2}"


def log_escapes(stage):
    """Lines of the log are printed as one line each, whatever a guest writes."""
    with stage.published("log-escapes", "streams") as name:
        outcome = stage.outcome(name, "Escapes")
        cli = harness.Cli(stage.host, NAMESPACE)
        shown = cli.run("logs", name).stdout
        lines = [json.loads(line) for line in cli.run("--json", "logs", name).stdout.splitlines()]
    odd = [c for c in shown if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e"]
    if odd:
        return f"printed {odd[:5]!r}"
    if any("all is well" in line and "info" not in line for line in shown.splitlines()):
        return "a forged line stands on its own"
    return f"{outcome.split()[0]}: lines are plain" if lines else "nothing was logged"


def seeded_random(stage):
    with stage.published("random-by-seed", "storms") as name:
        numbers = {stage.outcome(name, "Number") for _ in range(10)}
    return "always the same" if len(numbers) == 1 else f"{len(numbers)} different numbers"


def freed_memory(stage):
    """One module leaves a secret, another one looks for it, time after time in the same slots."""
    wasm = component("freed")
    stage.push("freed-left", wasm)
    stage.push("freed-looks", wasm + b"\0\2\1x")
    try:
        found = set()
        for _ in range(ROUNDS):
            stage.call("freed-left", "Leave")
            found.add(stage.outcome("freed-looks", "Look"))
        return said(found)
    finally:
        stage.delete("freed-left")
        stage.delete("freed-looks")


def pooled_across_namespaces(stage):
    """The same component in two namespaces: an instance never serves both."""
    wasm, others = component("freed"), "attacks-other"
    stage.push("pooled", wasm, POOLED)
    stage.push("pooled", wasm, POOLED, namespace=others)
    try:
        found = set()
        for _ in range(10):
            stage.call("pooled", "Leave")
        # What it looks at it leaves clean, so one look would be enough for each of its instances.
        for _ in range(10):
            found.add(stage.outcome("pooled", "Look", namespace=others))
        return said(found)
    finally:
        stage.delete("pooled")
        stage.delete("pooled", namespace=others)


def pooled_after_a_trap(stage):
    """What trapped is never used again."""
    stage.push("pooled-trap", component("freed"), POOLED)
    try:
        found = set()
        for _ in range(8):
            trapped = stage.outcome("pooled-trap", "LeaveAndTrap")
            if trapped != "ABORTED GUEST_TRAP":
                return trapped
            found.add(stage.outcome("pooled-trap", "Look"))
        return said(found)
    finally:
        stage.delete("pooled-trap")


def said(found):
    return "zeros only" if found == {"served 0"} else f"found {sorted(found)}"


def traps_without_end(stage):
    """A module that traps every time is cut off after a while, and only that module."""
    with stage.published("traps", "recursion") as name:
        said = {stage.outcome(name, "Direct") for _ in range(60)}
    return "cut off" if said == {"ABORTED GUEST_TRAP", "UNAVAILABLE BREAKER_OPEN"} else f"got {said}"
