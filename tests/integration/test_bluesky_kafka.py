"""bluesky-kafka itself on the other side: its Publisher feeds our source, our sink feeds its consumers."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time

import event_model
import numpy as np
import pytest

from streamproc.documents import Document
from streamproc.transports.codec import encode
from streamproc.transports.kafka import KafkaSink, KafkaSource
from streamproc.transports.ports import Outgoing

pytestmark = pytest.mark.broker


def run_script(code, *arguments):
    """Run code in a process of its own: importing bluesky_kafka patches msgpack for the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain(value):
    """Documents as JSON can compare them: arrays by type and content, tuples as lists."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.tolist()]
    if isinstance(value, np.generic):
        return [value.dtype.str, value.item()]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


PUBLISH = """
    import json, sys
    import numpy as np
    from bluesky import RunEngine
    from bluesky.plans import count
    from bluesky_kafka import Publisher
    from ophyd.sim import SynSignal
    sys.path.insert(0, sys.argv[3])
    from test_bluesky_kafka import plain
    topic, bootstrap = sys.argv[1:3]
    rng = np.random.default_rng(0)
    image = SynSignal(name="image", func=lambda: rng.integers(0, 9, (300, 200), dtype=np.uint16))
    scalar = SynSignal(name="scalar", func=lambda: np.float32(2.5))
    engine = RunEngine({})
    publisher = Publisher(topic, bootstrap, "the-key", {"acks": "all"})
    said = []
    engine.subscribe(publisher)
    engine.subscribe(lambda name, doc: said.append([name, plain(doc)]))
    engine(count([image, scalar], num=3), sample="a", tags=("x", "y"), raw=b"bytes")
    publisher.flush()
    print(json.dumps(said, default=lambda b: ["bytes", list(b)]))
"""


def test_what_bluesky_kafkas_publisher_sends_is_read_as_it_was_made(beamline):
    settings = beamline()
    said = json.loads(
        run_script(PUBLISH, settings.topic("raw"), settings.kafka.bootstrap, str(__file__).rsplit("/", 1)[0])
    )
    source = KafkaSource(settings.kafka, settings.topic("raw"), settings.group("test"))
    got, end = [], time.monotonic() + 30
    while len(got) < len(said) and time.monotonic() < end:
        got += source.poll(0.2)
    source.close()
    assert all(isinstance(m, Document) for m in got)
    heard = json.loads(
        json.dumps([[m.name, plain(m.doc)] for m in got], default=lambda b: ["bytes", list(b)])
    )
    assert heard == said
    assert {m.key for m in got} == {b"the-key"}
    assert [m.name for m in got] == ["start", "descriptor", "event", "event", "event", "stop"]


def result_run():
    """A small valid run, made by event-model, with an array and numpy scalars in it."""
    run = event_model.compose_run(metadata={"original_run_uid": "raw", "plan_name": "count"})
    descriptor = run.compose_descriptor(
        name="primary",
        data_keys={
            "y": {"dtype": "number", "shape": [], "source": "s", "units": "1"},
            "curve": {"dtype": "array", "shape": [4], "dtype_numpy": "<f8", "source": "s"},
        },
    )
    documents = [("start", run.start_doc), ("descriptor", descriptor.descriptor_doc)]
    for i in range(3):
        data = {"y": np.float32(i), "curve": np.arange(4.0)[::-1] * i}
        documents.append(
            (
                "event",
                descriptor.compose_event(data=data, timestamps={"y": 1.0, "curve": 1.0}, validate=False),
            )
        )
    documents.append(("stop", run.compose_stop()))
    return documents


REMOTE_DISPATCHER = """
    import json, sys, time
    from bluesky_kafka import RemoteDispatcher
    sys.path.insert(0, sys.argv[3])
    from test_bluesky_kafka import plain
    topic, bootstrap = sys.argv[1:3]
    dispatcher = RemoteDispatcher([topic], bootstrap, "watchers", {"auto.offset.reset": "earliest"})
    heard = []
    dispatcher.subscribe(lambda name, doc: heard.append([name, plain(doc)]))
    end = time.monotonic() + 60
    dispatcher.start(continue_polling=lambda: time.monotonic() < end and (not heard or heard[-1][0] != "stop"))
    print(json.dumps(heard))
"""
BLUESKY_CONSUMER = """
    import json, sys, time
    from bluesky_kafka import BlueskyConsumer
    sys.path.insert(0, sys.argv[3])
    from test_bluesky_kafka import plain
    topic, bootstrap = sys.argv[1:3]
    heard = []
    consumer = BlueskyConsumer([topic], bootstrap, "others", {"auto.offset.reset": "earliest"},
        process_document=lambda consumer, topic, name, doc: heard.append([name, plain(doc)]))
    end = time.monotonic() + 60
    consumer.start(continue_polling=lambda: time.monotonic() < end and (not heard or heard[-1][0] != "stop"))
    print(json.dumps(heard))
"""


@pytest.mark.parametrize(
    "script", [REMOTE_DISPATCHER, BLUESKY_CONSUMER], ids=["RemoteDispatcher", "Consumer"]
)
def test_what_our_sink_publishes_reaches_bluesky_kafkas_consumers_unchanged(beamline, script):
    settings = beamline()
    documents = result_run()
    sink = KafkaSink(settings.kafka, settings.delivery)
    sink.deliver([Outgoing(settings.topic("results"), b"uid", encode(*d)) for d in documents], {})
    sink.close()
    heard = json.loads(
        run_script(
            script, settings.topic("results"), settings.kafka.bootstrap, str(__file__).rsplit("/", 1)[0]
        )
    )
    assert heard == json.loads(json.dumps([[n, plain(d)] for n, d in documents]))
    for name, doc in heard:
        if name != "event":
            event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
