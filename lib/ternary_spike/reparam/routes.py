"""Where the spikes of a layer go: tables of routes made beforehand, for the addition-only executor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ternary_spike.reparam.network import Operation, pool_settings


@dataclass(frozen=True)
class _Synapses:
    """Where the spikes of a layer go, as tables made beforehand; -1 stands for beyond the edge.

    Attributes:
        target: [source sites, routes] site of the target that a spike reaches by each route.
        row: [source sites, routes] row of the weight table for that route, in a channel's part of the table.
        table: [2 x channels x rows, target channels] weights, those of channels with negative spikes negated; for an
            identity shortcut, which reaches its own channel alone, [2 x channels x rows, 1].
        rows: rows a channel.
        own_channel: whether this is an identity shortcut.
    """

    target: Tensor
    row: Tensor
    table: Tensor
    rows: int
    own_channel: bool


@dataclass(frozen=True)
class _PoolRoutes:
    height: int
    width: int
    routes: list[list[tuple[int, int]]]  # by source site: (pooled site, divisor)


def _pool_routes(pools: list[Operation], height: int, width: int) -> _PoolRoutes:
    """By source site: the pooled sites that a spike reaches, with the number by which its weight is divided there."""
    found = _PoolRoutes(height, width, [[(site, 1)] for site in range(height * width)])
    for pool in pools:
        step = _routes_through(pool, found.height, found.width)
        routes = [[(p, d * e) for s, d in site for p, e in step.routes[s]] for site in found.routes]
        found = _PoolRoutes(step.height, step.width, routes)
    return found


def _routes_through(pool: Operation, height: int, width: int) -> _PoolRoutes:
    settings = pool_settings(pool)
    kernel, stride, padding = settings["kernel_size"], settings["stride"], settings["padding"]
    probe = torch.nn.functional.avg_pool2d(torch.ones(1, 1, height, width), **settings)
    out_height, out_width = probe.shape[-2:]
    routes: list[list[tuple[int, int]]] = [[] for _ in range(height * width)]
    for oy in range(out_height):
        for ox in range(out_width):
            top, left = oy * stride - padding, ox * stride - padding
            bottom, right = min(top + kernel, height + padding), min(left + kernel, width + padding)
            inside = [
                y * width + x
                for y in range(max(top, 0), min(bottom, height))
                for x in range(max(left, 0), min(right, width))
            ]
            divisor = (bottom - top) * (right - left) if settings["count_include_pad"] else len(inside)
            for site in inside:
                routes[site].append((oy * out_width + ox, divisor))
    return _PoolRoutes(out_height, out_width, routes)
