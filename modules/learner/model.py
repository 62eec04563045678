"""The network that learns, in JAX: pure functions of its parameters and the number of the step."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

Parameters = dict[str, jax.Array]

HIDDEN, BATCH, RATE, SEED = 32, 64, 0.05, 7


def begin() -> Parameters:
    """Parameters that nothing was learnt in."""
    first, second = jax.random.split(jax.random.key(SEED))
    return {
        "w1": jax.random.normal(first, (2, HIDDEN)),
        "b1": jnp.zeros(HIDDEN),
        "w2": jax.random.normal(second, (HIDDEN,)) / jnp.sqrt(HIDDEN),
        "b2": jnp.zeros(()),
    }


def predict(parameters: Parameters, points: jax.Array) -> jax.Array:
    """What the network says of points, two numbers each."""
    hidden = jnp.tanh(points @ parameters["w1"] + parameters["b1"])
    return hidden @ parameters["w2"] + parameters["b2"]


def target(points: jax.Array) -> jax.Array:
    """What it should say."""
    return jnp.sin(2.0 * points[..., 0]) * points[..., 1]


def _loss(parameters: Parameters, points: jax.Array) -> jax.Array:
    return jnp.mean((predict(parameters, points) - target(points)) ** 2)


@partial(jax.jit, donate_argnums=0)
def advance(parameters: Parameters, step: jax.Array) -> tuple[Parameters, jax.Array]:
    """One step on the batch that belongs to it: the new parameters, and the loss."""
    key = jax.random.fold_in(jax.random.key(SEED + 1), step)
    points = jax.random.uniform(key, (BATCH, 2), minval=-1.0, maxval=1.0)
    loss, slopes = jax.value_and_grad(_loss)(parameters, points)
    moved = jax.tree.map(lambda value, slope: value - RATE * slope, parameters, slopes)
    return moved, loss
