"""Public architectures of torchvision and timm, read by from_torch.

    make architectures

installs both without their dependencies in a folder of their own, and builds each network of
``NETWORKS`` with random weights, in eval mode. `symvi.from_torch` reads it, verifies its group, and
its outputs are compared with the module's in float64, for other random weights. Each network has a
process and a time limit of its own; what is refused or fails is recorded with the first line of its
error. Seconds are those of from_torch alone, the first time in a process and with nothing compiled
before. Networks that are finished are kept in _build/results/architectures. Writes
book/results/architectures.json.
"""

import json
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import torch

import symvi
from symvi.book.sweeps import rounded
from symvi.files import write_text
from symvi.torch_bridge.torch_export import in_double
from symvi.tracing import verify

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "_build" / "results" / "architectures"
RECORD = ROOT / "book" / "results" / "architectures.json"
AGREE = 1e-10  # of the outputs, relative to the larger of 1 and the largest output
LIMIT = 300  # seconds of processor time for one network, all included
ROWS, SEED = 2, 0
KINDS = 3  # of notes, whose text is kept
LONGEST = 240  # letters of a text that is kept
VERSIONS = ("torch", "torchvision", "timm", "jax", "symvi")
# torchvision's compiled operators, which no network here calls, but its import asks for
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def image(library, model, pixels, **settings):
    """A network's row of the table: one that takes images of `pixels` by `pixels`."""
    return {
        "library": library,
        "model": model,
        "shape": [3, pixels, pixels],
        "settings": settings,
    }


def resized(model, pixels, **settings):
    """A network of timm that has to be told the size of its images."""
    return image("timm", model, pixels, img_size=pixels, **settings)


NETWORKS = [
    image("torchvision", "alexnet", 224),
    image("torchvision", "resnet18", 64),
    image("torchvision", "densenet121", 64),
    image("torchvision", "vit_b_32", 224),
    image("torchvision", "vgg11_bn", 32),
    image("torchvision", "squeezenet1_1", 64),
    image("torchvision", "mobilenet_v2", 64),
    image("torchvision", "mobilenet_v3_small", 64),
    image("torchvision", "mnasnet0_5", 64),
    image("torchvision", "swin_t", 64),
    image("torchvision", "lraspp_mobilenet_v3_large", 64, weights_backbone=None),
    {"library": "torchvision", "model": "r3d_18", "shape": [3, 8, 32, 32], "settings": {}},
    resized("vit_tiny_patch16_224", 64),
    resized("deit_tiny_distilled_patch16_224", 64),
    resized("mixer_s32_224", 64),
    resized("resmlp_12_224", 64),
    image("timm", "convnext_atto", 64),
    image("timm", "poolformer_s12", 64),
    image("timm", "mobilevit_xxs", 64),
    image("timm", "seresnet18", 64),
    image("timm", "ghostnet_050", 64),
    image("timm", "starnet_s050", 64),
    image("timm", "pvt_v2_b0", 64),
    image("timm", "edgenext_xx_small", 64),
    image("timm", "mambaout_femto", 64),
    image("timm", "inception_next_atto", 64),
    image("timm", "ese_vovnet19b_slim_dw", 64),
    image("timm", "dla46_c", 64),
    resized("visformer_tiny", 64),
    resized("levit_128s", 64),
    resized("coat_lite_tiny", 64),
    resized("xcit_nano_12_p16_224", 64),
    image("timm", "skresnet18", 64),
    image("timm", "ecaresnet26t", 64),
    image("timm", "lambda_resnet26t", 64),
    image("timm", "lcnet_050", 64),
    image("timm", "shvit_s1", 64),
    image("timm", "efficientformer_l1", 224),
    image("timm", "fasternet_t0", 64),
    image("timm", "hgnetv2_b0", 64),
    image("timm", "nf_regnet_b0", 64),
    image("timm", "repvgg_a0", 64),
    image("timm", "mobileone_s0", 64),
    image("torchvision", "shufflenet_v2_x0_5", 64),
    image("torchvision", "regnet_x_400mf", 64),
]


# One network, in a process of its own.


def library(name):
    """torchvision or timm; timm asks for torchvision."""
    declared = torch.library.Library("torchvision", "FRAGMENT")
    try:
        import torchvision
    except RuntimeError:  # its operators are compiled for another build of torch
        for schema in OPERATORS:
            declared.define(schema)
        import torchvision
    if name == "torchvision":
        return torchvision, declared
    import timm

    return timm, declared


