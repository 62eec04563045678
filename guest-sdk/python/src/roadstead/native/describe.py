"""What a server says of itself: health and reflection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

_V1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


class Health:
    """Whether the module answers, for each of its services and as a whole."""

    def __init__(self, servicer: Any, services: Iterable[str]) -> None:
        self._servicer = servicer
        self._services = ["", *services]

    async def ready(self, is_ready: bool) -> None:
        """Says so to all who ask and watch."""
        states = health_pb2.HealthCheckResponse
        for service in self._services:
            await self._servicer.set(service, states.SERVING if is_ready else states.NOT_SERVING)


def add_health(server: Any, services: Iterable[str]) -> Health:
    """Adds `grpc.health.v1.Health`."""
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return Health(servicer, services)


def add_reflection(server: Any, services: list[str], descriptors: bytes) -> None:
    """Adds `grpc.reflection`, of which v1 is the same as v1alpha but for its name."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    pool.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    names = [*services, health.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, pool)
    server.add_generic_rpc_handlers((_ReflectionV1(reflection.aio.ReflectionServicer(names, pool)),))


class _ReflectionV1(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != _V1:
            return None
        messages = reflection_pb2
        return grpc.stream_stream_rpc_method_handler(
            self._servicer.ServerReflectionInfo,
            request_deserializer=messages.ServerReflectionRequest.FromString,
            response_serializer=messages.ServerReflectionResponse.SerializeToString,
        )
