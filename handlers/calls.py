"""Calls of a model: which go together, how they become one, and whose part of the answer is whose.

A call's rows are the first dimension of its tensors. Calls go together that are alike in all but
their rows' number and content. A single number for all rows, such as a timestep, becomes one a row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = (type(None), bool, int, float, str)


class Call:
    """One call of `module`, and in the end its answer.

    Attributes:
        key: equal for calls that go together; None for one that goes with no other.
        rows: the length of its tensors' first dimension.
    """

    def __init__(self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        from torch.utils import _pytree

        self.module = module
        self.args = args
        self.kwargs = kwargs
        self.leaves, self.shape = _pytree.tree_flatten((list(args), dict(kwargs)))
        self.rows = _rows(self.leaves)
        self.key = self._key()
        self.answer: Any = None

    def compute(self) -> Any:
        """Compute it by itself."""
        return self.module(*self.args, **self.kwargs)

    def _key(self) -> object:
        import torch

        parts: list[object] = [id(self.module), str(self.shape)]
        for leaf in self.leaves:
            if isinstance(leaf, torch.Tensor) and (leaf.ndim == 0 or len(leaf) == self.rows):
                parts.append((tuple(leaf.shape[1:]), leaf.dtype, leaf.device))
            elif isinstance(leaf, _PLAIN):
                parts.append((type(leaf), leaf))
            else:
                return None
        return tuple(parts)


def joined(calls: Sequence[Call]) -> Any:
    """Compute calls of one key as one; return the answer for all rows."""
    import torch
    from torch.utils import _pytree

    leaves = []
    for column in zip(*(call.leaves for call in calls), strict=True):
        if isinstance(column[0], torch.Tensor):
            leaves.append(
                torch.cat([_by_row(leaf, call) for leaf, call in zip(column, calls, strict=True)])
            )
        else:
            leaves.append(column[0])
    args, kwargs = _pytree.tree_unflatten(leaves, calls[0].shape)
    return calls[0].module(*args, **kwargs)


def cut(answer: Any, calls: Sequence[Call]) -> list[Any]:
    """Return each call's part of the answer."""
    from torch.utils import _pytree

    parts, start = [], 0
    for call in calls:
        rows = slice(start, start + call.rows)
        parts.append(_pytree.tree_map(lambda leaf, rows=rows: leaf[rows], answer))
        start += call.rows
    return parts


def _rows(leaves: Sequence[Any]) -> int:
    """Return the first dimension of the first tensor that has one."""
    import torch

    return next((len(leaf) for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.ndim), 0)


def _by_row(leaf: Any, call: Call) -> Any:
    return leaf if leaf.ndim else leaf.expand(call.rows)
