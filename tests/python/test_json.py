"""JSON over HTTP on the same port: plain http.client, curl, and the Connect protocol's errors."""

import gzip
import http.client
import json
import subprocess

import pytest
from harness import Cli

NUMBER = "/acme.kinds.kinds.v0_3.Kinds/Number"
ECHO = "/acme.kinds.kinds.v0_3.Kinds/Echo"
BROKEN = "/acme.kinds.kinds.v0_3.Kinds/Broken"


@pytest.fixture
def post(host, kinds):
    """One POST over HTTP/1.1: status, headers, decoded body."""

    def send(path, body, namespace="kinds", raw=False, **headers):
        connection = http.client.HTTPConnection(host.address, timeout=60)
        sent = {"Content-Type": "application/json"}
        if namespace:
            sent["Roadstead-Namespace"] = namespace
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, data, sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content if raw else json.loads(content)

    return send


def test_a_call_answers_canonical_json(post):
    status, headers, body = post(NUMBER, {"value": 7})
    assert (status, body) == (200, {"value": 7})
    assert headers["Content-Type"] == "application/json"
    assert headers["trailer-roadstead-module"] == "kinds@0.1.0"
    assert int(headers["trailer-roadstead-fuel-consumed"]) > 0
    # Default values are printed.
    assert post(NUMBER, {})[2] == {"value": 0}
    assert post(NUMBER, b"{}")[2] == {"value": 0}


def test_connect_headers_are_understood(post):
    ok = {"connect_protocol_version": "1"}
    assert post(NUMBER, {"value": 1}, **ok)[0] == 200
    assert post(NUMBER, {"value": 1}, connect_timeout_ms="10000", **ok)[0] == 200
    status, _, body = post(NUMBER, {"value": 1}, connect_timeout_ms="soon", **ok)
    assert (status, body["code"]) == (400, "invalid_argument")


def test_errors_are_connect_errors(post):
    status, _, body = post(ECHO, {"all": {"tiny": 300}})
    assert (status, body["code"]) == (400, "invalid_argument")
    details = {detail["type"]: detail.get("debug", {}) for detail in body["details"]}
    assert "google.rpc.ErrorInfo" in details
    assert "google.rpc.BadRequest" in details
    status, headers, body = post(BROKEN, {"text": "x"})
    assert (status, body["code"]) == (409, "aborted")
    assert headers["trailer-roadstead-module"] == "kinds@0.1.0"


def test_json_that_does_not_fit_is_the_callers_fault(post):
    for bad in (b"", b"{", b"[]", b"\xff", {"nosuch": 1}, {"value": "x"}, {"value": 2**32}):
        status, _, body = post(NUMBER, bad)
        assert (status, body["code"]) == (400, "invalid_argument"), bad
    deep = b'{"all":' * 10_000
    assert post(ECHO, deep)[0] == 400


def test_unknown_paths_and_methods(host, post):
    status, _, body = post("/no.such.v1.Service/Call", {})
    assert (status, body["code"]) in ((404, "not_found"), (501, "unimplemented"))
    assert post("/acme.kinds.kinds.v0_3.Kinds/Absent", {})[0] in (404, 501)
    connection = http.client.HTTPConnection(host.address, timeout=60)
    connection.request("GET", NUMBER)
    assert connection.getresponse().status in (404, 405, 415)
    connection.close()
    connection = http.client.HTTPConnection(host.address, timeout=60)
    connection.request("POST", NUMBER, b"a=b", {"Content-Type": "text/plain"})
    assert connection.getresponse().status == 415
    connection.close()


def test_gzip_is_taken_and_given(post):
    packed = gzip.compress(json.dumps({"value": 9}).encode())
    assert post(NUMBER, packed, content_encoding="gzip")[2] == {"value": 9}
    status, headers, content = post(
        ECHO.replace("Echo", "Number"), {"value": 9}, raw=True, accept_encoding="gzip"
    )
    if headers["Content-Encoding"] == "gzip":
        content = gzip.decompress(content)
    assert (status, json.loads(content)) == (200, {"value": 9})
    status, _, body = post(NUMBER, b"not gzip", content_encoding="gzip")
    assert (status, body["code"]) == (400, "invalid_argument")
    status, _, body = post(NUMBER, b"x", content_encoding="brotli")
    assert body["code"] in ("unimplemented", "invalid_argument")


def test_a_packed_bomb_is_refused_in_bounded_memory(post):
    bomb = gzip.compress(b'{"text":"' + b"a" * (256 << 20) + b'"}', compresslevel=1)
    status, _, body = post(
        "/acme.kinds.kinds.v0_3.Kinds/Swallow", bomb, content_encoding="gzip"
    )
    # More than the limit, or than the host could ever hold.
    assert (status, body["code"]) in {(429, "resource_exhausted"), (400, "failed_precondition")}


def curl(*args):
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "60", *args],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_is_a_client(host, kinds, version):
    answer = curl(
        version, "-H", "content-type: application/json", "-H", "roadstead-namespace: kinds",
        "-d", '{"value": 11}', f"{host.url}{NUMBER}",
    )  # fmt: skip
    assert json.loads(answer) == {"value": 11}


def test_the_hosts_own_service_speaks_json_too(post):
    status, _, body = post("/roadstead.v1.ModuleService/ListModules", {})
    assert status == 200
    assert [module["name"] for module in body["modules"]] == ["kinds"]


def test_browsers_of_other_origins_are_let_in_by_flag_only(host, new_host, components):
    def preflight(to, origin):
        connection = http.client.HTTPConnection(to.address, timeout=60)
        connection.request(
            "OPTIONS", NUMBER,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type,connect-protocol-version",
            },
        )  # fmt: skip
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.headers["Access-Control-Allow-Origin"]

    assert preflight(host, "https://app.example") is None
    open_host = new_host("--cors-origin", "https://app.example").start()
    assert preflight(open_host, "https://app.example") == "https://app.example"
    assert preflight(open_host, "https://other.example") is None
    Cli(open_host).push(components("kinds"), "--name", "kinds")
    connection = http.client.HTTPConnection(open_host.address, timeout=60)
    headers = {"Content-Type": "application/json", "Origin": "https://app.example"}
    connection.request("POST", NUMBER, b'{"value": 3}', headers)
    answer = connection.getresponse()
    assert json.loads(answer.read()) == {"value": 3}
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    assert exposed == "*" or "trailer-roadstead-module" in exposed
    connection.close()
