import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from helpers.simulation import simulate
from tests.system.test_processes import eventually, runs


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_beamline_does_not_outlive_the_killed_process_that_began_it(tmp_path):
    simulate(tmp_path / "twin.cxi", patterns=8, outside=(0, 0), seed=1)
    code = f"""
        import time
        from pathlib import Path
        from helpers.simulation import beamline
        folder = Path({str(tmp_path)!r})
        with beamline(folder / "twin.cxi", folder / "live.cxi", rate=5, shots=500) as writer:
            print(writer.pid, flush=True)
            time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as parent:
        writer = int(parent.stdout.readline())
        assert runs(writer)
        time.sleep(0.5)
        os.kill(parent.pid, signal.SIGKILL)
    assert eventually(lambda: not runs(writer), seconds=5)
