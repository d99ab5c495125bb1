"""Several processes that train one network: the ranks of a run, one for each GPU or share of the CPU's cores.

Each has the whole network and a local batch of each step. What they have to agree on is here; gradients are
averaged by torch's DistributedDataParallel (Li et al., "PyTorch Distributed: Experiences on Accelerating
Data Parallel Training", VLDB 2020).
"""

from __future__ import annotations

import contextlib
import datetime
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

PATIENCE = datetime.timedelta(days=1)
"""How long a rank waits for another. Decoding a data set may take hours; a rank that died does not have to be
waited for, as whoever started the ranks ends the others."""

_takes_forward_sync = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
SYNC_BUFFERS = "forward_sync_buffers" if _takes_forward_sync else "broadcast_buffers"
"""What this version of torch calls the broadcast of buffers before each pass."""


@dataclass(frozen=True)
class Group:
    """The ranks of a run, from one of them. All must call what they do together in the same order."""

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the main rank, which writes journal, checkpoints and pictures."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of the ranks' tensors, in place."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def whole_batch(self, local: Tensor, size: int) -> Tensor:
        """The global batch of `size` rows, of which each rank brings its local batch, without a host wait.
        What a rank brings for which the batch has no row is left out."""
        if self.count == 1:
            return local
        most = -(-size // self.count)
        missing = local.new_zeros(most - len(local), *local.shape[1:])
        gathered = local.new_empty(self.count * most, *local.shape[1:])
        distributed.all_gather_into_tensor(gathered, torch.cat([local, missing]))
        counts = [Group(rank, self.count).place(size)[1] for rank in range(self.count)]
        return torch.cat([gathered[rank * most :][:rows] for rank, rows in enumerate(counts)])

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers; the device is not waited for."""
        if self.count == 1:
            return number
        agreed = torch.tensor(number)
        distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
        return int(agreed)

    def first_word(self, own: str) -> str:
        """What the first of the ranks says that says anything; "" where none does."""
        if self.count == 1:
            return own
        said: list[str] = [""] * self.count
        distributed.all_gather_object(said, own)
        return next(filter(None, said), "")

    def even_out(self, model: nn.Module) -> None:
        """Give every rank the main rank's running statistics of batch norm, those of the last step, too."""
        if self.count > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, src=0)

    @contextlib.contextmanager
    def main_rank_first(self) -> Iterator[None]:
        """Let the main rank go first while the others wait, who then find what it has made."""
        if not self.is_main:
            distributed.barrier()
        yield
        if self.is_main and self.count > 1:
            distributed.barrier()

    def share_gradients(self, model: nn.Module) -> nn.Module:
        """The network to train by: as it is, or one whose gradients are the mean over the ranks.

        Batch norm learns from each rank's local batch; its running statistics are the main rank's. Training
        does not read them, so they are handed out before a validation, by `even_out`. What else a network
        keeps in buffers may matter to training, and the main rank hands it out before each pass.

        DDP's `static_graph` stays off: torch.compile does not work with it, and it would only spare a search
        for parameters without gradients, which nobody makes here.
        """
        if self.count == 1:
            return model
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        of_norms = {id(buffer) for norm in norms for buffer in norm.buffers(recurse=False)}
        others = any(id(buffer) not in of_norms for buffer in model.buffers())
        options: dict[str, Any] = {SYNC_BUFFERS: others}
        # Views: or each gradient would lie in memory twice.
        return DistributedDataParallel(model, gradient_as_bucket_view=True, **options)

    def share_of(self, order: Tensor, batch_size: int) -> tuple[Tensor, int]:
        """This rank's local batches of an epoch, int64 [N], and how many images a full one has.

        A global batch is cut into runs of neighbours, equal but for one image. A rank for which the last
        batch has none left gets one all the same, which counts for nothing: all share gradients or none.
        """
        if self.count == 1:
            return order, batch_size
        parts = [batch.tensor_split(self.count)[self.rank] for batch in torch.split(order, batch_size)]
        parts[-1] = parts[-1] if len(parts[-1]) else order[-1:]
        return torch.cat(parts), len(parts[0])

    def place(self, size: int) -> tuple[int, int]:
        """Where this rank's local batch lies in a global one of `size` images: its first and how many."""
        each, more = divmod(size, self.count)
        return each * self.rank + min(self.rank, more), each + (self.rank < more)

    def batches_of(self, order: Tensor, batch_size: int) -> Tensor:
        """Every `count`-th batch of a pass in which batches stay whole, so that each is computed as it would
        be by one process alone."""
        batches = torch.split(order, batch_size)[self.rank :: self.count]
        return torch.cat(batches) if batches else order[:0]


ALONE = Group()


def made_inside(network: nn.Module, make: Callable[[nn.Module], Any]) -> Callable[..., Any]:
    """What `make` makes of a network; of the network inside where `share_gradients` has wrapped it, to be
    called as the whole."""
    inside = network.module if isinstance(network, DistributedDataParallel) else network
    made: Any = make(inside)
    if inside is network:
        return made  # type: ignore[no-any-return]

    def forward(*given: Any) -> Any:
        network.module = made
        try:
            return network(*given)
        finally:
            network.module = inside

    return forward


@contextlib.contextmanager
def sharing_nothing(network: nn.Module) -> Iterator[None]:
    """Within it, passes through a network of `share_gradients` exchange neither gradients nor buffers."""
    if not isinstance(network, DistributedDataParallel):
        yield
        return
    due = network.require_forward_param_sync
    network.require_forward_param_sync = False
    try:
        with network.no_sync():
            yield
    finally:
        network.require_forward_param_sync = due


def local_rank() -> int:
    """Which of the ranks on this machine the process is, as torchrun says; 0 without it."""
    return int(os.environ.get("LOCAL_RANK", 0))


def join_group(device: torch.device) -> Group:
    """Meet the others that torchrun has started: Gloo between CPUs, NCCL between GPUs."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE
    )
    return Group(distributed.get_rank(), distributed.get_world_size())
