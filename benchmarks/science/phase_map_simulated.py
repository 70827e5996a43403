"""Simulated patterns that no training saw: foreign material by share of intensity, presence of each phase.

Foreign materials are named ones that were held out of training. The threshold leaves one per cent of false
alarms on other patterns of known phases with and without glass. Counts in the highest line go down to 300 and
up to half of the axis is missing, as in the training.
Usage: python benchmarks/science/phase_map_simulated.py [--models A B C | --train DIR --seeds 1 2 3]
"""

from __future__ import annotations

from several_models import models_of, parser, spread
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.phase_map.check import Checker
from streamproc.models.phase_map.library import build_library
from streamproc.models.phase_map.scores import judge_simulated
from streamproc.models.phase_qpa.system import four_phases


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--patterns", type=int, default=1000, help="patterns of each kind that are fitted")
    made.add_argument("--test-seed", type=int, default=9000, help="seed of the test patterns")
    arguments = made.parse_args()
    system, n = four_phases(), 3 * arguments.patterns
    library = build_library(system, 800, arguments.test_seed)
    foreign = build_library(system, 800, arguments.test_seed + 1, system.held_out, drawn_share=0.0)
    rows = []
    for model in models_of(arguments, [], "phase_qpa"):
        run, checker = OnnxRunner(model.path.read_bytes()), Checker(model.card)
        found = judge_simulated(
            run, model.card, checker, library, foreign, arguments.test_seed, n, arguments.patterns
        ).figures
        print(model.model_id, found)
        rows.append(found)
    print()
    for band, wanted in (("2_to_10", ">= 0.60"), ("10_to_30", ">= 0.95"), ("30_to_100", "")):
        name = f"detected_{band}_percent"
        spread(f"foreign {name} at 1 % false alarms", [r["foreign"][name] for r in rows], wanted)
    alone, whole = [r["simulated"] for r in rows], [r["with_fit"] for r in rows]
    spread("false alarms at the card's own limit", [r["foreign"]["false_alarms"] for r in rows], "about 0.01")
    least = "presence_auroc_least"
    spread("presence AUROC, worst phase, >= 2 wt%, with fit", [w[least] for w in whole], ">= 0.995")
    spread("presence AUROC, worst phase, network alone", [a[least] for a in alone], "")
    error = "fraction_mae_wt_percent"
    spread("mean absolute error (wt%), network", [a[error] for a in alone], "")
    spread("90 % intervals hold, phases there", [a["coverage90"] for a in alone], "0.87 to 0.93")


if __name__ == "__main__":
    main()
