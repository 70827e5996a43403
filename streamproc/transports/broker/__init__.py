"""Apache Kafka as a child process, for the demo, the tests and a laptop."""

from streamproc.transports.broker.jars import ensure_jars, kafka_version
from streamproc.transports.broker.process import Broker
from streamproc.transports.broker.properties import ADMIN
from streamproc.transports.broker.users import SERVICE, toml_settings
from streamproc.transports.kafka.users import Right, service_rights

__all__ = [
    "ADMIN",
    "SERVICE",
    "Broker",
    "Right",
    "ensure_jars",
    "kafka_version",
    "service_rights",
    "toml_settings",
]
