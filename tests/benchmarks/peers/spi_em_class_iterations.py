"""Run spi_em_class on command; for em.py, in an environment of its own. Commands come on stdin, answers are JSON lines.

start FILE     take the model of an .npy file, forget scales and probabilities
iterate        one iteration; answers with its seconds
expect         only the E-step; answers with the mean log-likelihood of a pattern
save FILE      model and classes as .npz
"""

import argparse
import contextlib
import json
import os
import sys
import time

import numpy as np
from spi_em_class import Classifier, config, log_writer

log_writer.show_message = lambda *_args, **_more: None


def classifier(arguments: argparse.Namespace) -> Classifier:
    """Its program with its defaults, but for the band of q."""
    settings = config.default_config()
    settings["cxi_file"] = os.path.abspath(arguments.cxi)
    settings["q_min"], settings["q_max"] = arguments.q_range
    settings["num_class"], settings["num_rot"] = arguments.classes, arguments.rotations
    config.save_config(arguments.state, settings)
    return Classifier(arguments.state)


def start(em: Classifier, path: str) -> dict:
    """As its constructor does, with a model of ours."""
    em.model[:] = np.load(path)
    em.prob_vals[:] = 0
    em.prob_vals[0, 0] = 1
    return {}


def iterate(em: Classifier) -> dict:
    """One iteration as its `run` does it."""
    began = time.perf_counter()
    em.run_iteration()
    return {"seconds": time.perf_counter() - began, "log_likelihood": mean_log_likelihood(em)}


def expect(em: Classifier) -> dict:
    """Only the E-step, with the scales that go with the probabilities before."""
    em._prepare_iteration()
    em._expect()
    return {"log_likelihood": mean_log_likelihood(em)}


def mean_log_likelihood(em: Classifier) -> float:
    """Mean over the patterns of ln of the mean of exp(L) over classes and rotations."""
    highest = em.loglh.max(axis=(0, 1))
    return float((highest + np.log(np.exp(em.loglh - highest).mean(axis=(0, 1)))).mean())


def save(em: Classifier, path: str) -> dict:
    """Model after the last iteration, and the classes of its E-step."""
    np.savez(path, model=em.model, classes=em.prob_vals.max(axis=1).argmax(axis=0))
    return {}


def main() -> None:
    """Answer commands until there are none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cxi")
    parser.add_argument("state")
    parser.add_argument("--q-range", type=int, nargs=2, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--rotations", type=int, required=True)
    with contextlib.redirect_stdout(sys.stderr):
        em = classifier(parser.parse_args())
    commands = {"start": start, "iterate": iterate, "expect": expect, "save": save}
    print(json.dumps({"shape": em.model.shape}), flush=True)
    for line in sys.stdin:
        name, *given = line.split()
        with contextlib.redirect_stdout(sys.stderr):
            answer = commands[name](em, *given)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
