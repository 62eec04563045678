"""Components that are too large or too odd to be written by hand."""

import wasmtime


def component(*parts):
    """A component of these parts in text form, which exports a function `go` of an instance `$i`."""
    text = " ".join(parts)
    return bytes(
        wasmtime.wat2wasm(
            f'(component {text} (func (export "go") (canon lift (core func $i "go"))))'
        )
    )


def of_core(*fields):
    """A component of one core module with these fields and an empty function `go`."""
    module = f'(core module $m {" ".join(fields)} (func (export "go")))'
    return component(module, "(core instance $i (instantiate $m))")


def memories_many():
    return of_core(*["(memory 160)"] * 60)


def tables_many():
    return of_core(*["(table 10000 funcref)"] * 60)


def instances_many():
    instances = ["(core instance (instantiate $m))"] * 500
    return component(
        '(core module $m (func (export "go")))', *instances, "(core instance $i (instantiate $m))"
    )
