"""Components that are too large or too odd to be written by hand."""

import os

import wasmtime

CORE = b"\0asm\1\0\0\0"
COMPONENT = b"\0asm\x0d\0\1\0"
END = b"\x0b"


def component(*parts):
    """A component of these parts in text form, which exports a function `go` of an instance `$i`."""
    return text(*parts, '(func (export "go") (canon lift (core func $i "go")))')


def text(*parts):
    return bytes(wasmtime.wat2wasm(f"(component {' '.join(parts)})"))


def of_core(*fields):
    """A component of one core module with these fields and an empty function `go`."""
    return component(
        f'(core module $m {" ".join(fields)} (func (export "go")))',
        "(core instance $i (instantiate $m))",
    )


def leb(number):
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded) + bytes([number])


def section(kind, payload):
    return bytes([kind]) + leb(len(payload)) + payload


def vector(items):
    return leb(len(items)) + b"".join(items)


def of_bodies(*bodies):
    """A component whose core module has these functions, without parameters or results; the first
    is `go`. A body is its locals and its instructions."""
    core = CORE
    core += section(1, vector([b"\x60\0\0"]))
    core += section(3, vector([b"\0"] * len(bodies)))
    core += section(7, vector([b"\2go\0\0"]))
    core += section(10, vector([leb(len(body)) + body for body in bodies]))
    return around(core)


def around(core):
    """`of_core`, with another core module in the place of its own."""
    whole, at, made = of_core(), len(COMPONENT), COMPONENT
    while at < len(whole):
        kind, size, at = whole[at], *unleb(whole, at + 1)
        made += section(kind, core if kind == 1 else whole[at : at + size])
        at += size
    return made


def unleb(data, at):
    number = shift = 0
    while True:
        byte, at = data[at], at + 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


def memories_many():
    return of_core(*["(memory 160)"] * 60)


def tables_many():
    return of_core(*["(table 10000 funcref)"] * 60)


def instances_many():
    instances = ["(core instance (instantiate $m))"] * 500
    return component(
        '(core module $m (func (export "go")))', *instances, "(core instance $i (instantiate $m))"
    )


def function_huge():
    """One function of 7 MB: a chain of additions that all depend on each other."""
    step = b"\x20\0\x41\7\x6a\x21\0"  # local 0 := local 0 + 7
    return of_bodies(b"\1\1\x7f" + step * 1_000_000 + END)


def functions_many():
    return of_bodies(*[b"\0" + END] * 500_000)


def functions_of_loads():
    """Two thousand functions that each take the optimizer a while."""
    body = b"".join(b"\x20" + leb(n % 40) + b"\x20" + leb((n * 7) % 40) + b"\x7c\x21" + leb((n * 3) % 40)
                    for n in range(600))  # fmt: skip
    return of_bodies(*[b"\1\x28\x7e" + body + END] * 2_000)


def br_table_huge():
    return of_bodies(b"\0\x41\0\x0e" + leb(2_000_000) + b"\0" * 2_000_001 + END)


def br_tables_many():
    """Jumps that all go to all of a thousand blocks: edges in the square."""
    table = b"\x41\0\x0e" + leb(1_000) + b"".join(leb(n) for n in range(1_001))
    return of_bodies(b"\0" + b"\x02\x40" * 1_000 + (table + END) * 1_000 + END)


def locals_many():
    """50,000 variables in each of 400 functions, a line of bytes each."""
    return of_bodies(*[b"\1" + leb(50_000) + b"\x7e" + END] * 400)


def blocks_deep():
    return of_bodies(b"\0" + b"\x02\x40" * 200_000 + END * 200_000 + END)


def loops_nested():
    """Loops within loops, 2,000 deep, all of which change the same variables."""
    step = b"\x20\0\x20\1\x6a\x21\0"
    begin, end = b"\x03\x40" + step, step + b"\x20\0\x0d\0" + END
    return of_bodies(b"\1\2\x7f" + begin * 2_000 + end * 2_000 + END)


def types_deep():
    levels = ["(type $t0 u8)"] + [f"(type $t{n} (list $t{n - 1}))" for n in range(1, 1_000)]
    return text(*levels, '(import "f" (func (param "t" $t999)))')


def types_exponential():
    """Tuples of twice the one before: 2^40 values in 40 lines."""
    levels = ["(type $t0 u8)"] + [f"(type $t{n} (tuple $t{n - 1} $t{n - 1}))" for n in range(1, 41)]
    return text(*levels, '(import "f" (func (param "t" $t40)))')


def types_many():
    return component(
        *[f"(type (record (field \"f{n}\" u8)))" for n in range(100_000)],
        '(core module $m (func (export "go")))', "(core instance $i (instantiate $m))",
    )  # fmt: skip


def name(text):
    """A plain name of an import or export."""
    return b"\0" + leb(len(text)) + text.encode()


