"""Our networks on the CPU beside OpenCV, ONNX Runtime and OpenVINO: same weights and images, float32, in one run.

The others need environments of their own, because they are no dependencies of the workbook:

    tests/benchmarks/peers/install.sh
    python tests/benchmarks/networks.py

Each program is a process with as many threads as the machine has cores, and they take turns: each round measures all of
them, one after the other. "In batches" each takes as many images at a time as suit it best. OpenCV reads Darknet's
files, the other two the ONNX file that torch writes. Images are simulated patterns; the random weights are normalised
on them, and the last layer is scaled so that scores lie on both sides of the threshold. On a machine that is busy with
something else, `--processor-time` counts that instead of wall time, with one thread each.
"""

import argparse
import copy
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from peers.serving import serve
from program import Program
from record import record

from helpers import ROOT, darknet
from helpers.family import Family
from helpers.patterns import open_stack
from helpers.rendering import render
from helpers.simulation import simulate
from helpers.system import write_text

ENVIRONMENTS = ROOT / ".peers"
SCRIPTS = Path(__file__).parent / "peers"
WANTED = {"OpenCV": 1.2, "ONNX Runtime": 0.95, "OpenVINO": 0.95}
"""How many times faster than each we want to be."""

FAMILY = Family.from_name("yolov2-jet-linear")
THRESHOLD = 0.24
IMAGES, COUNTS = 8, (1, 2, 4, 8)
"""Images that a round measures, and how many at a time are tried."""


def load(cfg: str, weights: str) -> Callable[[np.ndarray], np.ndarray]:
    """Read our network; the function scores images for `serve`."""
    network = darknet.read_cfg(cfg)
    darknet.read_weights(network, weights)
    fast = darknet.folded(network)
    return lambda images: darknet.scores(fast, torch.from_numpy(images)).numpy()


@torch.no_grad()
def normalise(network: darknet.Network, images: torch.Tensor) -> None:
    """Take the running statistics from images, then move the scores of the heads to both sides of the threshold."""
    for layer in network.convolutions:
        layer.momentum = 1.0
    network.train()(images)
    outputs = network.eval()(images)
    layers = list(network.layers)
    for head, output in zip(network.heads, outputs, strict=True):
        logits = torch.logit(output.unflatten(1, (-1, 6))[:, :, 4].flatten(1).amax(dim=1))
        factor = 2 / logits.std()
        before = layers[layers.index(head) - 1]
        objectness = slice(4, None, 6)
        before.weights[objectness] *= factor
        before.biases[objectness] = math.log(THRESHOLD / (1 - THRESHOLD)) - factor * logits.quantile(0.5)
        before.biases[5::6] = 10.0


