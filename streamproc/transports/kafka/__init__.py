"""Apache Kafka through kafka-python; nothing outside this package imports the client."""

from streamproc.transports.kafka.connect import broker_addresses, client_options
from streamproc.transports.kafka.sink import KafkaSink
from streamproc.transports.kafka.source import KafkaSource
from streamproc.transports.kafka.state import KafkaState
from streamproc.transports.kafka.topics import TopicReport, check_topics, ensure_topics
from streamproc.transports.kafka.transactions import TransactionalSink

__all__ = [
    "KafkaSink",
    "KafkaSource",
    "KafkaState",
    "TopicReport",
    "TransactionalSink",
    "broker_addresses",
    "check_topics",
    "client_options",
    "ensure_topics",
]
