"""The kernel of a notebook that the runner runs: it ends with the runner, and quickly when that is interrupted."""

import os
import sys
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from helpers.system import end_with_parent

EXTENSION = f"--ext={__name__}"
"""Argument of a kernel that loads this module."""


class KernelOfRunner(AsyncKernelManager):
    """Starts and ends a kernel: with patience after the last cell, at once if the runner is to end."""

    async def shutdown_kernel(self, now: bool = False, **given: Any) -> None:
        """End the kernel; papermill comes here, too, while an interrupt is on its way up."""
        interrupted = isinstance(sys.exception(), KeyboardInterrupt | SystemExit)
        await super().shutdown_kernel(now=now or interrupted, **given)


def load_ipython_extension(shell: object) -> None:
    """Tie this kernel to the runner that started it; IPython calls this before the first cell."""
    end_with_parent(int(os.environ["JPY_PARENT_PID"]))
