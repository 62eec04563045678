"""A module in Python that streams and has a resource."""

import asyncio

import grpc
import pytest
from errors import failure
from harness import Cli, module, namespaced

NAMESPACE = "averages"
IN = namespaced(NAMESPACE)


@pytest.fixture(scope="module")
def averages(host, stubs, tmp_path_factory):
    cli = Cli(host, NAMESPACE)
    protos = tmp_path_factory.mktemp("averages-protos")
    cli.push(module("moving-average"), "--name", "moving-average")
    cli.run("proto", "moving-average", "-o", protos)
    stubs.generate(protos)
    return stubs.load("demo/moving_average/averages/v0_1/averages")


def test_numbers_stream_through_python(averages, channel):
    messages, services = averages

    def requests():
        yield messages.SmoothRequest(start=messages.SmoothRequest.Start(size=4))
        for number in range(3000):
            yield messages.SmoothRequest(item=number)

    means = [one.item for one in services.AveragesStub(channel).Smooth(requests(), metadata=IN)]
    assert means[:4] == [0, 0.5, 1, 1.5]
    assert means[4:] == [number - 1.5 for number in range(4, 3000)]


def test_means_come_while_numbers_are_sent(averages, host):
    messages, services = averages

    async def talk():
        async with grpc.aio.insecure_channel(host.address) as channel:
            call = services.AveragesStub(channel).Smooth(metadata=IN)
            await call.write(messages.SmoothRequest(start=messages.SmoothRequest.Start(size=2)))
            for number in range(20):
                await call.write(messages.SmoothRequest(item=number))
                assert (await call.read()).item == max(number - 0.5, 0)
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK

    asyncio.run(talk())


def test_a_resource_of_python_lives_in_its_session(averages, channel):
    messages, services = averages
    windows = services.AveragesWindowStub(channel)

    def add(handle, *numbers):
        request = messages.AveragesWindowAddRequest(numbers=numbers)
        getattr(request, "self").CopyFrom(handle)
        return list(windows.Add(request, metadata=IN).value)

    one, other = (
        windows.Create(messages.AveragesWindowCreateRequest(size=size), metadata=IN).value
        for size in (1, 3)
    )
    assert add(other, 1, 2) == [1, 1.5]
    assert add(one, 1, 2) == [1, 2]
    assert add(other, 9, 4) == [4, 5]
    drop = messages.AveragesWindowDropRequest()
    getattr(drop, "self").CopyFrom(other)
    windows.Drop(drop, metadata=IN)
    assert failure(lambda: add(other, 1)).reason == "NO_SUCH_HANDLE"
    assert add(one, 7) == [7]
