"""A model that learns by being called: an actor in JAX, `roadstead-native learner.py`.

On CPU, GPU or TPU, as JAX finds it.
"""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import model
import numpy as np
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.learner import Problem_Steps, Progress

from roadstead.native import Actor, call, concurrent, progress
from roadstead.types import F32s

# Steps in one call at most, and steps after which they are made durable.
MOST, DURABLE_EVERY = 10_000, 100


class Learner(exports.Learner, Actor):
    """The model's state: its parameters, and how many steps made them what they are."""

    def __init__(self) -> None:
        self._parameters = model.begin()
        self._step = 0
        self._durable = 0
        self._loss = 0.0

    def restore(self, epoch: int, path: Path | None) -> None:
        if path is not None:
            with np.load(path / "model.npz") as saved:
                self._parameters = {name: jnp.asarray(saved[name]) for name in self._parameters}
                self._step = int(saved["step"])
                self._loss = float(saved["loss"])
        self._durable = self._step
        # Compiled before the first call, so that the module is ready when it says so.
        model.advance({k: jnp.array(v) for k, v in self._parameters.items()}, jnp.uint32(0))

    def checkpoint(self, epoch: int, path: Path) -> None:
        path.mkdir()
        numbers = {name: np.asarray(value) for name, value in self._parameters.items()}
        np.savez(path / "model.npz", step=self._step, loss=self._loss, **numbers)

    def step(self, count: int) -> Progress:
        if not 1 <= count <= MOST:
            raise Err(Problem_Steps(f"{count}: 1 to {MOST} in one call"))
        for _ in range(count):
            call().check()
            self._parameters, loss = model.advance(self._parameters, jnp.uint32(self._step))
            self._step += 1
            if self._step % DURABLE_EVERY == 0:
                self._loss = float(loss)
                self._save()
                progress(f"step {self._step}")
        self._loss = float(loss)
        return self.status()

    def save(self) -> Progress:
        self._save()
        return self.status()

    @concurrent
    def status(self) -> Progress:
        return Progress(self._step, self._durable, self._loss)

    def predict(self, points: F32s) -> F32s:
        pairs = jnp.asarray(points, jnp.float32)[: len(points) // 2 * 2].reshape(-1, 2)
        return np.asarray(model.predict(self._parameters, pairs))

    def _save(self) -> None:
        self.commit()
        self._durable = self._step
