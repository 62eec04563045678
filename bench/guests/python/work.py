"""What the benchmarks call, as a Python component."""

from wit_world import exports
from wit_world.exports.transfer import Reading

TEXT = "sixteen bytes ok"
VALUE = 20.25
BYTE = b"\x5a"


class Transfer(exports.Transfer):
    def bytes_in(self, items: bytes) -> int:
        return len(items)

    def bytes_out(self, count: int) -> bytes:
        return BYTE * count

    def bytes_echo(self, items: bytes) -> bytes:
        return items

    def floats_in(self, items: list[float]) -> int:
        return len(items)

    def floats_out(self, count: int) -> list[float]:
        return [VALUE] * count

    def floats_echo(self, items: list[float]) -> list[float]:
        return items

    def strings_in(self, items: list[str]) -> int:
        return len(items)

    def strings_out(self, count: int) -> list[str]:
        return [TEXT] * count

    def strings_echo(self, items: list[str]) -> list[str]:
        return items

    def records_in(self, items: list[Reading]) -> int:
        return len(items)

    def records_out(self, count: int) -> list[Reading]:
        return [Reading(sensor, TEXT, VALUE, True) for sensor in range(1, count + 1)]

    def records_echo(self, items: list[Reading]) -> list[Reading]:
        return items
