"""Another program that a benchmark commands: words on its stdin, JSON lines on its stdout."""

import json
import subprocess
from collections.abc import Mapping, Sequence


class Program:
    """A process that answers commands.

    Parameters
    ----------
    command
        What starts it.
    environment
        Its environment variables.
    quiet
        Leave out what it says on stderr.
    """

    def __init__(self, command: Sequence[object], environment: Mapping[str, str], *, quiet: bool = False) -> None:
        self._process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            env=environment,
        )
        self.greeting = self._answer()
        """What it says of itself at first."""

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args[:2]} has ended; run the command by hand to see why")
        return json.loads(line)

    def ask(self, *words: object) -> dict:
        """Send a command and wait for the answer."""
        print(*words, file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the program."""
        self._process.stdin.close()
        self._process.wait()
