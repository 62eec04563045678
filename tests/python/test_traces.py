"""Spans of calls, taken by a real receiver of OTLP over gRPC."""

import secrets
import threading
from concurrent import futures

import grpc
import harness
import pytest
from harness import Cli, Host, module
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from opentelemetry.proto.trace.v1 import trace_pb2
from test_fleet import HEIGHT, free_port, generated, metric  # noqa: F401
from test_sessions import SERIES, Client

KIND = trace_pb2.Span.SpanKind
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Collector(service.TraceServiceServicer):
    """Keeps what hosts send."""

    def __init__(self, port=0):
        self.spans, self.resources = [], []
        self.lock = threading.Lock()
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        service.add_TraceServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.server.start()

    def Export(self, request, context):
        with self.lock:
            for of_host in request.resource_spans:
                about = attributes(of_host.resource)
                for scope in of_host.scope_spans:
                    self.spans += [(about, span) for span in scope.spans]
        return otlp.ExportTraceServiceResponse()

    def of(self, trace, count):
        """The spans of a trace, once there are so many."""
        def found():
            with self.lock:
                return [one for one in self.spans if one[1].trace_id.hex() == trace]

        harness.until(lambda: len(found()) >= count, f"{count} spans")
        return found()


def attributes(of):
    values = {}
    for one in of.attributes:
        values[one.key] = getattr(one.value, one.value.WhichOneof("value"))
    return values


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.server.stop(None)


@pytest.fixture
def traced(tmp_path):
    """Makes hosts that send their spans somewhere."""
    made = []

    def make(port, name="host", more="", listen="127.0.0.1:0", sample="0.0"):
        config = tmp_path / f"{name}.toml"
        settings = [
            f"metrics.listen = '127.0.0.1:{(metrics := free_port())}'",
            "[traces]", f"endpoint = 'http://127.0.0.1:{port}'", f"sample = {sample}", more,
        ]  # fmt: skip
        config.write_text("\n".join(settings))
        host = Host(tmp_path / name, "--config", config, listen=listen).start()
        host.metrics = metrics
        made.append(host)
        return host

    yield make
    for host in made:
        if host.process.poll() is None:
            host.kill()


def parent(flags="01", trace=TRACE):
    return [("traceparent", f"00-{trace}-{PARENT}-{flags}")]


def by_name(spans):
    return {span.name: (about, span) for about, span in spans}


def test_a_call_has_its_place_in_the_callers_trace(traced, collector, components):
    host = traced(collector.port, more="[pool]\nname = 'gpu'\nhost = 'alpha'")
    Cli(host).push(components("tide-1"), "--name", "tide")
    with host.channel() as channel:
        channel.unary_unary(HEIGHT)(b"\x08\x05", metadata=parent())
    spans = by_name(collector.of(TRACE, 3))
    assert set(spans) == {HEIGHT[1:], "queue", "run"}
    about, request = spans[HEIGHT[1:]]
    assert about["service.name"] == "roadstead"
    assert (about["roadstead.host"], about["roadstead.pool"]) == ("alpha", "gpu")
    assert (request.kind, request.parent_span_id.hex()) == (KIND.SPAN_KIND_SERVER, PARENT)
    told = attributes(request)
    assert told["rpc.system"] == "grpc" and told["rpc.grpc.status_code"] == 0
    assert f"{told['rpc.service']}/{told['rpc.method']}" == HEIGHT[1:]
    assert (told["roadstead.module"], told["roadstead.version"]) == ("tide", "0.1.0")
    for name in ("queue", "run"):
        span = spans[name][1]
        assert span.parent_span_id == request.span_id
        assert request.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano
    ran = attributes(spans["run"][1])
    assert ran["roadstead.fuel"] > 0 and ran["roadstead.peak_memory_bytes"] > 0
    assert ran["roadstead.cpu_us"] > 0 and ran["roadstead.instance"] == "fresh"
    assert len({span.span_id for _, span in spans.values()}) == 3


def test_a_failed_call_says_how_and_nothing_of_its_content(traced, collector):
    host = traced(collector.port)
    Cli(host).push(module("hostile-trap"), "--name", "trap")
    cli = Cli(host)
    listed = cli.json("describe", "trap")["versions"][0]["services"][0]
    path = f"/{listed['name']}/{listed['methods'][0]['name']}"
    secret = secrets.token_hex(16)
    metadata = [*parent(), ("x-secret", secret), ("tracestate", f"a={secret}")]
    with host.channel() as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(path)(b"", metadata=metadata)
    request = by_name(collector.of(TRACE, 3))[path[1:]][1]
    told = attributes(request)
    assert request.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert told["rpc.grpc.status_code"] != 0 and told["roadstead.reason"]
    assert secret not in str(collector.spans)


