"""Uploads that are not what they should be. None may publish, stay behind or harm the host."""

import os
import random

import grpc
import pytest
from errors import failure
from harness import Cli, fixture, module, namespaced


@pytest.fixture
def push(host, admin, namespace):
    """A push with hand-made messages; the outcome or the error."""
    messages, services = admin

    def send(content, chunk=1 << 20, header=True, target=host, **fields):
        def stream():
            if header:
                fields.setdefault("name", "upload")
                yield messages.PushModuleRequest(header=messages.PushHeader(**fields))
            for start in range(0, len(content), chunk):
                yield messages.PushModuleRequest(chunk=content[start : start + chunk])

        with target.channel() as channel:
            events = list(
                services.ModuleServiceStub(channel).PushModule(
                    stream(), metadata=namespaced(namespace), timeout=120
                )
            )
        assert events[-1].HasField("outcome")
        return events[-1].outcome

    return send


def refused(push, *args, **fields):
    error = failure(lambda: push(*args, **fields))
    assert error.code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ), error
    return error


def test_a_good_one_passes(push, components):
    assert push(components("tide-1").read_bytes()).created


def test_garbage(push, cli):
    chance = random.Random(7)
    for garbage in (
        b"",
        b"\0",
        b"\0asm",
        b"\0asm\x01\0\0\0",
        b"#!/bin/sh\nexit 1\n",
        chance.randbytes(100_000),
        b"\0asm\x0d\0\x01\0" + chance.randbytes(10_000),
    ):
        refused(push, garbage)
    assert cli.json("list").get("modules", []) == []


def test_truncated_components(push, cli, components):
    whole = components("kinds").read_bytes()
    for keep in (9, len(whole) // 4, len(whole) // 2, len(whole) - 1):
        refused(push, whole[:keep])
    large = module("text-stats").read_bytes()
    refused(push, large[: len(large) // 2])
    assert cli.json("list").get("modules", []) == []


def test_flipped_bits_never_harm_the_host(host, push, components):
    """Whatever the damage: an answer, and a host that goes on serving."""
    whole = bytearray(components("kinds").read_bytes())
    chance = random.Random(11)
    for round in range(40):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(8, len(damaged))] ^= 1 << chance.randrange(8)
        try:
            push(bytes(damaged), name=f"damaged-{round}")
        except grpc.RpcError as error:
            assert error.code() not in (
                grpc.StatusCode.INTERNAL,
                grpc.StatusCode.UNKNOWN,
                grpc.StatusCode.UNAVAILABLE,
            ), error
    assert host.process.poll() is None


def test_unknown_imports_are_named_with_a_hint(push, components):
    error = refused(push, components("unknown-import").read_bytes())
    assert "acme:needy/moon-phase" in error.text


def test_ten_times_too_large(new_host, push, components, tmp_path):
    small = new_host("--max-upload", "100Ki").start()
    large = fixture("tide-1", tmp_path / "large.wasm", "--padding", 1_000_000).read_bytes()
    error = failure(lambda: push(large, target=small))
    assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "102400" in error.text or "100Ki" in error.text
    # Said in the header, it is refused before the bytes; a lie about it does not help.
    error = failure(lambda: push(large[:1], target=small, size=1_000_000))
    assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    error = failure(lambda: push(large, target=small, size=10))
    assert error.code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    assert push(components("tide-1").read_bytes(), target=small).created
    left = sum(file.stat().st_size for file in small.data_dir.rglob("*") if file.is_file())
    assert left < 20 << 20, "what was refused is not kept"


def test_the_command_line_refuses_what_is_no_webassembly(cli, tmp_path):
    file = tmp_path / "notes.wasm"
    file.write_text("not a component")
    assert "not WebAssembly" in cli.push(file, code=1).stderr
    cli.push(tmp_path / "absent.wasm", code=1)


def test_messages_out_of_order(push, components):
    content = components("tide-1").read_bytes()
    refused(push, content, header=False)
    refused(push, b"", header=False)
    # A size that does not come true.
    refused(push, content, size=len(content) + 1)


def test_bad_headers(push, components):
    content = components("tide-1").read_bytes()
    for fields in (
        {"name": ""},
        {"name": "Not A Name"},
        {"name": "../../etc"},
        {"version": "one"},
        {"spec": "limits: {memry: 1Mi}", "spec_format": 2},
        {"spec": "limits: {memory: 0}", "spec_format": 2},
        {"spec": "[", "spec_format": 1},
        {"lock": "not a lock {{{"},
    ):
        refused(push, content, **fields)


def test_small_chunks_and_empty_ones(push, components):
    assert push(components("tide-1").read_bytes(), chunk=7).created


def test_what_can_never_fit_is_refused_at_push(push, components):
    error = failure(
        lambda: push(
            components("tide-1").read_bytes(), spec="limits: {memory: 100Ti}", spec_format=2
        )
    )
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NEVER_FITS")


def test_an_upload_that_ends_midway_leaves_nothing(host, admin, cli, namespace, components):
    messages, services = admin
    content = os.urandom(3 << 20)

    def stream():
        yield messages.PushModuleRequest(header=messages.PushHeader(name="half"))
        yield messages.PushModuleRequest(chunk=content[: 1 << 20])
        raise RuntimeError("the client goes away")

    with host.channel() as channel:
        call = services.ModuleServiceStub(channel).PushModule(
            stream(), metadata=namespaced(namespace), timeout=60
        )
        with pytest.raises(grpc.RpcError):
            list(call)
    assert cli.json("list").get("modules", []) == []


def test_core_modules_with_wit_metadata_become_components(cli, tmp_path):
    pushed = cli.json("push", fixture("tide-1", tmp_path / "core.wasm", "--core"), "--name", "core")
    assert pushed["created"]
    assert cli.call("acme.tide.tide.v0_1.Tide/Height", {"hour": 8}) == {"value": 8}
