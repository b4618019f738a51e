"""Classifying on the CPU: our networks beside OpenCV's DNN module on the same weights and images, and file to verdict.

OpenCV needs an environment of its own, because it is no dependency of the workbook:

    python3.11 -m venv .peers/opencv
    .peers/opencv/bin/pip install "opencv-python-headless<5"
    python tests/benchmarks/classifying.py --peer .peers/opencv/bin/python

Each program is a process with as many threads as the machine has cores, and they take turns. Images are simulated
patterns; the random weights are normalised on them, and the last layer is scaled so that scores lie on both sides of
the threshold. Beside the times stand the products that a plain convolution takes, over the rate of a large matrix
product in the same process. On a machine that is busy with something else, `--processor-time` counts that instead of
wall time, with one thread each.
"""

import argparse
import copy
import json
import math
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from demo_family import train_demo_family
from program import Program
from record import record

from helpers import ROOT, darknet
from helpers.classification.files import classify_file
from helpers.family import Family
from helpers.patterns import open_stack
from helpers.rendering import render
from helpers.simulation import simulate
from helpers.system import write_text

PEER = ROOT / ".peers" / "opencv" / "bin" / "python"
FAMILY = Family.from_name("yolov2-jet-linear")
THRESHOLD = 0.24
LCLS_HZ = 120


def serve(threads: int) -> None:
    """Answer the commands of peers/opencv_scores.py with our network, and `rate` with that of a matrix product."""
    torch.set_num_threads(threads)
    print(json.dumps({"version": torch.__version__}), flush=True)
    networks: list[darknet.FoldedNetwork] = []
    for line in sys.stdin:
        name, *given = line.split()
        if name == "load":
            network = darknet.read_cfg(given[0])
            darknet.read_weights(network, given[1])
            networks[:] = [darknet.folded(network)]
            answer = {}
        elif name == "score":
            answer = timed_scores(networks[0], torch.from_numpy(np.load(given[0])), int(given[1]))
        elif name == "rate":
            answer = matrix_rate(int(given[0]))
        else:
            answer = {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        print(json.dumps(answer), flush=True)


def timed_scores(network: darknet.FoldedNetwork, images: torch.Tensor, count: int) -> dict:
    """Score `count` images at a time."""
    wall, processor = time.perf_counter(), time.process_time()
    found = torch.cat([darknet.scores(network, part) for part in images.split(count)])
    seconds = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    return {**seconds, "scores": found.tolist()}


def matrix_rate(side: int) -> dict:
    """Products and sums a second of a float32 matrix product, by either clock."""
    left, right = torch.rand(2, side, side)
    left @ right
    wall, processor = time.perf_counter(), time.process_time()
    left @ right
    operations = 2 * side**3 / 1e9
    return {
        "seconds": operations / (time.perf_counter() - wall),
        "processor_seconds": operations / (time.process_time() - processor),
    }


def operations(network: darknet.Network) -> float:
    """Products and sums of all convolutions for an image, done plainly [10⁹]."""
    return sum(2e-9 * layer.weights.numel() * layer.shape.side**2 for layer in network.convolutions)


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


def export(network: darknet.Network, folder: Path, name: str) -> tuple[Path, Path]:
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


def compare(
    name: str,
    network: darknet.Network,
    images: torch.Tensor,
    *,
    programs: dict[str, Program],
    options: argparse.Namespace,
) -> None:
    """Times of an image, alone and at the better batch sizes, verdicts, memory."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        normalise(network, images[:16])
        programs["ours"].ask("load", *export(network, folder, "ours"))
        programs["peer"].ask("load", *export(with_variance_for_opencv(network), folder, "peer"))
        for label, counts in {"one at a time": (1, 1), "in batches": (options.batch, options.peer_batch)}.items():
            sets = dict(zip(programs, counts, strict=True))
            taken = measure(f"{name}, {label}", images, sets, programs=programs, options=options, folder=folder)
    memory = {who: program.ask("memory")["megabytes"] for who, program in programs.items()}
    record(name=f"{name}, memory", **memory, unit="MB", wanted=1)
    rate = max(programs["ours"].ask("rate", 2048)[options.clock] for _ in range(3))
    plain = operations(network)
    print(f"{name}: {plain:.1f} GFLOP an image done plainly")
    row = f"{name}, in batches, rate as if done plainly (peer: a matrix product)"
    record(name=row, ours=plain / taken, peer=rate, unit="GFLOP/s", wanted=1, better="more")


def measure(
    name: str,
    images: torch.Tensor,
    counts: dict[str, int],
    *,
    programs: dict[str, Program],
    options: argparse.Namespace,
    folder: Path,
) -> float:
    """Both programs in turn on the same images; the verdicts of all images. Returns our seconds an image."""
    answers: dict[str, list[dict]] = {who: [] for who in programs}
    for who in programs:
        np.save(folder / f"{who}.npy", images[: max(4, counts[who])].numpy())
        programs[who].ask("score", folder / f"{who}.npy", counts[who])
    for _ in range(options.rounds):
        for who, program in programs.items():
            answers[who].append(program.ask("score", folder / f"{who}.npy", counts[who]))
    times = {who: [answer[options.clock] / len(answer["scores"]) for answer in found] for who, found in answers.items()}
    ratios = [peer / ours for ours, peer in zip(*times.values(), strict=True)]
    print(f"{name}: ratio of each round {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    record(name=name, **{who: median(found) for who, found in times.items()}, unit="s an image", wanted=1.2)
    np.save(folder / "all.npy", images.numpy())
    scores = [np.array(programs[who].ask("score", folder / "all.npy", counts[who])["scores"]) for who in programs]
    difference, single = float(abs(scores[0] - scores[1]).max()), [found > THRESHOLD for found in scores]
    print(f"{name}: {single[0].sum()} of {len(images)} above {THRESHOLD}, largest difference {difference:.1e}")
    same = float((single[0] == single[1]).mean())
    record(name=f"{name}, same verdicts", ours=same, peer=1.0, unit="share", wanted=1, better="more")
    return median(times["ours"])


def file_to_verdict(options: argparse.Namespace, twin: Path, folder: Path) -> None:
    """Patterns a second of `workbook classify` under the families of the demo profile, five checkpoints each."""
    with open_stack(twin) as stack:
        patterns = len(stack)
    for network in ("yolov2", "yolov3"):
        model = train_demo_family(twin, folder, f"{network}-jet-linear")
        taken = []
        for _ in range(options.rounds):
            began = {"seconds": time.perf_counter(), "processor_seconds": time.process_time()}
            classify_file(twin, model, output=folder / "selection.csv")
            ended = {"seconds": time.perf_counter(), "processor_seconds": time.process_time()}
            taken.append(ended[options.clock] - began[options.clock])
        name = f"demo family {network}, patterns/s beside LCLS {LCLS_HZ} Hz"
        record(name=name, ours=patterns / median(taken), peer=LCLS_HZ, unit="1/s", wanted=1, better="more")


def main() -> None:
    """Simulate, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=PEER, help="python of the environment with OpenCV")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=64, help="of ours")
    parser.add_argument("--peer-batch", type=int, default=4, help="of OpenCV, which gains little")
    parser.add_argument("--patterns", type=int, default=1000, help="from file to verdict")
    parser.add_argument("--processor-time", action="store_true", help="instead of wall time, with one thread")
    parser.add_argument("--yolov3", action="store_true", help="measure YOLOv3 with 608 pixels, too")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    options.clock = "processor_seconds" if options.processor_time else "seconds"
    options.threads = 1 if options.processor_time else options.threads
    if not options.peer.is_file():
        print(f"not measured: there is no {options.peer}.{__doc__.partition('.')[2]}")
        sys.exit(0)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder / "twin.cxi", patterns=options.patterns, outside=(0, 0), seed=3)
        file_to_verdict(options, folder / "twin.cxi", folder)
        compare_networks(options, folder / "twin.cxi")


