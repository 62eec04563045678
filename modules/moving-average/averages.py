"""The window: a resource that callers hold across calls."""

from collections import deque


class Window:
    def __init__(self, size):
        self._numbers = deque(maxlen=max(size, 1))

    def add(self, numbers):
        return [self._mean_with(number) for number in numbers]

    def _mean_with(self, number):
        self._numbers.append(number)
        return sum(self._numbers) / len(self._numbers)
