"""A host that asks who calls: real clients with tokens, JSON Web Tokens and certificates."""

import json
import subprocess
import time

import grpc
import harness
import pytest
from errors import failure
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from harness import Cli, namespaced, roadstead, until

TIDE = "acme.tide.tide.v0_1.Tide"
HEIGHT = f"/{TIDE}/Height"
ROLES = ("reader", "caller", "publisher", "admin")


class Tokens:
    """Tokens as `roadstead token new` makes them, and the policy that knows them."""

    def __init__(self, directory):
        self.directory = directory
        self.policy = directory / "policy.toml"
        self.known = {}

    def new(self, name):
        made = json.loads(roadstead("--json", "token", "new", name).stdout)
        self.known[name] = made
        return made["token"]

    def __getitem__(self, name):
        return self.known[name]["token"]

    def write(self, *grants, more=""):
        """Grants are (who, role, namespaces…)."""
        lines = [more]
        for name, made in self.known.items():
            lines.append(f"[[token]]\nname = '{name}'\nhash = '{made['hash']}'\n")
        for who, role, *namespaces in grants:
            names = ", ".join(f"'{name}'" for name in namespaces)
            lines.append(
                f"[[grant]]\nwho = '{who}'\nrole = '{role}'\nnamespaces = [{names}]\n"
                + (f"home = '{namespaces[0]}'\n" if namespaces[0] != "*" else "")
            )
        self.policy.write_text("\n".join(lines))
        return self.policy


@pytest.fixture
def tokens(tmp_path):
    made = Tokens(tmp_path)
    for name in (*ROLES, "root", "stranger"):
        made.new(name)
    return made


def grants():
    return [(f"token:{role}", role, "team-a") for role in ROLES] + [("token:root", "admin", "*")]


def bearer(token, namespace=None):
    return namespaced(namespace, ("authorization", f"Bearer {token}"))


def call(channel, metadata=()):
    return channel.unary_unary(HEIGHT)(b"\x08\x05", metadata=metadata)


def reason(channel, metadata=()):
    said = failure(lambda: call(channel, metadata))
    return said.code, said.reason


@pytest.fixture
def guarded(new_host, tokens, components):
    host = new_host("--auth", tokens.write(*grants())).start()
    root = Cli(host, "team-a", extra=["--token", tokens["root"]])
    root.push(components("tide-1"), "--name", "tide")
    return host


def test_grpcio_calls_with_a_token(guarded, tokens):
    with guarded.channel() as channel:
        for role in ("caller", "publisher", "admin"):
            assert call(channel, bearer(tokens[role])) == b"\x08\x05"
        assert call(channel, bearer(tokens["root"], "team-a")) == b"\x08\x05"
        denied, unknown = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
        assert reason(channel, bearer(tokens["reader"])) == (denied, "NOT_GRANTED")
        assert reason(channel, bearer(tokens["stranger"])) == (denied, "NOT_GRANTED")
        assert reason(channel, bearer(tokens["caller"], "team-b")) == (denied, "NOT_GRANTED")
        assert reason(channel) == (unknown, "NO_CREDENTIALS")
        assert reason(channel, bearer("rst_" + "A" * 43)) == (unknown, "BAD_CREDENTIALS")
        said = failure(lambda: call(channel, bearer(tokens["reader"])))
        assert dict(said.info.metadata) | {"needs": "caller", "has": "reader"} == dict(
            said.info.metadata
        )


def test_reflection_and_health_know_who_asks(guarded, tokens):
    with guarded.channel() as channel:
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)

        def services(metadata):
            (answer,) = stub.ServerReflectionInfo(iter([ask]), metadata=metadata)
            return {service.name for service in answer.list_services_response.service}

        assert TIDE in services(bearer(tokens["reader"]))
        assert TIDE not in services(bearer(tokens["root"], "team-b"))
        assert failure(lambda: services(())).reason == "NO_CREDENTIALS"
        health = health_pb2_grpc.HealthStub(channel)
        probe = health_pb2.HealthCheckRequest()
        # A probe of Kubernetes has no credentials.
        assert health.Check(probe).status == health_pb2.HealthCheckResponse.SERVING
        tide = health_pb2.HealthCheckRequest(service=TIDE)
        assert failure(lambda: health.Check(tide)).reason == "NO_CREDENTIALS"
        known = health.Check(tide, metadata=bearer(tokens["reader"]))
        assert known.status == health_pb2.HealthCheckResponse.SERVING


