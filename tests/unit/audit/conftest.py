"""Raw runs and the result documents that the real service makes of them, ready to be damaged."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from streamproc.audit import audit_runs
from streamproc.documents import Document, Position
from streamproc.testing.makers import inline_run
from streamproc.testing.memory import documents
from streamproc.transports.codec import decode, encode

_spec = importlib.util.spec_from_file_location(
    "toy_for_audit", Path(__file__).parents[1] / "service" / "toy.py"
)
_toy = importlib.util.module_from_spec(_spec)
sys.modules["toy_for_audit"] = _toy
_spec.loader.exec_module(_toy)

METADATA = {"motors": ["motor"], "hints": {"dimensions": [[["motor"], "primary"]]}}
FRAMES = [np.full((6, 8), n, np.uint16) for n in range(1, 8)]


class Topics:
    """The raw documents of some runs, and what the service published about them."""

    def __init__(self, raw, bench):
        self.raw = list(raw)
        self.messages = [
            (*decode(m.value), tuple(m.headers)) for m in bench.sink.on_topic(bench.settings.topic("results"))
        ]

    def of(self, name):
        """The documents of a name, to be altered in place."""
        return [doc for n, doc, _ in self.messages if n == name]

    def events(self):
        """The events of stream primary."""
        primary = {d["uid"] for d in self.of("descriptor") if d["name"] == "primary"}
        return [d for d in self.of("event") if d["descriptor"] in primary]

    def drop(self, doc):
        """Take a result document out."""
        self.messages = [m for m in self.messages if m[1] is not doc]

    def add(self, name, doc):
        """Publish a document more, before the stop."""
        at = max((i for i, m in enumerate(self.messages) if m[0] != "stop"), default=0)
        self.messages.insert(at + 1, (name, doc, ()))

    def results(self):
        """The results topic."""
        return [
            Document(n, doc, Position("results", 0, at), raw=encode(n, doc), published_s=2e9 + at, headers=h)
            for at, (n, doc, h) in enumerate(self.messages)
        ]

    def audit(self, letters=(), **options):
        """Compare."""
        return audit_runs(iter(self.raw), iter(self.results()), letters, **options)


@pytest.fixture
def topics(tmp_path):
    """Make the topics of raw documents (by default one inline run of seven readings)."""

    def make(raw=None, **options):
        raw = documents(inline_run(FRAMES, metadata=METADATA)) if raw is None else raw
        return Topics(raw, _toy.Bench(list(raw), tmp_path, **options).run())

    return make


@pytest.fixture
def bench():
    return _toy.Bench


@pytest.fixture
def topics_of():
    """Make the topics of raw documents and the service that has answered them."""
    return Topics


@pytest.fixture
def toy():
    return _toy.Toy


@pytest.fixture
def frames():
    return FRAMES


@pytest.fixture
def metadata():
    return METADATA
