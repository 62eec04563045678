"""Reads the rich error of a failed call: status, google.rpc details."""

from google.rpc import error_details_pb2
from grpc_status import rpc_status


class Details:
    """What a failed call said beside its status."""

    def __init__(self, error):
        self.code = error.code()
        self.text = error.details()
        self.trailers = dict(error.trailing_metadata() or ())
        status = rpc_status.from_call(error)
        self.info = self.bad_request = self.retry = self.debug = None
        for detail in status.details if status else ():
            for field, kind in (
                ("info", error_details_pb2.ErrorInfo),
                ("bad_request", error_details_pb2.BadRequest),
                ("retry", error_details_pb2.RetryInfo),
                ("debug", error_details_pb2.DebugInfo),
            ):
                if detail.Is(kind.DESCRIPTOR):
                    message = kind()
                    detail.Unpack(message)
                    setattr(self, field, message)

    @property
    def reason(self):
        return self.info.reason if self.info else None

    @property
    def fields(self):
        return [violation.field for violation in self.bad_request.field_violations]

    def __repr__(self):
        return f"{self.code} {self.reason} {self.text!r}"


def failure(call):
    """The details of a call that must fail."""
    import grpc

    try:
        answer = call()
    except grpc.RpcError as error:
        return Details(error)
    raise AssertionError(f"the call succeeded: {answer}")
