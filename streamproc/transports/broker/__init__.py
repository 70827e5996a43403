"""Apache Kafka as a child process, for the demo, the tests and a laptop."""

from streamproc.transports.broker.jars import ensure_jars, kafka_version
from streamproc.transports.broker.process import Broker

__all__ = ["Broker", "ensure_jars", "kafka_version"]
