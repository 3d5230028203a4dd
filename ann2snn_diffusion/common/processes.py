"""What one of several processes does for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.reservation import reserved


def everywhere(make: Callable[[], Any], process: PartialState | Accelerator) -> Any:
    """What ``make`` gives in the main process, in all processes; an error that a user can mend, too."""
    made: list[Any] = [None]
    if process.is_main_process:
        try:
            made = [make()]
        except A2SError as error:
            made = [error]
    broadcast_object_list(made)
    if isinstance(made[0], A2SError):
        raise made[0]
    return made[0]


@contextmanager
def reserved_by_main(output: Path, process: PartialState | Accelerator) -> Iterator[None]:
    """`reserved` by the main process, for all.

    Raises:
        OutputError: in all processes; see `reserved`.
    """
    with ExitStack() as held:
        everywhere(lambda: held.enter_context(reserved(output)), process)
        yield