def built(row):
    """The module of a row of the table, with random weights."""
    torch.manual_seed(SEED)
    package, declared = library(row["library"])
    if row["library"] == "torchvision":
        module = package.models.get_model(row["model"], weights=None, **row["settings"])
    else:
        module = package.create_model(row["model"], pretrained=False, **row["settings"])
    return module.eval(), declared


def kinds(notes):
    """The first notes of different kinds: those that differ by more than names and numbers."""
    found = {}
    for note in notes:
        found.setdefault(re.sub(r"'[^']*'|[0-9.]+|\([^)]*\)", "", note), note[:LONGEST])
    return list(found.values())


def measured(module, shape):
    """What from_torch finds in a module, the time it takes, and how far outputs are apart.

    Outputs are those for random weights of the size of the module's, and not zero where those are:
    many networks start with a last layer of zeros.
    """
    started, spent = time.perf_counter(), time.process_time()
    net = symvi.from_torch(module, torch.zeros(ROWS, *shape))
    seconds, processor = time.perf_counter() - started, time.process_time() - spent
    notes = [note for note in net.notes if not note.startswith("besides, ")]  # signs, scales
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(ROWS, *shape))
    weights = {name: verify.like(value, rng) for name, value in net._values.items()}
    state = {name: torch.tensor(value) for name, value in weights.items()}
    with torch.no_grad(), in_double(torch):  # what a pass makes of its own too
        wanted = torch.func.functional_call(module.double(), state, torch.tensor(x)).numpy()
    with jax.enable_x64(True):
        ours = verify.compiled(net.apply, weights, x)(weights, x)
    largest = float(np.abs(wanted).max())
    return {
        "parameters": sum(p.numel() for p in module.parameters()),
        "groups": len(net.symmetry.groups),
        "log_order": net.symmetry.log_order,
        "nested": net.nested.log_order,
        "notes": len(notes),
        "kinds": kinds(notes)[:KINDS],
        "forward": float(np.abs(ours - wanted).max()) / max(1.0, largest),
        "largest_output": largest,
        "seconds": seconds,
        "processor_seconds": processor,
    }


def refusal(error):
    """The first line of an error, as it is recorded."""
    line = (str(error).splitlines() or [""])[0]
    return {"refused": f"{type(error).__name__}: {line}"[:LONGEST]}


def limited():
    """End this process when it has used up its time."""
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))


def answer(row, path):
    """Measure one network and write what came of it, errors too."""
    try:
        module, _ = built(row)
        found = measured(module, row["shape"])
    except Exception as error:  # whatever a network of others does
        found = refusal(error)
    write_text(path, json.dumps({"row": row, "versions": versions(), "found": found}))


def versions():
    return {name: version(name) for name in VERSIONS}


# All of them.


def kept(row, path):
    """What came of this row before, with these versions, or None."""
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    return record["found"] if (record["row"], record["versions"]) == (row, versions()) else None


def asked(row, packages, folder=FOLDER):
    """What comes of a row, from its file or from a process of its own."""
    path = folder / f"{row['library']}-{row['model']}.json"
    found = kept(row, path)
    if found is None:
        command = [sys.executable, __file__, packages, json.dumps(row), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = kept(row, path) or lost(done)
    return found


def lost(done):
    """What is recorded of a process that ended without an answer."""
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"refused": f"no answer within {LIMIT} s of processor time"}
    line = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
    return {"refused": f"the process ended with {done.returncode}: {line}"[:LONGEST]}


def judged(found):
    """What was found, as refused where outputs do not agree."""
    if found.get("forward", 0) <= AGREE:
        return found
    return {"refused": f"outputs differ, got {found['forward']:.1e}", **found}


def main(packages):
    """Ask for every network, print and write the record."""
    networks = []
    for row in NETWORKS:
        found = judged(asked(row, packages))
        networks.append({**row, **found})
        print(row["model"], {k: v for k, v in found.items() if k != "kinds"}, flush=True)
    record = {
        "made": {"command": "make architectures", **versions()},
        "setting": {"seed": SEED, "agree": AGREE, "rows": ROWS, "limit": LIMIT},
        "networks": rounded(networks),
    }
    write_text(RECORD, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # behind the project's own packages
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        limited()
        jax.config.update("jax_enable_compilation_cache", False)
        answer(json.loads(sys.argv[2]), Path(sys.argv[3]))
