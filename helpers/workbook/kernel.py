"""Kernels that end with the process that runs the notebooks, at once if that is interrupted."""

import os
import subprocess
import sys
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from helpers.system import end_with_parent

EXTENSION = f"--ext={__name__}"  # makes a kernel load this module as an IPython extension


class KernelOfRunner(AsyncKernelManager):
    """Manager of a kernel: it waits for the kernel's end after the last cell, but not after an interrupt."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernel of this very Python: Jupyter may know another by the same name."""
        return KernelSpec(**get_kernel_dict())

    async def start_kernel(self, **given: Any) -> None:
        """Start the kernel; it would repeat on its own stdout what the processes of a cell print."""
        await super().start_kernel(stdout=subprocess.DEVNULL, **given)

    async def shutdown_kernel(self, now: bool = False, **given: Any) -> None:
        """End the kernel; papermill calls this also while an interrupt is on its way up."""
        interrupted = isinstance(sys.exception(), KeyboardInterrupt | SystemExit)
        await super().shutdown_kernel(now=now or interrupted, **given)


def load_ipython_extension(shell: object) -> None:
    """Tie this kernel to the runner that started it; IPython calls this before the first cell."""
    end_with_parent(int(os.environ["JPY_PARENT_PID"]))
