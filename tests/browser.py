"""JupyterLab in a headless Chromium, for the tests that need a person's mouse and keys."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
from jupyter_client import BlockingKernelClient
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from helpers.system import write_text
from helpers.workbook import Profile
from helpers.workbook.run import RECORD

TOKEN = "annotation"
PATIENCE = 120
"""A busy machine may be slow; what takes longer is broken [s]."""

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
_PLACES = (
    "JUPYTER_RUNTIME_DIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "HOME",
)
_WIDGET = ".annotation:not([data-old])"
_NOTEBOOK = "const open = window.jupyterapp?.shell.currentWidget;"
_IDLE = _NOTEBOOK + (
    "const kernel = open?.sessionContext?.session?.kernel;"
    "return Boolean(kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle')"
)
_CELLS = _NOTEBOOK + "return open.content.model.sharedModel.cells.map(cell => [cell.id, cell.cell_type, cell.source])"
_TRACEBACK = (
    "return [...document.querySelectorAll('.jp-RenderedText')].map(shown => shown.innerText)"
    ".find(text => text.includes('Traceback') || text.includes('Error:'))"
)


def missing():
    """Programs that a test in the browser needs and this machine lacks."""
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


def wait_for(what, condition, patience=PATIENCE):
    """Ask again and again until the answer is true, and give it back."""
    end = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < end, f"waited {patience} s in vain for {what}"
        time.sleep(0.05)
    return answer


@contextlib.contextmanager
def lab_server(folder, notebooks):
    """JupyterLab on a free port, with nothing of the user's: its address, and where its kernels' connections are."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {name: str(folder / name.lower()) for name in _PLACES}
    settings = Path(places["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", "apputils-extension")
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={notebooks}",
    ]  # fmt: skip
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **places}, stdout=log, stderr=log, cwd=notebooks)
    address = f"http://127.0.0.1:{port}"

    def answers():
        assert server.poll() is None, (folder / "server.log").read_text()[-3000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=5):
            return True

    try:
        wait_for("JupyterLab's server", answers)
        yield address, Path(places["JUPYTER_RUNTIME_DIR"])
    finally:
        server.terminate()  # its kernels end with it
        server.wait(PATIENCE)


@contextlib.contextmanager
def chromium(folder):
    """Headless Chromium with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


class Notebook:
    """A notebook open in JupyterLab, with the annotation widget in an output.

    Parameters
    ----------
    driver
        From `chromium`.
    server
        From `lab_server`.
    name
        The notebook's name in the server's folder.
    """

    def __init__(self, driver, server, name):
        self.driver = driver
        address, self._runtime = server
        self._kernels_before = set(self._runtime.glob("kernel-*.json"))
        driver.get(f"{address}/lab/tree/{name}?token={TOKEN}&reset")
        self.wait_for_kernel()

    def script(self, code, *arguments):
        """Run JavaScript in the page."""
        return self.driver.execute_script(code, *arguments)

    def wait_for_kernel(self):
        """Wait until the kernel has nothing to do."""
        wait_for("an idle kernel", lambda: self.script(_IDLE))

    def confirm_restart(self):
        """Wait until JupyterLab says that the kernel has died and starts again, and agree."""
        button = "document.querySelector('.jp-Dialog button.jp-mod-accept')"
        wait_for("the dialog about the kernel", lambda: self.script(f"return Boolean({button})"))
        self.script(f"{button}.click()")
        self.wait_for_kernel()

    @property
    def cells(self):
        """Id, type and source of each cell."""
        return self.script(_CELLS)

    def run_all(self):
        """Run all cells, and wait for a new widget that shows a pattern; an error in a cell ends the wait."""
        self.script("document.querySelectorAll('.annotation').forEach(old => { old.dataset.old = 'old'; })")
        self.script("jupyterapp.commands.execute('notebook:run-all-cells')")
        wait_for("the widget", self._is_shown)
        self.script("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", _WIDGET)

    def _is_shown(self):
        failed = self.script(_TRACEBACK)
        assert not failed, failed
        return self.script("return document.querySelector(arguments[0])?.dataset.pattern", _WIDGET)

    def said(self, name):
        """A `data-` attribute of the widget."""
        return self.script("return document.querySelector(arguments[0]).dataset[arguments[1]]", _WIDGET, name)

    def text(self, part=""):
        """What the widget, or a part of it, shows."""
        return self.script("return document.querySelector(arguments[0]).innerText", f"{_WIDGET} {part}".strip())

    def click(self, part):
        """Click on a part of the widget."""
        self.driver.find_element(By.CSS_SELECTOR, f"{_WIDGET} {part}").click()

    def has_focus(self):
        """Whether keys go to the widget."""
        return self.script("return document.activeElement === document.querySelector(arguments[0])", _WIDGET)

    def type(self, keys, *, pause=0.0, held=()):
        """Press keys, one after the other, with some pause [s] and while others are held."""
        actions = ActionChains(self.driver, duration=0)
        for key in held:
            actions.key_down(key)
        for key in keys:
            actions.send_keys(key)
            if pause:
                actions.pause(pause)
        for key in held:
            actions.key_up(key)
        actions.perform()

    def drag(self, start, stop, shape):
        """Drag the mouse in steps from one (row, column) of a picture of this shape to another."""
        box = "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
        frame = self.script(box + "return [box.left, box.top, box.width, box.height]", f"{_WIDGET} .annotation-box")
        left, top, width, height = frame
        actions = ActionChains(self.driver, duration=0)
        pointer = actions.w3c_actions.pointer_action
        for step in range(6):
            row, column = (begin + (end - begin) * step / 5 for begin, end in zip(start, stop, strict=True))
            pointer.move_to_location(round(left + column / shape[1] * width), round(top + row / shape[0] * height))
            if step == 0:
                pointer.pointer_down()
        pointer.pointer_up()
        actions.perform()

    def wait_until_saved(self):
        """Wait until the kernel has answered every change."""
        wait_for("the kernel's answers", lambda: self.said("open") == "0")

    def kernel(self, expression):
        """A value in the kernel, by way of JSON."""
        files = set(self._runtime.glob("kernel-*.json")) - self._kernels_before
        client = BlockingKernelClient(connection_file=str(max(files, key=lambda path: path.stat().st_mtime_ns)))
        client.load_connection_file()
        client.start_channels()
        try:
            client.wait_for_ready(PATIENCE)
            asked = {"value": f"__import__('json').dumps({expression})"}
            answer = client.execute("", silent=True, user_expressions=asked, reply=True, timeout=PATIENCE)
        finally:
            client.stop_channels()
        value = answer["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", value
        return json.loads(value["data"]["text/plain"].strip("'"))


def write_notebook(path, *sources):
    """Write a notebook: cells of code between two of prose."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells = [nbformat.v4.new_markdown_cell("Before."), *cells, nbformat.v4.new_markdown_cell("After.")]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


__all__ = ["Keys", "Notebook", "chromium", "lab_server", "missing", "wait_for", "write_notebook"]


def mark(folder: Path, profile: Profile) -> None:
    """Make the folder of a run, with a `run.json` that says whose it is, as a runner does first."""
    write_text(folder / RECORD, json.dumps({"profile": profile.sections()}, indent=1) + "\n")
