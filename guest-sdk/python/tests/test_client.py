"""What clients make of a plan, of errors, and of calls that failed."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from harness import PATIENCE, Planned

import roadstead
from roadstead.client.retry import Retry
from roadstead.plan import BadPlan, Plan
from roadstead.status import Details, block

WIT = """package demo:shop@0.1.0;
/// Sells things.
interface shop {
  record item { name: string, price: f64 }
  enum size { small, large }
  variant problem { closed, no-such(string) }
  resource basket {
    constructor(limit: u32);
    /// Puts something in.
    add: func(item: item) -> result<u32, problem>;
    empty: static func() -> basket;
  }
  /// What it costs.
  price: func(items: list<item>, of: size, rebates: list<f32>) -> result<f64, problem>;
  maybe: func(x: option<u8>) -> tuple<u8, string>;
}
interface back { price: func() -> u8; only-here: func() -> u8; }
world module { export shop; export back; export ready: func() -> bool; }
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    return Planned(tmp_path_factory.mktemp("shop") / "planned", WIT)


class Answers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A server that answers what a test wants, and keeps what it was asked."""

    def __init__(self, plan: str) -> None:
        self.plan = plan
        self.asked: list[tuple[str, bytes, dict[str, Any]]] = []
        self.answers: list[Any] = []

    def service(self, details: Any) -> Any:
        def answer(request: bytes, context: Any) -> bytes:
            self.asked.append((details.method, request, dict(context.invocation_metadata())))
            if details.method.endswith("GetModuleProtos"):
                return block(3, self.plan.encode())
            wanted = self.answers.pop(0) if self.answers else b""
            if isinstance(wanted, bytes):
                return wanted
            code, reason, retry_after = wanted
            details_ = Details(reason, {"limit": "fuel"}, retry_after=retry_after)
            context.set_trailing_metadata(
                (("grpc-status-details-bin", details_.encode(code.value[0], "why")),)
            )
            context.abort(code, "why")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def answers(shop: Planned) -> Iterator[tuple[Answers, str]]:
    handler = Answers(shop.plan.text)
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(None)


def test_functions_have_the_signatures_of_their_wit(answers: tuple[Answers, str]) -> None:
    handler, target = answers
    with roadstead.connect(target, token="t", namespace="lab", timeout=PATIENCE) as host:
        shop = host.module("shop@0.2.0").shop
    signature = inspect.signature(shop.price)
    assert list(signature.parameters) == ["items", "of", "rebates"]
    assert signature.parameters["items"].annotation == list.__class_getitem__(shop.Item)
    assert signature.parameters["of"].annotation is shop.Size
    assert signature.parameters["rebates"].annotation == np.ndarray[Any, np.dtype[np.float32]]
    assert signature.return_annotation is float
    assert shop.price.__doc__ == "What it costs." and shop.__doc__ == "Sells things."
    assert shop.price.__name__ == "price"
    assert inspect.signature(shop.maybe).return_annotation == tuple[int, str]
    method, request, metadata = handler.asked[0]
    assert method == "/roadstead.v1.ModuleService/GetModuleProtos"
    assert request == b"\x0a\x04shop\x12\x050.2.0"
    assert metadata["authorization"] == "Bearer t"
    assert metadata["roadstead-namespace"] == "lab"


def test_names_of_several_interfaces_stand_in_theirs(answers: tuple[Answers, str]) -> None:
    _, target = answers
    module = roadstead.connect(target, timeout=PATIENCE).module("shop")
    assert module.only_here is not None and module.ready is not None
    assert module.back.price.__doc__ is None and module.shop.price.__doc__
    with pytest.raises(AttributeError, match="there is no price: there are .*back"):
        _ = module.price
    assert "only_here" in dir(module)


def test_calls_name_their_module_and_check_their_arguments(answers: tuple[Answers, str]) -> None:
    handler, target = answers
    shop = roadstead.connect(target, timeout=PATIENCE).module("shop@0.2.0").shop
    handler.answers = [b"\x09\0\0\0\0\0\0\xf8\x3f"]
    assert shop.price([shop.Item("a", 1.0)], shop.Size.LARGE, rebates=[0.5]) == 1.5
    assert handler.asked[-1][2]["roadstead-module"] == "shop@0.2.0"
    with pytest.raises(TypeError, match="missing"):
        shop.price([])
    with pytest.raises(roadstead.BadValue, match=r"items\[0\].price: must be a number"):
        shop.price([shop.Item("a", "1")], shop.Size.LARGE, [])
    assert len(handler.asked) == 2


def test_the_module_s_errors_are_raised(answers: tuple[Answers, str]) -> None:
    handler, target = answers
    shop = roadstead.connect(target, timeout=PATIENCE).module("shop").shop
    handler.answers = [b"\x12\x04\x12\x02ab", b"\x0a\xff"]
    with pytest.raises(roadstead.Err) as raised:
        shop.price([], shop.Size.SMALL, [])
    assert raised.value.value == shop.Problem_NoSuch("ab")
    with pytest.raises(roadstead.BadInput):
        shop.price([], shop.Size.SMALL, [])


def test_resources_live_until_they_are_closed(answers: tuple[Answers, str]) -> None:
    handler, target = answers
    shop = roadstead.connect(target, timeout=PATIENCE).module("shop").shop
    handler.answers = [b"\x0a\x04\x0a\x02id", b"\x08\x01", b""]
    with shop.Basket(5) as basket:
        assert isinstance(basket, shop.Basket)
        assert basket.add(shop.Item("a", 1.0)) == 1
        assert handler.asked[-1][1].startswith(b"\x0a\x04\x0a\x02id")
    assert [method.rpartition("/")[2] for method, _, _ in handler.asked[-3:]] == ["Create", "Add", "Drop"]
    assert list(inspect.signature(shop.Basket).parameters) == ["limit"]
    with pytest.raises(roadstead.BadValue, match="closed"):
        basket.add(shop.Item("a", 1.0))
    basket.close()
    assert len(handler.asked) == 4
    handler.answers = [b"\x0a\x04\x0a\x02no"]
    assert isinstance(shop.Basket.empty(), shop.Basket)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "BAD_INPUT", roadstead.BadCall),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "FUEL_EXHAUSTED", roadstead.LimitReached),
        (grpc.StatusCode.NOT_FOUND, "NO_SUCH_MODULE", roadstead.NotFound),
        (grpc.StatusCode.UNIMPLEMENTED, "NO_SUCH_METHOD", roadstead.NotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, "AMBIGUOUS_MODULE", roadstead.AmbiguousModule),
        (grpc.StatusCode.ABORTED, "GUEST_TRAP", roadstead.ModuleFailed),
        (grpc.StatusCode.INTERNAL, "MODULE_FAULT", roadstead.ModuleFailed),
        (grpc.StatusCode.INTERNAL, "HOST_FAULT", roadstead.HostFault),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE", roadstead.DeadlineExceeded),
        (grpc.StatusCode.UNAUTHENTICATED, "", roadstead.NotAllowed),
        (grpc.StatusCode.PERMISSION_DENIED, "", roadstead.NotAllowed),
        (grpc.StatusCode.UNAVAILABLE, "", roadstead.Unavailable),
    ],
)
def test_failures_have_types(
    answers: tuple[Answers, str], code: grpc.StatusCode, reason: str, kind: type[Exception]
) -> None:
    handler, target = answers
    module = roadstead.connect(target, timeout=PATIENCE).module("shop")
    handler.answers = [(code, reason, None)]
    with pytest.raises(roadstead.CallError) as raised:
        module.ready()
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.reason) == (code, reason)
    assert raised.value.retry_after is None
    if reason:
        assert raised.value.metadata == {"limit": "fuel"}


YES = b"\x08\x01"


@pytest.mark.parametrize(
    ("code", "reason", "idempotent", "again"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", False, True),
        (grpc.StatusCode.UNAVAILABLE, "DRAINING", False, True),
        (grpc.StatusCode.UNAVAILABLE, "NOT_READY", False, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "FUEL_EXHAUSTED", True, False),
        (grpc.StatusCode.UNAVAILABLE, "", False, False),
        (grpc.StatusCode.UNAVAILABLE, "CONNECTION_AGE", False, False),
        (grpc.StatusCode.UNAVAILABLE, "", True, True),
        (grpc.StatusCode.ABORTED, "GUEST_TRAP", True, False),
    ],
)
def test_calls_are_made_again_only_where_that_is_safe(
    answers: tuple[Answers, str], code: grpc.StatusCode, reason: str, idempotent: bool, again: bool
) -> None:
    handler, target = answers
    module = roadstead.connect(target, timeout=PATIENCE).module("shop")
    module = module.with_options(idempotent=idempotent)
    handler.answers = [(code, reason, 0.01), YES]
    if again:
        assert module.ready() is True
        assert len(handler.asked) == 3
    else:
        with pytest.raises(roadstead.CallError):
            module.ready()
        assert len(handler.asked) == 2


def test_attempts_have_an_end(answers: tuple[Answers, str]) -> None:
    handler, target = answers
    busy = (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 0.01)
    host = roadstead.connect(target, timeout=PATIENCE, retry=Retry(attempts=3))
    module = host.module("shop")
    handler.answers = [busy] * 3 + [YES]
    with pytest.raises(roadstead.Overloaded):
        module.ready()
    handler.answers = [(busy[0], busy[1], 3600.0), YES]
    with pytest.raises(roadstead.Overloaded) as raised:
        module.ready()
    assert raised.value.retry_after == 3600.0, "there is no time to wait that long"


def test_messages_have_a_limit(answers: tuple[Answers, str]) -> None:
    handler, target = answers
    shop = roadstead.connect(target, timeout=PATIENCE, max_message=100_000).module("shop").shop
    with pytest.raises(roadstead.LimitReached):
        shop.price([], shop.Size.SMALL, np.zeros(100_000, np.float32))


def test_tokens_are_not_sent_in_plain_text() -> None:
    with pytest.raises(ValueError, match="plain text"):
        roadstead.connect("hosts.example.com:7411", token="secret")
    roadstead.connect("hosts.example.com:7411", token="secret", tls=True).close()
    roadstead.connect("localhost:7411", token="secret").close()
    with pytest.raises(OSError):
        roadstead.connect("hosts.example.com:7411", tls=Path("/nowhere/ca.pem"))


def test_plans_that_do_not_fit_are_refused(shop: Planned) -> None:
    plan = json.loads(shop.plan.text)
    for broken in (
        "", "[]", "{}", json.dumps({**plan, "format": 2}), json.dumps({**plan, "messages": {}}),
        json.dumps({**plan, "methods": []}), json.dumps({**plan, "enums": {}}),
        shop.plan.text.replace('"f64"', '"f128"'),
        shop.plan.text.replace('"name":"item"', '"name":"item\\nimport os"'),
    ):  # fmt: skip
        with pytest.raises(BadPlan):
            Plan.parse(broken)


def test_a_client_needs_neither_protobuf_nor_numpy(shop: Planned, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(shop.plan.text)
    code = f"""
import sys
for name in ("numpy", "google.protobuf", "grpc_health", "grpc_reflection", "componentize_py"):
    sys.modules[name] = None
import roadstead
module = roadstead.connect("127.0.0.1:1").with_plan(open({str(tmp_path / "plan.json")!r}).read())
codec = module._codec
method = codec.plan.methods["demo.shop.shop.v0_1.Shop", "Price"]
data = codec.encode_request(method, [[module.Item("a", 1.0)], module.Size.LARGE, [0.5, 2.0]])
assert codec.decode_request(method, data) == [[module.Item("a", 1.0)], module.Size.LARGE, [0.5, 2.0]]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
