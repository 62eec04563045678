"""A component that calls another module: through a binding of its spec."""

import grpc
import pytest
from errors import failure
from harness import module, namespaced, spec_of

LINE = "demo.regression.regression.v0_1.Regression/Line"
IMPORT = "demo:linalg/linalg@0.1.0"
POINTS = [{"x": 0, "y": 1}, {"x": 1, "y": 3}, {"x": 2, "y": 5}]


@pytest.fixture
def bound(cli):
    """A host's namespace where `regression` is published and calls a `linalg` that is not there."""
    cli.push(module("regression"), *spec_of("regression"))
    return cli


def binding(cli):
    (found,) = cli.json("describe", "regression")["versions"][0]["bindings"]
    assert (found["import"], found["module"]) == (IMPORT, "linalg")
    return found


def test_a_component_calls_another_module(bound):
    bound.push(module("linalg-small"), "--name", "linalg")
    curve = bound.call(LINE, {"points": POINTS})["ok"]
    assert curve["coefficients"] == pytest.approx([1, 2])
    assert curve["explained"] == pytest.approx(1)
    assert bound.call(LINE, {"points": POINTS[:1]}) == {"error": {"tooFew": 2}}
    same = bound.call(LINE, {"points": [POINTS[0], POINTS[0]]})
    assert same == {"error": {"ambiguous": {}}}, "the target's own errors are values"
    found = binding(bound)
    assert (found["state"], found["target"]) == ("STATE_BOUND", "linalg@0.1.0")
    text = bound.run("describe", "regression").stdout
    assert f"import    {IMPORT}: module linalg" in text
    assert f"binding   {IMPORT}: bound to linalg@0.1.0" in text


def test_a_target_that_is_missing_is_said_and_may_come(bound, channel, namespace):
    call = channel.unary_unary(f"/{LINE}", lambda message: message, lambda message: message)
    request = b"\n\x12\x09" + bytes(8) + b"\x11" + bytes(8)
    found = failure(lambda: call(request * 2, metadata=namespaced(namespace)))
    assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "BINDING_ABSENT")
    assert found.info.metadata["binding"] == IMPORT
    assert found.info.metadata["target"] == "linalg"
    assert found.retry is not None
    assert binding(bound)["state"] == "STATE_MISSING"
    assert "MISSING linalg" in bound.run("describe", "regression").stdout
    bound.push(module("linalg-small"), "--name", "linalg")
    assert "ok" in bound.call(LINE, {"points": POINTS})


def test_what_does_not_fit_is_refused(cli, tmp_path):
    cli.push(module("echo"), "--name", "linalg")
    refused = cli.push(module("regression"), *spec_of("regression"), code=None)
    assert refused.returncode != 0
    assert f"it does not export `{IMPORT}`" in refused.stderr
    assert "BAD_BINDING" in refused.stderr
    spec = tmp_path / "spec.yaml"
    spec.write_text("bindings: {'demo:other/other@0.1.0': {module: linalg}}\n")
    refused = cli.push(module("regression"), "--name", "regression", "--spec", spec, code=None)
    assert "`demo:other/other@0.1.0` (the component does not import it)" in refused.stderr
    refused = cli.push(module("regression"), "--name", "regression", code=None)
    assert "name a module that serves it under `bindings`" in refused.stderr
