"""Clients that know only reflection, grpcurl, health, and other people's protobuf compilers."""

import json
import subprocess

import grpc
import harness
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2 as alpha
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from harness import ROOT, TOOLS, Cli, namespaced


class InNamespace(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds the namespace to every call of a client that knows nothing of it."""

    def __init__(self, namespace):
        self.namespace = namespace

    def _details(self, details):
        return details._replace(
            metadata=namespaced(self.namespace, *(details.metadata or ()))
        )

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._details(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(self._details(details), requests)


@pytest.fixture
def reflecting(host, kinds):
    with host.channel() as channel:
        yield grpc.intercept_channel(channel, InNamespace("kinds"))


def test_a_client_that_knows_only_reflection_calls(reflecting):
    database = ProtoReflectionDescriptorDatabase(reflecting)
    assert "acme.kinds.kinds.v0_3.Kinds" in database.get_services()
    pool = descriptor_pool.DescriptorPool(database)
    method = pool.FindServiceByName("acme.kinds.kinds.v0_3.Kinds").FindMethodByName("Number")
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    call = reflecting.unary_unary(
        "/acme.kinds.kinds.v0_3.Kinds/Number",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    assert json_format.MessageToDict(call(json_format.ParseDict({"value": 4}, request()))) == {
        "value": 4
    }


def ask(channel, version, *requests):
    """The answers of one reflection stream; v1 and v1alpha differ in the service's name only."""
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=alpha.ServerReflectionRequest.SerializeToString,
        response_deserializer=alpha.ServerReflectionResponse.FromString,
    )
    return list(call(iter(requests)))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection_answer(reflecting, version):
    services, by_symbol, by_name, unknown = ask(
        reflecting,
        version,
        alpha.ServerReflectionRequest(list_services=""),
        alpha.ServerReflectionRequest(
            file_containing_symbol="acme.kinds.kinds.v0_3.Everything.Grid"
        ),
        alpha.ServerReflectionRequest(file_by_filename="acme/kinds/shapes/v0_3/shapes.proto"),
        alpha.ServerReflectionRequest(file_containing_symbol="no.such.Symbol"),
    )
    names = {service.name for service in services.list_services_response.service}
    assert {
        "acme.kinds.kinds.v0_3.Kinds",
        "roadstead.module.kinds.v0_1.Module",
        "roadstead.v1.ModuleService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= names
    for answer, wanted in ((by_symbol, "kinds"), (by_name, "shapes")):
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in answer.file_descriptor_response.file_descriptor_proto
        ]
        assert f"acme/kinds/{wanted}/v0_3/{wanted}.proto" in [file.name for file in files]
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_reflection_shows_one_namespace_and_is_live(host, cli, namespace, components):
    def services():
        with host.channel() as channel:
            reflecting = grpc.intercept_channel(channel, InNamespace(namespace))
            (answer,) = ask(reflecting, "v1", alpha.ServerReflectionRequest(list_services=""))
            return {service.name for service in answer.list_services_response.service}

    tide = "acme.tide.tide.v0_1.Tide"
    before = services()
    assert tide not in before
    assert "acme.kinds.kinds.v0_3.Kinds" not in before
    cli.push(components("tide-1"), "--name", "tide")
    assert tide in services()
    cli.run("delete", "tide")
    assert tide not in services()


def health(channel, service, namespace):
    """grpc.health.v1 by hand: field 1 of the request, field 1 of the response."""
    call = channel.unary_unary("/grpc.health.v1.Health/Check")
    name = service.encode()
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    return call(request, metadata=namespaced(namespace))