def export_darknet(network: darknet.Network, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `.cfg` and `.weights`; OpenCV drops class scores below the cfg's `thresh`, so that is lowered."""
    cfg, weights = folder / f"{name}.cfg", folder / f"{name}.weights"
    darknet.write_cfg(network, cfg)
    write_text(cfg, cfg.read_text().replace("\nthresh=.6", "\nthresh=.0001"))
    darknet.write_weights(network, weights, seen=0)
    return cfg, weights


def with_variance_for_opencv(network: darknet.Network) -> darknet.Network:
    """A copy that is the same network for OpenCV, which adds 1e-6 to a variance; Darknet on a GPU adds 1e-5."""
    changed = copy.deepcopy(network)
    for layer in changed.convolutions:
        if layer.batch_normalize:
            layer.rolling_variance += 1e-5 - 1e-6
    return changed


def export_onnx(network: darknet.Network, folder: Path) -> Path:
    """Let torch write the network as ONNX, for any number of images."""
    path, images = folder / "network.onnx", torch.zeros(2, 3, network.size, network.size)
    heads = [f"head {number}" for number in range(len(network.heads))]
    with warnings.catch_warnings(action="ignore"):  # of the exporter, about itself and Python numbers in sizes
        torch.onnx.export(
            network.eval(),
            (images,),
            path,
            input_names=["images"],
            output_names=heads,
            dynamic_axes={"images": {0: "count"}},
            dynamo=False,
        )
    return path


def started(options: argparse.Namespace) -> dict[str, Program]:
    """Ours and the other programs, by name."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    programs = {"ours": Program([sys.executable, __file__, "--serve", options.threads], environment)}
    for name in WANTED:
        word = name.lower().replace(" ", "")
        command = [ENVIRONMENTS / word / "bin" / "python", SCRIPTS / f"{word}_scores.py", options.threads]
        programs[name] = Program(command, environment)
    versions = ", ".join(f"{who} {program.greeting['version']}" for who, program in programs.items())
    print(
        f"{versions}; {options.threads} threads, {torch.backends.cpu.get_cpu_capability()}; load {os.getloadavg()[0]}"
    )
    return programs


def compare(
    name: str,
    network: darknet.Network,
    images: torch.Tensor,
    programs: Mapping[str, Program],
    options: argparse.Namespace,
) -> None:
    """Seconds an image, alone and in batches; verdicts; memory."""
    normalise(network, images[:16])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        onnx = export_onnx(network, folder)
        programs["ours"].ask("load", *export_darknet(network, folder, "ours"))
        programs["OpenCV"].ask("load", *export_darknet(with_variance_for_opencv(network), folder, "opencv"))
        for who in ("ONNX Runtime", "OpenVINO"):
            programs[who].ask("load", onnx)
        few, every = folder / "few.npy", folder / "every.npy"
        np.save(few, images[:IMAGES].numpy())
        np.save(every, images.numpy())
        alone = dict.fromkeys(programs, 1)
        best = {who: fastest(program, few, options) for who, program in programs.items()}
        measure(f"{name}, one at a time", few, alone, programs, options)
        measure(f"{name}, in batches", few, best, programs, options)
        verdicts(name, every, best, programs)
    ours, peer = (programs[who].ask("memory")["megabytes"] for who in ("ours", "OpenCV"))
    record(name=f"{name}, memory, OpenCV", ours=ours, peer=peer, unit="MB", wanted=1)


def fastest(program: Program, images: Path, options: argparse.Namespace) -> int:
    """How many images at a time suit a program best; also warms it up."""
    taken = {count: [program.ask("score", images, count)[options.clock] for _ in range(2)] for count in COUNTS}
    return min(COUNTS, key=lambda count: min(taken[count]))


def measure(
    name: str, images: Path, counts: Mapping[str, int], programs: Mapping[str, Program], options: argparse.Namespace
) -> None:
    """Let the programs score the same images in turn."""
    taken: dict[str, list[float]] = {who: [] for who in programs}
    for _ in range(options.rounds):
        for who, program in programs.items():
            taken[who].append(program.ask("score", images, counts[who])[options.clock] / IMAGES)
    for who, seconds in taken.items():
        spread = f"{min(seconds):.4f} to {max(seconds):.4f}"
        print(f"{name}: {who}, {counts[who]} at a time: median {median(seconds):.4f}, {spread} s an image")
    unit = "processor s an image" if options.processor_time else "s an image"
    for who, wanted in WANTED.items():
        record(name=f"{name}, {who}", ours=median(taken["ours"]), peer=median(taken[who]), unit=unit, wanted=wanted)
    print(f"{name}: load {os.getloadavg()[0]}")


def verdicts(name: str, images: Path, counts: Mapping[str, int], programs: Mapping[str, Program]) -> None:
    """Share of the images on which a program gives the verdict of ours."""
    scores = {who: np.array(program.ask("score", images, counts[who])["scores"]) for who, program in programs.items()}
    ours = scores["ours"]
    print(f"{name}: {(ours > THRESHOLD).sum()} of {len(ours)} above {THRESHOLD}")
    for who in WANTED:
        print(f"{name}: largest difference of a score, {who}: {abs(ours - scores[who]).max():.1e}")
        same = float(((ours > THRESHOLD) == (scores[who] > THRESHOLD)).mean())
        record(name=f"{name}, same verdicts, {who}", ours=same, peer=1.0, unit="share", wanted=1, better="more")


def rendered(size: int, count: int) -> torch.Tensor:
    """Images of simulated patterns."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "twin.cxi"
        simulate(path, patterns=count, outside=(0, 0), seed=3)
        with open_stack(path) as stack:
            return render(stack.read(slice(0, count)), FAMILY.representation, size).contiguous()


def main() -> None:
    """Simulate, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=32, help="for the verdicts")
    parser.add_argument("--processor-time", action="store_true", help="instead of wall time, with one thread")
    parser.add_argument("--voc", action="store_true", help="measure YOLOv2 with 64 filters before the reorg, too")
    parser.add_argument("--yolov3", action="store_true", help="measure YOLOv3 with 608 pixels, too")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        torch.set_num_threads(options.serve)
        serve(torch.__version__, load)
        return
    if not all((ENVIRONMENTS / name).is_dir() for name in ("opencv", "onnxruntime", "openvino", "onnx")):
        print(f"not measured: {ENVIRONMENTS} holds not all of the other programs.\n{__doc__}")
        return
    sys.path.append(str(ENVIRONMENTS / "onnx"))
    options.clock = "processor_seconds" if options.processor_time else "seconds"
    options.threads = 1 if options.processor_time else options.threads
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(1)
    networks = {"YOLOv2@416": darknet.yolov2(generator=generator)}
    if options.voc:
        voc = darknet.yolov2(passthrough="yolov2-voc", generator=generator)
        networks["YOLOv2@416, 64 filters before the reorg"] = voc
    if options.yolov3:
        networks["YOLOv3@608"] = darknet.yolov3(generator=generator)
    for name, network in networks.items():
        programs = started(options)
        try:
            compare(name, network, rendered(network.size, options.images), programs, options)
        finally:
            for program in programs.values():
                program.close()


if __name__ == "__main__":
    main()
