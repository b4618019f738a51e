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
from selenium.common.exceptions import JavascriptException, WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

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
_CELLS = "return jupyterapp.shell.currentWidget.content.model.sharedModel.cells.map(c => [c.cell_type, c.source])"


def missing():
    """What of a browser this machine lacks, or nothing."""
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


def wait_for(what, condition, patience=PATIENCE):
    """Ask again and again until there is an answer that is true."""
    end = time.monotonic() + patience
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {patience} s in vain for {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def lab_server(folder, notebooks):
    """Start JupyterLab on a free port, with nothing of the user's; give its address and its runtime folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {name: str(folder / name.lower()) for name in (
        "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR", "HOME",
    )}  # fmt: skip
    quiet = Path(places["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", "apputils-extension")
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={notebooks}",
    ]  # fmt: skip
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **places}, stdout=log, stderr=log, cwd=notebooks, start_new_session=True
        )
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
            server.wait(60)


@contextlib.contextmanager
def chromium(folder):
    """Start a headless Chromium with a profile of its own."""
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
    """A notebook open in JupyterLab, with the annotation widget in one of its outputs.

    Parameters
    ----------
    driver
        The browser.
    server
        From `lab_server`.
    path
        The notebook's name in the server's folder.
    """

    def __init__(self, driver, server, path):
        self.driver = driver
        self.address, self._runtime = server
        self._known = set(self._runtime.glob("kernel-*.json"))
        driver.get(f"{self.address}/lab/tree/{path}?token={TOKEN}&reset")
        wait_for("the notebook", self._is_open)

    def script(self, code, *arguments):
        """Run JavaScript in the page."""
        return self.driver.execute_script(code, *arguments)

    def _is_open(self):
        ready = (
            "const kernel = jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel;"
            "return Boolean(kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle')"
        )
        try:
            return self.script(ready)
        except JavascriptException:
            return False

    @property
    def cells(self):
        """Type and source of each cell."""
        return self.script(_CELLS)

    def run_all(self):
        """Run all cells, and wait for a fresh widget that shows a pattern."""
        self.script("document.querySelectorAll('.annotation').forEach(old => { old.dataset.old = 'old'; })")
        self.script("jupyterapp.commands.execute('notebook:run-all-cells')")

        def fresh():
            error = self.script(
                "return document.querySelector('.jp-OutputArea-output[data-mime-type*=stderr]')?.innerText"
            )
            assert not (error and "Traceback" in error), error
            failed = self.script(
                "return [...document.querySelectorAll('.jp-RenderedText')].map(e => e.innerText)"
                ".find(text => text.includes('Traceback'))"
            )
            assert not failed, failed
            return self.script(
                "return Boolean(document.querySelector('.annotation:not([data-old])[data-pattern]:not([data-pattern=\"\"])'))"
            )

        wait_for("the widget", fresh)
        self.script("document.querySelector('.annotation:not([data-old])').scrollIntoView({block: 'center'})")

    @property
    def root(self):
        """The widget."""
        return self.driver.find_element(By.CSS_SELECTOR, ".annotation:not([data-old])")

    def said(self, name):
        """A `data-` attribute of the widget."""
        return self.script("return document.querySelector('.annotation:not([data-old])').dataset[arguments[0]]", name)

    def text(self, part=""):
        """What the widget, or a part of it, shows."""
        return self.script(
            "return document.querySelector('.annotation:not([data-old])' + arguments[0]).innerText", part and f" {part}"
        )

    def focus(self):
        """Click on the facts beside the picture, which do nothing."""
        self.driver.find_element(By.CSS_SELECTOR, ".annotation:not([data-old]) .annotation-facts").click()

    def type(self, keys, pause=0.0, shift=False):
        """Press keys, one after the other, in one go."""
        actions = ActionChains(self.driver, duration=0)
        if shift:
            actions.key_down(Keys.SHIFT)
        for key in keys:
            actions.send_keys(key)
            if pause:
                actions.pause(pause)
        if shift:
            actions.key_up(Keys.SHIFT)
        actions.perform()

    def drag(self, start, stop, shape):
        """Drag the mouse from one (row, column) of the picture to another, in steps."""
        frame = self.script(
            "const f = document.querySelector('.annotation:not([data-old]) .annotation-box').getBoundingClientRect(); return [f.left, f.top, f.width, f.height]"
        )
        left, top, width, height = frame

        def place(row, column):
            return round(left + column / shape[1] * width), round(top + row / shape[0] * height)

        actions = ActionChains(self.driver, duration=0)
        pointer = actions.w3c_actions.pointer_action
        pointer.move_to_location(*place(*start))
        pointer.pointer_down()
        for step in range(1, 6):
            part = [a + (b - a) * step / 5 for a, b in zip(start, stop, strict=True)]
            pointer.move_to_location(*place(*part))
        pointer.pointer_up()
        actions.perform()

    def settled(self):
        """Wait until everything is saved."""
        wait_for("the kernel's answers", lambda: self.said("open") == "0")

    def kernel(self, expression):
        """A value in the kernel, as JSON has it."""
        files = set(self._runtime.glob("kernel-*.json")) - self._known
        newest = max(files, key=lambda path: path.stat().st_mtime_ns)
        client = BlockingKernelClient(connection_file=str(newest))
        client.load_connection_file()
        client.start_channels()
        try:
            client.wait_for_ready(PATIENCE)
            wanted = {"value": f"__import__('json').dumps({expression})"}
            reply = client.execute_interactive("", silent=True, user_expressions=wanted, timeout=PATIENCE)
            value = reply["content"]["user_expressions"]["value"]
            assert value["status"] == "ok", value
            return json.loads(value["data"]["text/plain"][1:-1])
        finally:
            client.stop_channels()


def write_notebook(path, *sources):
    """Write a notebook of code cells between two of prose."""
    cells = [nbformat.v4.new_markdown_cell("Before the widget.")]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    cells += [nbformat.v4.new_markdown_cell("Behind the widget.")]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


__all__ = ["Keys", "Notebook", "WebDriverException", "chromium", "lab_server", "missing", "wait_for", "write_notebook"]