def test_health_is_per_service(host, kinds, channel):
    serving = b"\x08\x01"
    assert health(channel, "", None) == serving
    assert health(channel, "roadstead.v1.ModuleService", None) == serving
    assert health(channel, "acme.kinds.kinds.v0_3.Kinds", "kinds") == serving
    for name, namespace in (("no.such.Service", "kinds"), ("acme.kinds.kinds.v0_3.Kinds", "other")):
        with pytest.raises(grpc.RpcError) as error:
            health(channel, name, namespace)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_is_watched(host, cli, namespace, components):
    service = b"acme.tide.tide.v0_1.Tide"
    with host.channel() as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(
            b"\x0a" + bytes([len(service)]) + service,
            metadata=namespaced(namespace),
            timeout=harness.PATIENCE,
        )
        assert next(watch) == b"\x08\x03"
        cli.push(components("tide-1"), "--name", "tide")
        assert next(watch) == b"\x08\x01"
        cli.run("delete", "tide")
        assert next(watch) != b"\x08\x01"
        watch.cancel()


def grpcurl(host, *args, namespace="kinds"):
    done = subprocess.run(
        [
            TOOLS / "grpcurl", "-plaintext", "-max-time", "60",
            "-H", f"roadstead-namespace: {namespace}", *args,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_grpcurl_lists_describes_and_calls(host, kinds):
    assert "acme.kinds.kinds.v0_3.Kinds" in grpcurl(host, host.address, "list").splitlines()
    listed = grpcurl(host, host.address, "list", "acme.kinds.kinds.v0_3.Kinds")
    assert "acme.kinds.kinds.v0_3.Kinds.Echo" in listed.splitlines()
    described = grpcurl(host, host.address, "describe", "acme.kinds.kinds.v0_3.Kinds")
    assert "rpc Number ( .acme.kinds.kinds.v0_3.NumberRequest )" in described
    message = grpcurl(host, host.address, "describe", "acme.kinds.kinds.v0_3.Lot")
    assert "oneof kind" in message
    answer = grpcurl(
        host, "-d", '{"value": 12}', host.address, "acme.kinds.kinds.v0_3.Kinds/Number"
    )
    assert json.loads(answer) == {"value": 12}


def published_protos(host, modules, directory):
    """Publishes components and writes the .proto files of all of them into one directory."""
    cli = Cli(host, "protos")
    for name, file, spec in modules:
        cli.push(file, "--name", name, *spec)
        cli.run("proto", name, "-o", directory)
    return directory


@pytest.fixture(scope="module")
def protos(host, components, tmp_path_factory):
    modules = [(name, components(name), []) for name in ("kinds", "busy", "tide-1", "unmapped")]
    modules += [
        (path.stem, path, harness.spec_of(path.stem))
        for path in sorted(harness.MODULES.glob("*.wasm"))
        if not path.stem.startswith("hostile")
    ]
    return published_protos(host, modules, tmp_path_factory.mktemp("protos"))


def test_googles_protoc_and_protox_compile_every_proto(protos, tmp_path):
    files = harness.proto_files(protos)
    assert len(files) >= 5
    harness.protoc(protos, tmp_path, files)
    subprocess.run(
        [harness.FIXTURE_BIN, "protox", "-I", protos, *(protos / file for file in files)],
        check=True,
    )


# A service is named after its interface, and a track of version 0 is not a version to buf.
LINT = {
    "version": "v2",
    "lint": {"use": ["STANDARD"], "except": ["SERVICE_SUFFIX", "PACKAGE_VERSION_SUFFIX"]},
}


def test_buf_lint_is_clean(protos):
    done = subprocess.run(
        [TOOLS / "buf", "lint", protos, "--config", json.dumps(LINT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_buf_lint_of_the_contract_is_clean():
    # A check takes what a push takes, message for message, so the two share the request's type.
    shared = ["RPC_REQUEST_RESPONSE_UNIQUE", "RPC_REQUEST_STANDARD_NAME"]
    lint = {"version": "v2", "lint": {"use": ["STANDARD"], "except": shared}}
    done = subprocess.run(
        [TOOLS / "buf", "lint", ROOT / "proto", "--config", json.dumps(lint)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_stubs_of_the_contract_work(host, admin, channel, components, cli, namespace):
    messages, services = admin
    cli.push(components("tide-1"), "--name", "tide")
    listed = services.ModuleServiceStub(channel).ListModules(
        messages.ListModulesRequest(), metadata=namespaced(namespace)
    )
    assert [module.name for module in listed.modules] == ["tide"]
