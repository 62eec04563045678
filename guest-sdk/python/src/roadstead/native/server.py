"""The server of a native module: its own services, health, reflection and progress."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from ..wire import Codec
from . import describe
from .actor import Actor, Lifecycle
from .checkpoints import Checkpoints, StaleAttempt
from .context import CURRENT, Call
from .failures import StartFailed, guarded, guarded_async
from .faults import Interrupted, NotReady, OutputLimit, fault_of
from .identity import BadKey, Verifier
from .load import load
from .options import Options, OptionsError
from .progress import TRACKER
from .service import ModuleError, Operation, Service, operations
from .turns import Turn, Turns

_LOG = logging.getLogger("roadstead.native")
_PROGRESS = "/roadstead.v1.NativeService/GetProgress"
# The share of a stop's grace that calls have; the rest is for telling those who called.
_FOR_CALLS = 0.9
# Seconds within which interrupted calls end, and what is sent of them is on its way.
_PARTING = 1.0


class Server(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves the classes that implement a WIT's exports, one for each exported interface.

    Each is made once, without arguments. Calls come to them one at a time unless their methods are
    declared `concurrent`.
    """

    def __init__(self, *exports: type[Any], options: Options) -> None:
        self._options = options
        self._epoch = options.epoch
        loaded = load(exports)
        self._codec = Codec(loaded.plan, loaded.classes, plain_lists=options.plain_lists)
        self._service = Service(self._codec)
        # A class may implement several interfaces: then one instance does.
        self._instances = {
            cls: guarded(f"making {cls.__name__}", cls) for cls in loaded.exports.values()
        }
        self._operations = {
            operation.method.path: operation
            for interface, cls in loaded.exports.items()
            for operation in operations(loaded.plan, interface, self._instances[cls])
        }
        self._verifier = Verifier.from_file(options.key_file)
        self._descriptors = loaded.descriptors
        self._services = sorted({method.service for method in loaded.plan.methods.values()})
        self._is_ready = False
        self._stopping = asyncio.Event()
        self._failed = False
        # The tasks of calls that run or wait.
        self._calls: set[asyncio.Task[Any]] = set()
        self._is_interrupting = False
        self.port = 0
        # Whether a method runs on that did not end in time.
        self.is_abandoning = False

    async def start(self) -> None:
        """Listens, takes up the state, and is ready. Raises where the module cannot start."""
        options = self._options
        self._turns = Turns(options.max_waiting, options.threads)
        self._server = grpc.aio.server(options=[
            ("grpc.max_receive_message_length", options.max_message),
            ("grpc.max_send_message_length", options.max_message),
            ("grpc.so_reuseport", 0),
        ])  # fmt: skip
        self._server.add_generic_rpc_handlers((self,))
        self._health = describe.add_health(self._server, self._services)
        describe.add_reflection(self._server, self._services, self._descriptors)
        await self._health.ready(False)
        try:
            await self._begin_all()
        except BaseException:
            await self._server.stop(None)
            self._turns.close()
            raise
        TRACKER.report()
        self._is_ready = True
        await self._health.ready(True)

    async def _begin_all(self) -> None:
        self._listen()
        await self._server.start()
        if self._options.socket is not None:
            self._options.socket.chmod(0o600)
        for instance in self._instances.values():
            await self._begin(instance)

    def _listen(self) -> None:
        options = self._options
        if options.socket is not None:
            # What an earlier attempt left behind.
            options.socket.unlink(missing_ok=True)
        try:
            if options.tls is not None:
                credentials = options.tls.credentials()
                self.port = self._server.add_secure_port(options.address, credentials)
            else:
                self.port = self._server.add_insecure_port(options.address)
        except RuntimeError as error:
            raise OptionsError(f"listen on {options.address}: {error}") from None

    async def _begin(self, instance: object) -> None:
        name = type(instance).__name__
        if isinstance(instance, Actor):
            if self._options.state is None:
                raise OptionsError("an actor needs a directory for its state: ROADSTEAD_STATE")
            checkpoints = Checkpoints(self._options.state, self._options.epoch)
            await self._quietly(f"{name}.restore", lambda: instance.begin(checkpoints))
            self._epoch = checkpoints.epoch
        if isinstance(instance, Lifecycle):
            await self._quietly(f"{name}.start", instance.start)

    async def _quietly(self, what: str, work: Callable[[], Any]) -> None:
        """Runs plain or asynchronous code in the turn of a call that nobody made."""
        call = Call("")
        async with self._turns.turn(call, concurrent=False) as turn:
            done = await turn.in_thread(lambda: guarded(what, work))
            if inspect.isawaitable(done):
                await guarded_async(what, done)

    async def stop(self) -> None:
        """Takes no new calls, lets those that run end, and makes an actor's state durable.

        Calls that do not end within the grace are told that they were interrupted, if they had
        begun, and else that the module is not ready.
        """
        self._is_ready = False
        await self._health.ready(False)
        until = time.monotonic() + self._options.grace
        await self._end_calls(_FOR_CALLS * self._options.grace)
        await self._server.stop(_PARTING)
        is_idle = await self._turns.idle(max(0.0, until - time.monotonic()))
        if not is_idle:
            self.is_abandoning = True
            _LOG.warning("a call still runs after %g s: its work is lost", self._options.grace)
        for instance in self._instances.values() if is_idle else ():
            await self._end(instance)
        self._turns.close()
        if self._options.socket is not None:
            self._options.socket.unlink(missing_ok=True)

    async def _end_calls(self, within: float) -> None:
        if not self._calls:
            return
        _, running = await asyncio.wait(self._calls, timeout=within)
        if running:
            self._is_interrupting = True
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_PARTING)

    async def _end(self, instance: object) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(instance, Actor):
            with contextlib.suppress(StaleAttempt):
                await loop.run_in_executor(None, instance.commit)
        if isinstance(instance, Lifecycle):
            done: Any = await loop.run_in_executor(None, instance.stop)
            if inspect.isawaitable(done):
                await done

    async def run(self) -> bool:
        """Serves until SIGTERM or SIGINT; whether it ended as it should."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        await self.start()
        _LOG.info("ready on %s", self._options.address)
        await self._stopping.wait()
        await self.stop()
        return not self._failed

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a method; gRPC asks it for each call."""
        if details.method == _PROGRESS:
            return grpc.unary_unary_rpc_method_handler(self._progress)
        operation = self._operations.get(details.method)
        if operation is None:
            return None
        sends, receives = operation.method.input is not None, operation.method.response.streams

        async def one(request: Any, context: Any) -> bytes:
            return await self._one(operation, request if not sends else None, context)

        async def many(request: Any, context: Any) -> AsyncIterator[bytes]:
            async for message in self._many(operation, request if not sends else None, context):
                yield message

        if receives:
            make = grpc.stream_stream_rpc_method_handler if sends else grpc.unary_stream_rpc_method_handler
            return make(many)
        make = grpc.stream_unary_rpc_method_handler if sends else grpc.unary_unary_rpc_method_handler
        return make(one)

    async def _progress(self, _: bytes, __: Any) -> bytes:
        return TRACKER.now().encode(self._epoch)

    async def _one(self, operation: Operation, request: bytes | None, context: Any) -> bytes:
        async with self._answering(operation, context) as turn:
            arguments = await self._arguments(operation, request, context)
            return self._sized(await self._service.answer(operation, turn, arguments))

    async def _many(
        self, operation: Operation, request: bytes | None, context: Any
    ) -> AsyncIterator[bytes]:
        async with self._answering(operation, context) as turn:
            arguments = await self._arguments(operation, request, context)
            async for message in self._service.outputs(operation, turn, arguments):
                TRACKER.report()
                yield self._sized(message)

    @asynccontextmanager
    async def _answering(self, operation: Operation, context: Any) -> AsyncIterator[Turn]:
        """A call from its beginning to its end, which is a status where something went wrong."""
        task, has_begun = asyncio.current_task(), False
        assert task is not None
        self._calls.add(task)
        TRACKER.call_began()
        try:
            call = self._admit(operation, context)
            async with self._turns.turn(call, operation.concurrent) as turn:
                has_begun = True
                CURRENT.set(call)
                yield turn
        except asyncio.CancelledError:
            if not self._is_interrupting:
                raise
            why = "the module stops, and "
            error = (Interrupted(why + "the call did not end in time") if has_begun
                     else NotReady(why + "the call did not begin"))  # fmt: skip
            await self._fail(operation, context, error)
        except Exception as error:
            await self._fail(operation, context, error)
        finally:
            TRACKER.call_ended()
            self._calls.discard(task)

    def _sized(self, message: bytes) -> bytes:
        if len(message) > self._options.max_message:
            raise OutputLimit(self._options.max_message, len(message))
        return message

    async def _fail(self, operation: Operation, context: Any, error: Exception) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, StaleAttempt):
            # A newer attempt answers: this one is of no use any more.
            self._failed = True
            self._stopping.set()
        fault = fault_of(error, operation.method.path)
        trailers = (("grpc-status-details-bin", fault.encode()),)
        await context.abort(fault.code, fault.message, trailers)

    def _admit(self, operation: Operation, context: Any) -> Call:
        if not self._is_ready:
            raise NotReady("the module is not ready")
        method = operation.method.path
        metadata = dict(context.invocation_metadata() or ())
        remaining = context.time_remaining()
        deadline = None if remaining is None else time.monotonic() + remaining
        caller = self._verifier.verify(method, metadata)
        return Call(method, caller, deadline, asyncio.get_running_loop())

    async def _arguments(
        self, operation: Operation, request: bytes | None, context: Any
    ) -> list[Any]:
        if request is not None:
            return self._service.arguments(operation, request)

        async def receive() -> bytes | None:
            message = await context.read()
            return None if message is grpc.aio.EOF else message

        return await self._service.streamed_arguments(operation, receive)


def serve(*exports: type[Any], **given: Any) -> None:
    """Serves classes until SIGTERM, by what the environment says and `Options` explains.

    Ends the process with status 1 where the module cannot start, and with a word about why.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr,
                        format="%(levelname)s %(name)s: %(message)s")  # fmt: skip

    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a module prints is read as a log.
        sys.stdout.reconfigure(line_buffering=True)

    async def run() -> tuple[bool, bool]:
        options = Options.from_environment(os.environ, **given)
        server = Server(*exports, options=options)
        return await server.run(), server.is_abandoning

    try:
        is_fine, is_abandoning = asyncio.run(run())
    except (BadKey, ModuleError, OptionsError, StaleAttempt) as error:
        sys.exit(f"roadstead: {error}")
    except StartFailed as error:
        sys.exit(f"{error.trace}roadstead: {error}")
    if is_abandoning:
        # Python would wait for the method's thread, for as long as it takes.
        logging.shutdown()
        os._exit(0 if is_fine else 1)
    sys.exit(0 if is_fine else 1)
