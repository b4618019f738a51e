"""Execution of one notebook with papermill; an error in a cell becomes one line."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from helpers.system import SPARSE, partial_beside

_KERNEL = {
    SPARSE: "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
"""Environment of the kernel: sparse progress, pictures in the notebook whatever the shell says, a silent debugger."""


class StepFailedError(RuntimeError):
    """A notebook ended with an error; the message is one line: step, reason, and the executed notebook to open."""

    def __init__(self, step: str, reason: str, executed: Path | None = None) -> None:
        super().__init__(f"{step} failed: {reason}" + (f". Open {executed}" if executed else ""))
        self.reason = reason


def execute(notebook: Path, executed: Path, parameters: Mapping[str, str]) -> None:
    """Run a notebook in a kernel of its own, and keep it with its outputs at `executed`, also when a cell fails.

    Of the parameters, those that the cell tagged `parameters` does not declare are left out. `StepFailedError` is
    raised if a cell fails or the kernel dies.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from helpers.workbook.kernel import EXTENSION, KernelOfRunner

    partial = partial_beside(executed)
    partial = partial.with_name(f"{partial.name}.ipynb")
    declared = papermill.inspect_notebook(notebook)
    # papermill logs the death of a kernel, which the error says already
    logging.getLogger("papermill").addHandler(logging.NullHandler())
    try:
        with environment(_KERNEL):
            papermill.execute_notebook(
                str(notebook),
                str(partial),
                parameters={name: value for name, value in parameters.items() if name in declared},
                kernel_name="python3",
                progress_bar=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                store_widget_state=False,
                # the kernel's own log is silent; what a cell prints and raises is in the notebook
                extra_arguments=["--log-level=CRITICAL", EXTENSION],
                kernel_manager_class=KernelOfRunner,
            )
    except PapermillExecutionError as error:
        reason = f"cell {error.exec_count} raised {error.ename}: {_first_line(error.evalue)}"
        raise StepFailedError(notebook.stem, reason, executed) from error
    except RuntimeError as error:
        # jupyter_client has no error of its own for a kernel that dies while it starts
        if not (isinstance(error, DeadKernelError) or "Kernel died" in str(error)):
            raise
        raise StepFailedError(notebook.stem, "its kernel died, perhaps for want of memory", executed) from error
    finally:
        _keep(partial, executed)


def _keep(partial: Path, executed: Path) -> None:
    """Give a notebook its final name, unless papermill was stopped in the middle of writing it."""
    try:
        json.loads(partial.read_text(encoding="utf-8"))
        os.replace(partial, executed)
    except (FileNotFoundError, ValueError):
        partial.unlink(missing_ok=True)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no message"


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which a kernel inherits, and restore them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