def compare_networks(options: argparse.Namespace, twin: Path) -> None:
    """YOLOv2 as published for VOC (29 GFLOP) and as the paper's cfg has it (35), and YOLOv3 if asked for."""
    generator = torch.Generator().manual_seed(1)
    networks = {
        "YOLOv2@416, 64 filters before the reorg": darknet.yolov2(passthrough="yolov2-voc", generator=generator),
        "YOLOv2@416": darknet.yolov2(generator=generator),
    }
    if options.yolov3:
        networks["YOLOv3@608"] = darknet.yolov3(generator=generator)
    with open_stack(twin) as stack:
        counts = stack.read(slice(0, options.batch))
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    for name, network in networks.items():
        images = render(counts, FAMILY.representation, network.size).contiguous()
        peer = Path(__file__).parent / "peers" / "opencv_scores.py"
        programs = {
            "ours": Program([sys.executable, __file__, "--serve", options.threads], environment),
            "peer": Program([options.peer, peer, options.threads], environment),
        }
        versions = {who: program.greeting["version"] for who, program in programs.items()}
        print(f"OpenCV {versions['peer']}, torch {versions['ours']}, {options.threads} threads")
        try:
            compare(name, network, images, programs=programs, options=options)
        finally:
            for program in programs.values():
                program.close()


if __name__ == "__main__":
    main()
