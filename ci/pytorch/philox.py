"""Dropout's masks, computed again: a mask is a function of coordinates.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC'11).
"""

import numpy
import torch

from models import float32

DROPOUT_STREAM = 4  # the numbers of other purposes have another key
SITES = {"embedding": 0, "attention": 1, "projection": 2, "down": 3}
LOW = numpy.uint64(0xFFFFFFFF)


def philox(counter, key):
    """counter: four arrays of words (numpy.uint64, below 2^32); key: two words. Four arrays."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0 = numpy.uint64(0xD2511F53) * c0
        product1 = numpy.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            product1 >> numpy.uint64(32) ^ c1 ^ numpy.uint64(k0),
            product1 & LOW,
            product0 >> numpy.uint64(32) ^ c3 ^ numpy.uint64(k1),
            product0 & LOW,
        )
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(*numbers):
    return [numpy.array([number], dtype=numpy.uint64) for number in numbers]


class Dropout:
    """The masks of one layer in one step, as functions of what they drop from."""

    def __init__(self, recipe, step, layer):
        self.probability = float(recipe["dropout"])
        self.step = step
        self.layer = layer
        seed = int(recipe["seed"])
        mixed = philox(words(seed & 0xFFFFFFFF, seed >> 32, DROPOUT_STREAM, 0), (0, 0))
        self.key = int(mixed[0][0]), int(mixed[1][0])

    def factors(self, site, rows, features):
        """(rows, features): 0 where a value is dropped, 1 / (1 - p) where it is kept."""
        place = 8 * self.layer + SITES[site]
        row, block = numpy.meshgrid(
            numpy.arange(rows, dtype=numpy.uint64),
            numpy.arange((features + 3) // 4, dtype=numpy.uint64),
            indexing="ij",
        )
        coordinates = (block, row, numpy.full_like(row, self.step), numpy.full_like(row, place))
        bits = numpy.stack(philox(coordinates, self.key), axis=2).reshape(rows, -1)[:, :features]
        unit = (bits >> numpy.uint64(8)).astype(numpy.float64) * 2.0**-24
        kept = unit >= float32(self.probability)
        return torch.from_numpy(kept * float32(1 / (1 - self.probability)))

    def drop(self, site, x):
        """x (batch, positions, features)"""
        if self.probability == 0:
            return x
        batch, positions, features = x.shape
        return x * self.factors(site, batch * positions, features).view_as(x)

    def embedding(self, x):
        return self.drop("embedding", x)

    def projection(self, x):
        return self.drop("projection", x)

    def down(self, x):
        return self.drop("down", x)

    def attention(self, weights):
        """weights (batch, heads, query, key); the feature of a row is head * positions + key."""
        batch, heads, positions, _ = weights.shape
        rows = weights.transpose(1, 2).reshape(batch, positions, heads * positions)
        dropped = self.drop("attention", rows).view(batch, positions, heads, positions)
        return dropped.transpose(1, 2)