def test_curl_is_told_how_to_ask(guarded, tokens):
    def curl(*headers):
        flags = [flag for header in headers for flag in ("-H", header)]
        answer = subprocess.run(
            [
                "curl", "--silent", "--show-error", "--max-time", "60", "-i",
                "-H", "content-type: application/json", *flags, "-d", '{"hour": 9}',
                f"http://{guarded.address}{HEIGHT}",
            ],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        head, body = answer.split("\n\n", 1)
        return head.lower(), json.loads(body)

    head, body = curl(f"authorization: Bearer {tokens['caller']}")
    assert " 200" in head.splitlines()[0] and body == {"value": 9}
    head, body = curl()
    assert " 401" in head.splitlines()[0] and 'www-authenticate: bearer realm="roadstead"' in head
    assert body["code"] == "unauthenticated"
    head, body = curl(f"authorization: Bearer {tokens['reader']}")
    assert " 403" in head.splitlines()[0] and body["code"] == "permission_denied"


def test_the_command_line_shows_a_token(guarded, tokens, tmp_path, components):
    file = tmp_path / "token"
    file.write_text(tokens["publisher"] + "\n")
    publisher = Cli(guarded, extra=["--token-file", str(file)])
    publisher.push(components("tide-1"), "--name", "again")
    assert {found["name"] for found in publisher.json("list")["modules"]} == {"tide", "again"}
    publisher.run("delete", "again")
    publisher.run("logs", "tide")
    root = Cli(guarded, extra=["--token", tokens["root"]])
    for verb in (["offers", "--all-namespaces"], ["top", "--once", "--all-namespaces"]):
        publisher.run(*verb, code=1)
        root.run(*verb)
    assert "team-a/tide" in root.run("top", "--once", "--all-namespaces").stdout
    reader = Cli(guarded, extra=["--token", tokens["reader"]])
    reader.run("describe", "tide")
    refused = reader.push(components("tide-1"), "--name", "x", code=1)
    assert "publisher" in refused.stderr and "NOT_GRANTED" in refused.stderr
    nobody = Cli(guarded).run("list", code=1)
    assert "NO_CREDENTIALS" in nobody.stderr and "--token" in nobody.stderr
    help_text = subprocess.run(
        [harness.BIN, "list", "--help"],
        capture_output=True, text=True, check=True, env={"ROADSTEAD_TOKEN": tokens["root"]},
    ).stdout  # fmt: skip
    assert "ROADSTEAD_TOKEN" in help_text and tokens["root"] not in help_text
    for name in (*ROLES, "root"):
        assert tokens[name] not in guarded.log_path.read_text()


def test_what_a_guest_is_told_holds_no_credentials(guarded, tokens):
    """The caller's headers stop at the host: what a module could log or send is its message."""
    root = Cli(guarded, "team-a", extra=["--token", tokens["root"]])
    root.push(harness.module("text-stats"))
    summary = root.call("demo.text_stats.analyze.v0_1.Analyze/Summarize", {"text": "a"})
    assert tokens["root"] not in json.dumps(summary)
    assert tokens["root"] not in root.run("logs", "text-stats").stdout


def test_a_new_policy_is_taken_and_a_wrong_one_is_not(guarded, tokens):
    caller, reader = bearer(tokens["caller"]), bearer(tokens["reader"])
    with guarded.channel() as channel:
        tokens.write(*grants(), ("token:reader", "caller", "team-a"))
        until(lambda: _succeeds(channel, reader), "the file is followed")
        tokens.policy.write_text("[[grant]]\nwho = 'token:gone'\n")
        guarded.process.send_signal(harness.signal.SIGHUP)
        until(lambda: "the policy stays as it was" in guarded.log_path.read_text(), "a complaint")
        assert call(channel, caller) == b"\x08\x05"
        tokens.write(*(grant for grant in grants() if grant[0] != "token:caller"))
        guarded.process.send_signal(harness.signal.SIGHUP)
        until(lambda: not _succeeds(channel, caller), "a withdrawn grant")
    log = guarded.log_path.read_text()
    assert "line 1" in log, log


def _succeeds(channel, metadata):
    try:
        return bool(call(channel, metadata))
    except grpc.RpcError:
        return False


def test_wrong_policies_are_wrong_usage(tokens, tmp_path):
    for text, part in [
        ("", "nobody"),
        ("[[token]]\nname = 'a'\nhash = 'rst_secret'\n", "line 3"),
        ("[mtls]\nclient_ca = 'ca.pem'\n", "tls_cert"),
    ]:
        tokens.policy.write_text(text)
        done = roadstead(
            "serve", "--data-dir", tmp_path / "x", "--listen", "127.0.0.1:0",
            "--auth", tokens.policy, code=2,
        )  # fmt: skip
        assert part in done.stderr and "rst_secret" not in done.stderr
    done = roadstead("serve", "--auth", tmp_path / "none.toml", code=2)
    assert "none.toml" in done.stderr
    done = roadstead("serve", "--auth", tokens.policy, "--insecure-no-auth", code=2)
    assert "insecure_no_auth" in done.stderr


def test_a_policy_opens_other_addresses(new_host, tokens):
    host = new_host("--auth", tokens.write(*grants()), listen="0.0.0.0:0").start()
    host.address = f"127.0.0.1:{host.address.rsplit(':', 1)[1]}"
    Cli(host, extra=["--token", tokens["reader"]]).run("list")
    assert "plain text" in host.log()


def jwt(directory, **claims):
    good = {"iss": "me", "aud": "roadstead", "sub": "alice", "exp": int(time.time()) + 3600}
    made = subprocess.run(
        [harness.FIXTURE_BIN, "jwt", json.dumps(good | claims), "-o", directory],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return made.stdout.strip()


def test_grpcio_calls_with_a_json_web_token(new_host, tokens, tmp_path, components):
    account = "system:serviceaccount:team-a:worker"
    good = jwt(tmp_path, sub=account)
    issuer = (
        "[[jwt]]\nname = 'cluster'\nissuer = 'me'\naudience = 'roadstead'\n"
        "jwks_file = 'keys.json'\n"
    )
    policy = tokens.write(
        *grants(),
        ("jwt:cluster:system:serviceaccount:team-a:*", "caller", "team-a"),
        more=issuer,
    )
    host = new_host("--auth", policy).start()
    Cli(host, "team-a", extra=["--token", tokens["root"]]).push(components("tide-1"), "--name", "tide")
    unknown = grpc.StatusCode.UNAUTHENTICATED
    with host.channel() as channel:
        for _ in range(3):
            assert call(channel, bearer(good)) == b"\x08\x05"
        old = jwt(tmp_path, sub=account, exp=int(time.time()) - 3600)
        assert reason(channel, bearer(old)) == (unknown, "EXPIRED_CREDENTIALS")
        for wrong in (
            jwt(tmp_path, sub=account, aud="other"),
            jwt(tmp_path, sub=account, iss="other"),
            good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
            good.rsplit(".", 1)[0] + ".",
        ):
            assert reason(channel, bearer(wrong)) == (unknown, "BAD_CREDENTIALS")
        other = bearer(jwt(tmp_path, sub="system:serviceaccount:team-b:worker"), "team-a")
        assert reason(channel, other) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_GRANTED")


def test_grpcio_shows_a_certificate(new_host, tokens, tmp_path, components):
    for verb in (["certificate"], ["client", "spiffe://prod/worker"]):
        subprocess.run([harness.FIXTURE_BIN, *verb, "-o", tmp_path], check=True)
    server, client = tmp_path / "cert.pem", tmp_path / "client.pem"
    key = tmp_path / "client-key.pem"
    policy = tokens.write(
        *grants(),
        ("cert:spiffe://prod/*", "publisher", "team-a"),
        more="[mtls]\nclient_ca = 'clients.pem'\n",
    )
    host = new_host(
        "--auth", policy, "--tls-cert", server, "--tls-key", tmp_path / "key.pem"
    ).start()
    host.address = f"localhost:{host.address.rsplit(':', 1)[1]}"
    shown = ["--ca", str(server), "--cert", str(client), "--key", str(key)]
    Cli(host, extra=shown).push(components("tide-1"), "--name", "tide")
    assert Cli(host, extra=shown).call(f"{TIDE}/Height", {"hour": 4}) == {"value": 4}
    read = [path.read_bytes() for path in (server, key, client)]
    with grpc.secure_channel(host.address, grpc.ssl_channel_credentials(*read)) as channel:
        assert call(channel) == b"\x08\x05"
        # What is said goes before what is shown.
        assert reason(channel, bearer("rst_unknown"))[1] == "BAD_CREDENTIALS"
    anonymous = grpc.ssl_channel_credentials(read[0])
    with grpc.secure_channel(host.address, anonymous) as channel:
        assert reason(channel)[1] == "NO_CREDENTIALS"
        assert call(channel, bearer(tokens["caller"])) == b"\x08\x05"
    half = Cli(host, extra=["--ca", str(server), "--cert", str(client)]).run("list", code=1)
    assert "--key" in half.stderr
    # A certificate by somebody else ends the handshake.
    subprocess.run([harness.FIXTURE_BIN, "client", "spiffe://prod/x", "-o", tmp_path], check=True)
    strangers = grpc.ssl_channel_credentials(read[0], key.read_bytes(), client.read_bytes())
    with grpc.secure_channel(host.address, strangers) as channel:
        assert reason(channel)[0] == grpc.StatusCode.UNAVAILABLE
