"""A training example as small as one can be: three runs of a linear layer, for tests of what the examples share."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import shared_parts.command_line  # noqa: F401  it has to be first
import torch
from shared_parts import report, training

BATCH = 8


def run(recipe, folder, show):
    """Train a linear layer to reverse its input, and return its weights."""
    torch.manual_seed(recipe["seed"])
    net = torch.nn.Linear(4, 4)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    wrapped = training.wrap(net)
    rank, world = torch.distributed.get_rank() if training.together() else 0, recipe["world"]

    def step(i):
        x = torch.randn(BATCH, 4)[rank::world]
        loss = (wrapped(x) - x.flip(1)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        time.sleep(recipe["pause"])
        return loss.item()

    def measure(done):
        return {"sum": net.weight.sum().item()}

    fitted = training.fit(
        {"net": net, "optimiser": optimiser},
        step,
        recipe["steps"],
        folder / f"{recipe['name']}.pt",
        recipe,
        every=5,
        measure=measure,
        show=show,
    )
    return {"weights": net.weight.flatten().tolist(), "history": fitted.history}


def main():
    parser = training.parser(__doc__, "runs/tiny", 20)
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    share = training.start_processes(BATCH)
    recipe = {"steps": options.steps, "seed": options.seed}
    result = report.Result(options.output, "Tiny <training>", recipe) if share.rank == 0 else None
    own = {"pause": options.pause, "world": share.world, "steps": options.steps}
    recipes = [{"name": f"run{seed}", "seed": seed, **own} for seed in range(options.seed, options.seed + 3)]
    runs = training.spread(run, recipes, options.output, options.jobs, options.threads)
    if result is not None:
        result.figures(runs=runs)
        result.table("Losses", [{"run": each["name"], "loss": "1"} for each in recipes])
        result.write()


if __name__ == "__main__":
    main()