def test_callers_decide_and_chance_where_they_do_not(traced, collector, components):
    host = traced(collector.port)
    Cli(host).push(components("tide-1"), "--name", "tide")
    with host.channel() as channel:
        call = channel.unary_unary(HEIGHT)
        call(b"\x08\x05", metadata=parent("00"))
        call(b"\x08\x05", metadata=[("traceparent", "00-bad-bad-01")])
        call(b"\x08\x05")
        call(b"\x08\x05", metadata=parent(trace="a" * 32))
    collector.of("a" * 32, 3)
    assert {span.trace_id.hex() for _, span in collector.spans} == {"a" * 32}
    always = traced(collector.port, name="always", sample="1.0")
    Cli(always).push(components("tide-1"), "--name", "tide")
    with always.channel() as channel:
        call = channel.unary_unary(HEIGHT)
        call(b"\x08\x05", metadata=parent("00"))
        call(b"\x08\x05")
    # The last batch goes before the host does.
    assert always.stop() == 0
    traces = {span.trace_id.hex() for _, span in collector.spans} - {"a" * 32}
    assert len(traces) == 1 and TRACE not in traces


def test_a_second_has_so_many_traces(traced, collector, components):
    host = traced(collector.port, more="max_per_second = 0")
    Cli(host).push(components("tide-1"), "--name", "tide")
    with host.channel() as channel:
        channel.unary_unary(HEIGHT)(b"\x08\x05", metadata=parent())
    assert metric(host.metrics, "roadstead_calls_not_traced_total") == 1
    assert host.stop() == 0
    assert collector.spans == []


def test_a_trace_goes_over_to_the_host_of_the_session(traced, collector, tmp_path, generated):  # noqa: F811
    ports = {name: free_port() for name in ("one", "two")}
    key = tmp_path / "key"
    key.write_text(secrets.token_hex(32))
    peers = "\n".join(f"{name} = 'http://127.0.0.1:{port}'" for name, port in ports.items())
    hosts = {}
    for name, port in ports.items():
        pool = f"[pool]\nhost = '{name}'\nkey_file = '{key}'\n[pool.peers]\n{peers}"
        hosts[name] = traced(collector.port, name, pool, listen=f"127.0.0.1:{port}")
        Cli(hosts[name]).push(module("running-stats"), "--name", "running-stats")
    with hosts["one"].channel() as at_one, hosts["two"].channel() as at_two:
        handle = Client(generated, at_one, None).create()
        Client(generated, at_two, None).add(handle, 1.0, metadata=parent())
    spans = collector.of(TRACE, 5)

    def at(host, name):
        mine = [span for about, span in spans if about["roadstead.host"] == host]
        return next(span for span in mine if span.name == name)

    name = f"{SERIES}/Add"
    outer, hop, inner = at("two", name), at("two", "forward"), at("one", name)
    assert outer.parent_span_id.hex() == PARENT
    assert (hop.kind, hop.parent_span_id) == (KIND.SPAN_KIND_CLIENT, outer.span_id)
    assert attributes(hop)["roadstead.to"] == "one"
    assert inner.parent_span_id == hop.span_id
    assert at("one", "run").parent_span_id == inner.span_id
    assert attributes(outer)["rpc.grpc.status_code"] == 0


def test_without_a_collector_calls_go_on_and_drops_are_counted(traced, components):
    port = free_port()
    host = traced(port)
    Cli(host).push(components("tide-1"), "--name", "tide")
    dropped = 'roadstead_spans_dropped_total{reason="refused"}'
    with host.channel() as channel:
        call = channel.unary_unary(HEIGHT)
        for _ in range(20):
            assert call(b"\x08\x05", metadata=parent()) is not None
        harness.until(lambda: metric(host.metrics, dropped) >= 60, "spans are dropped")
        collector = Collector(port)
        try:
            def told():
                call(b"\x08\x05", metadata=parent())
                return metric(host.metrics, "roadstead_spans_sent_total") >= 3

            harness.until(told, "the collector takes spans again")
        finally:
            collector.server.stop(None)
    assert host.stop() == 0
