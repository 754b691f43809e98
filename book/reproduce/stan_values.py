"""What Stan itself says of exported posteriors. Needs pystan, httpstan and posteriordb, not symvi.

    python book/reproduce/stan_values.py FOLDER

reads FOLDER/requests.json and, through the posteriordb package, the database FOLDER/database. It
writes FOLDER/answers/NAME.npz for each request: log densities and gradients at the points asked
for, on the real line, and draws where they are asked for. stan_densities.py writes the requests and
reads the answers.
"""

import asyncio
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpstan.cache
import httpstan.compile
import httpstan.models
import numpy as np
import posteriordb
import stan

# half the time of compilation of pystan's own -O3
FLAGS = ["-O1", "-std=c++14", "-Wno-sign-compare"]


def main(folder):
    """Answer all requests that have no answer yet."""
    folder = Path(folder)
    requests = json.loads((folder / "requests.json").read_text(encoding="utf-8"))
    database = posteriordb.PosteriorDatabase(str(folder / "database"))
    (folder / "answers").mkdir(exist_ok=True)
    for name, request in requests.items():
        target = folder / "answers" / f"{name}.npz"
        if not target.exists() or str(np.load(target)["asked"]) != request["asked"]:
            print(f"{name}: Stan compiles", flush=True)
            found = answer(request, database)
            found["asked"] = request["asked"]
            partial = target.with_suffix(".part.npz")
            np.savez(partial, **found)
            partial.replace(target)
    (folder / "answers" / "versions.json").write_text(json.dumps(versions()), encoding="utf-8")


def answer(request, database):
    """Arrays by name: log densities, gradients, and draws ``(chains, draws)`` of each parameter."""
    program, data = request.get("program"), request.get("data")
    if "posterior" in request:
        posterior = database.posterior(request["posterior"])
        program, data = posterior.model.stan_code(), posterior.data.values()
        stored = list(posterior.reference_draws()[0])
        if stored != request["parameters"]:
            raise SystemExit(f"the database has draws of {stored}")
    compiled(program)
    model = stan.build(program, data=data, random_seed=1)
    named = [stan_name(name) for name in request["parameters"]]
    if list(model.constrained_param_names) != named:
        raise SystemExit(f"Stan's parameters are {model.constrained_param_names}, not {named}")
    points = request["points"]
    found = {
        "log_prob": [model.log_prob(point) for point in points],
        "without_jacobian": [model.log_prob(point, adjust_transform=False) for point in points],
        "gradient": [model.grad_log_prob(point) for point in points],
        "constrained": [model.constrain_pars(point) for point in points],
    }
    if "sampling" in request:
        found |= sampled(model, request["parameters"], **request["sampling"])
    return found


def compiled(program):
    """Compile a program into httpstan's cache, unless it is there.

    stan.build would do so too, but gives up after five minutes.
    """
    name = httpstan.models.calculate_model_name(program)
    try:
        httpstan.models.import_services_extension_module(name)
    except KeyError:
        building = httpstan.models.build_services_extension_module(program, FLAGS)
        messages = asyncio.run(building)
        httpstan.cache.dump_services_extension_module_compiler_output(messages, name)
        _, warnings = httpstan.compile.compile(program, f"model_{name.split('/')[1]}")
        httpstan.cache.dump_stanc_warnings(warnings, name)
        if warnings:
            print(warnings, flush=True)


def stan_name(name):
    """W1.1.2, as httpstan calls what is W1[1,2] elsewhere."""
    return name.replace("[", ".").replace(",", ".").replace("]", "")


def sampled(model, parameters, chains, warmup, draws, adapt_delta):
    """Draws of Stan's NUTS, ``(chains, draws)`` by name, and the number of its divergences."""
    fit = model.sample(num_chains=chains, num_warmup=warmup, num_samples=draws, delta=adapt_delta)
    found = {"divergences": fit["divergent__"].sum()}
    for name in parameters:
        whole, _, place = name.removesuffix("]").partition("[")
        entry = tuple(int(i) - 1 for i in place.split(",")) if place else (0,)
        values = fit[whole][entry]  # chains move fastest
        found[f"draws {name}"] = values.reshape(draws, chains).T
    return found


def versions():
    """Of what has computed the answers."""
    header = Path(httpstan.__file__).parent / "include" / "stan" / "version.hpp"
    lines = header.read_text(encoding="utf-8").splitlines()
    numbers = {
        line.split()[1]: line.split()[2] for line in lines if line.startswith("#define STAN_M")
    }
    compiler = subprocess.run(
        ["g++", "-dumpfullversion"], capture_output=True, text=True, check=True
    )
    return {
        "stan": f"{numbers['STAN_MAJOR']}.{numbers['STAN_MINOR']}",
        "pystan": version("pystan"),
        "httpstan": version("httpstan"),
        "posteriordb": version("posteriordb"),
        "g++": compiler.stdout.strip(),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
