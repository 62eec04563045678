"""Secrets, which the operator offers by name and grantee."""

import grpc
from stage import PROBE, Stage, refused


def test_a_server_has_the_secrets_that_it_asks_for_and_may_have(stage):
    module = stage(PROBE, secrets=["ours"], concurrent=["look"]).module()
    folder = module.look("env:ROADSTEAD_SECRETS")
    assert module.look(f"read:{folder}/ours") == "ahoy"
    assert module.look(f"write:{folder}/ours").startswith("error")
    asks_for_none = stage(PROBE, concurrent=["look"]).module()
    folder = asks_for_none.look("env:ROADSTEAD_SECRETS")
    assert folder == "nothing" or asks_for_none.look(f"list:{folder}") == ""


def test_a_secret_of_others_is_refused_and_says_what_to_set(stage, backend):
    if backend.name == "processes":
        one = Stage(backend, "thief", PROBE, secrets=["theirs"])
        said = backend.cli("push", *one.spec(), code=1).stderr
        assert "theirs" in said and "offers.secrets" in said
        return
    one = stage(PROBE, secrets=["theirs"])
    one.reaches("failed", because="native.allow.secrets offers no `theirs`")
    error = refused(lambda: one.module().echo(b"x"))
    assert (error.reason, error.code) == ("NOT_READY", grpc.StatusCode.UNAVAILABLE)
    assert "NotAllowed" in str(error)
    assert one.processes() == []