def imports_many():
    # A function type without parameters or results, and so many imports of it.
    kind = section(7, vector([b"\x40\0\1\0"]))
    return COMPONENT + kind + section(10, vector([name(f"i{n}") + b"\1\0" for n in range(100_000)]))


def exports_many():
    """The function `go` under 100,000 more names."""
    return of_core() + section(
        11, vector([name(f"e{n}") + b"\1\0\0" for n in range(100_000)])
    )


def functions_exported():
    """As many methods as a component may export."""
    return of_core() + section(11, vector([name(f"e{n}") + b"\1\0\0" for n in range(900)]))


def name_huge():
    return of_core() + section(11, vector([name("a" * 1_000_000) + b"\1\0\0"]))


def components_nested():
    """Components within components, 2,000 deep."""
    inner = COMPONENT
    for _ in range(2_000):
        inner = COMPONENT + section(4, inner)
    return inner


def components_doubling():
    """Each component makes two instances of the one before: 2^30 of them in thirty lines."""
    levels = ["(component $c0)"] + [
        f"(component $c{n} (alias outer 1 $c{n - 1} (component $before))"
        " (instance (instantiate $before)) (instance (instantiate $before)))"
        for n in range(1, 31)
    ]
    return component(
        *levels, "(instance (instantiate $c30))",
        '(core module $m (func (export "go")))', "(core instance $i (instantiate $m))",
    )  # fmt: skip


def calls_suspended():
    """A component of sixty, each with a call that waits for an hour, as their caller does."""
    count, wait = 60, 'async (param "how-long" u64)'
    parts = [
        f"""(import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
              (export "wait-for" (func {wait}))))
            (alias export $clock "wait-for" (func $wait))
            (import "wasi:io/poll@0.2.0" (instance $poll
              (export "pollable" (type $pollable (sub resource)))
              (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
            (alias export $poll "pollable" (type $pollable))
            (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock2
              (alias outer 1 $pollable (type $pollable'))
              (export "pollable" (type $pollable (eq $pollable')))
              (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
            (component $c
              (import "wait" (func $wait {wait}))
              (core func $blocks (canon lower (func $wait)))
              (func (export "wait") {wait} (canon lift (core func $blocks))))""",
    ]
    each = [
        ('(import "w{i}" (func $w{i} ' + wait + "))").format(i=i) for i in range(count)
    ]
    lowered = [f"(core func $f{i} (canon lower (func $w{i}) async))" for i in range(count)]
    imports = [f'(import "f" "{i}" (func $f{i} (param i64) (result i32)))' for i in range(count)]
    calls = [f"(drop (call $f{i} (i64.const 3600000000000)))" for i in range(count)]
    given = [f'(export "{i}" (func $f{i}))' for i in range(count)]
    # A component cannot call those in itself, but those beside it.
    parts.append(f"""(component $caller {" ".join(each + lowered)}
        (import "pollable" (type $pollable (sub resource)))
        (import "block" (func $block (param "self" (borrow $pollable))))
        (import "after" (func $after (param "when" u64) (result (own $pollable))))
        (core func $block (canon lower (func $block)))
        (core func $after (canon lower (func $after)))
        (core module $m {" ".join(imports)}
          (import "f" "block" (func $block (param i32)))
          (import "f" "after" (func $after (param i64) (result i32)))
          (func (export "go")
            {" ".join(calls)} (call $block (call $after (i64.const 3600000000000)))))
        (core instance $i (instantiate $m (with "f" (instance {" ".join(given)}
          (export "block" (func $block)) (export "after" (func $after))))))
        (func (export "go") (canon lift (core func $i "go"))))""")
    parts += [f'(instance $i{i} (instantiate $c (with "wait" (func $wait))))' for i in range(count)]
    called = " ".join(f'(with "w{i}" (func $i{i} "wait"))' for i in range(count))
    called += """(with "pollable" (type $pollable))
        (with "block" (func $poll "[method]pollable.block"))
        (with "after" (func $clock2 "subscribe-duration"))"""
    parts.append(f'(instance $i (instantiate $caller {called})) (export "go" (func $i "go"))')
    return text(*parts)


def data_huge():
    """20 MiB of data that is mapped for each instance."""
    return around(
        CORE + section(1, vector([b"\x60\0\0"])) + section(3, b"\1\0") + section(5, b"\1\0\x81\x04")
        + section(7, vector([b"\2go\0\0"])) + section(10, vector([b"\2\0\x0b"]))
        + section(11, vector([b"\0\x41\0\x0b" + leb(20 << 20) + bytes(20 << 20)]))
    )  # fmt: skip


def core_module():
    return bytes(wasmtime.wat2wasm('(module (func (export "go")))'))


def random_bytes():
    return os.urandom(1 << 20)


def random_component():
    return COMPONENT + os.urandom(1 << 16)


def truncated():
    whole = of_core()
    return whole[: len(whole) - 7]


def nothing():
    return b""


def zeros():
    """20 MiB of zeros behind a good beginning."""
    return COMPONENT + bytes(20 << 20)
