"""Programs that people already use take our result runs unchanged."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from streamproc.testing.makers import inline_run
from streamproc.testing.memory import documents


@pytest.fixture(scope="module")
def result_documents():
    path = Path(__file__).parents[1] / "unit" / "service" / "toy.py"
    spec = importlib.util.spec_from_file_location("toy_for_readers", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    frames = [np.full((6, 8), n, np.uint16) for n in range(1, 8)]
    metadata = {
        "motors": ["motor"],
        "hints": {"dimensions": [[["motor"], "primary"]]},
        "plan_type": "generator",
    }
    return module.Bench(documents(inline_run(frames, metadata=metadata))).run().results()


def test_best_effort_callback_plots_the_hinted_quantity_against_the_motor(result_documents):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from bluesky.callbacks.best_effort import BestEffortCallback

    plt.close("all")
    callback = BestEffortCallback()
    for name, doc in result_documents:
        callback(name, doc)
    lines = [line for n in plt.get_fignums() for ax in plt.figure(n).axes for line in ax.lines]
    drawn = [line for line in lines if len(line.get_xdata()) == 7]
    assert any(np.allclose(line.get_ydata(), np.arange(1, 8)) for line in drawn)
    assert any(np.allclose(line.get_xdata(), np.arange(7) * 0.5) for line in drawn)
    plt.close("all")


def test_tiled_writer_stores_the_run_and_gives_the_numbers_back(result_documents, tmp_path):
    from bluesky_tiled_plugins import TiledWriter
    from tiled.catalog import from_uri
    from tiled.client import Context, from_context
    from tiled.config import Authentication
    from tiled.server.app import build_app

    catalog = from_uri(
        f"sqlite:///{tmp_path}/catalog.db",
        writable_storage=[f"file://localhost{tmp_path}/data", f"duckdb:///{tmp_path}/storage.duckdb"],
        init_if_not_exists=True,
    )
    app = build_app(catalog, authentication=Authentication(single_user_api_key="secret"))
    with Context.from_app(app, api_key="secret") as context:
        client = from_context(context)
        writer = TiledWriter(client, batch_size=1)
        for name, doc in result_documents:
            writer(name, doc)
        run = client[result_documents[0][1]["uid"]]
        np.testing.assert_allclose(run["primary"]["mean"].read(), np.arange(1, 8))
        np.testing.assert_allclose(run["primary"]["motor"].read(), np.arange(7) * 0.5)
        assert run.metadata["start"]["original_run_uid"] == "run-inline"
        assert run.metadata["stop"]["ledger"]["primary"]["done"] == 7


def test_bluesky_widgets_builds_the_run(result_documents):
    from bluesky_widgets.utils.streaming import stream_documents_into_runs

    built = []
    feed = stream_documents_into_runs(built.append)
    for name, doc in result_documents:
        feed(name, doc)
    (run,) = built
    assert run.metadata["stop"]["exit_status"] == "success"
    np.testing.assert_allclose(run["primary"].read()["mean"], np.arange(1, 8))
