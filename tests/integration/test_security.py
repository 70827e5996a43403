"""Encryption, log-in and rights on the real broker: what works with them, and one sentence for what does not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from streamproc.cli import main
from streamproc.errors import ConfigurationError
from streamproc.settings import Settings
from streamproc.testing.makers import inline_run
from streamproc.transports.broker import ADMIN, SERVICE, Broker, Right, service_rights, toml_settings
from streamproc.transports.broker.certificates import make_certificates
from streamproc.transports.codec import decode, encode
from streamproc.transports.kafka import check_topics, ensure_topics
from streamproc.transports.kafka.connect import client_options, denied

pytestmark = pytest.mark.broker
TOY = Path(__file__).with_name("toy_consumer.py")
ANALYSIS = "phase-map"
LIMIT_S, PROCESS_LIMIT_S = 20.0, 90.0
"""A fault is said when it is met; the deadline of the connection is far beyond. A process also has to begin."""
PATIENT = {"connect_timeout_s": 300.0}


@pytest.fixture
def secured(secure_beamline):
    return secure_beamline(kafka=PATIENT)


def as_admin(secure_kafka, settings):
    own = settings.kafka.model_dump() | secure_kafka.kafka_table(ADMIN)
    return settings.model_copy(update={"kafka": type(settings.kafka)(**own)})


def config_file(folder, settings, analysis='[analysis.phase-map]\naxis_key = "two_theta"', **kafka):
    table = settings.kafka.model_dump(exclude_none=True) | kafka
    if not isinstance(password := table.pop("password", ""), str):
        password = password.get_secret_value()
    lines = [f'beamline = "{settings.beamline}"', "[kafka]"]
    table |= {key: str(value) for key, value in table.items() if isinstance(value, Path)}
    lines += [f"{key} = {json.dumps(value)}" for key, value in (table | {"password": password}).items()]
    path = folder / "beamline.toml"
    path.write_text("\n".join([*lines, analysis]))
    return path


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def check(capsys):
    """`streamproc topics check` (or what else of topics), in this process."""

    def call(config, what="check"):
        begin = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            main(["topics", what, "--analysis", ANALYSIS, "--config", str(config)])
        assert time.monotonic() - begin < LIMIT_S, "a fault is said at once"
        return Done(ended.value.code, *capsys.readouterr())

    return call


def run(config):
    """`streamproc run`, in a process of its own."""
    command = [sys.executable, "-m", "streamproc", "run", ANALYSIS, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_LIMIT_S)
    return Done(done.returncode, done.stdout, done.stderr)


def assert_refused(done, *words):
    """Exit code 2, and one sentence that has the words."""
    assert done.returncode == 2, done.stderr
    said = done.stderr.strip().splitlines()
    # A service may have logged that it begins; the sentence is the last line.
    assert said and said[-1].startswith("streamproc: "), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in said[-1], f"{word!r} is not in: {said[-1]}"
    return said[-1]


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_password_is_one_sentence(secured, check, command, tmp_path):
    config = config_file(tmp_path, secured, password="not-this-one")
    said = assert_refused(
        check(config) if command == "check" else run(config),
        "refuses the log-in of user",
        secured.kafka.username,
        "kafka.password",
    )
    assert "not-this-one" not in said


def test_an_unknown_user_is_one_sentence(secured, check, tmp_path):
    config = config_file(tmp_path, secured, username="nobody")
    assert_refused(check(config), "refuses the log-in of user 'nobody'", "kafka.username")


def test_a_mechanism_the_broker_does_not_offer_is_one_sentence(secured, check, tmp_path):
    config = config_file(tmp_path, secured, sasl_mechanism="PLAIN")
    assert_refused(check(config), "offers no log-in by PLAIN", "kafka.sasl_mechanism", "SCRAM-SHA-512")


def test_an_authority_that_did_not_sign_the_certificate_is_one_sentence(secured, check, tmp_path):
    other = make_certificates(tmp_path / "other", ["localhost"], 1.0).authority
    config = config_file(tmp_path, secured, ssl_cafile=other)
    assert_refused(check(config), "is not signed by kafka.ssl_cafile", str(other))


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_no_encryption_at_an_encrypted_port_is_one_sentence(secured, check, tmp_path, protocol):
    config = config_file(tmp_path, secured, security_protocol=protocol)
    assert_refused(check(config), "wants an encrypted connection", "set it to SASL_SSL", "kafka.ssl_cafile")


def test_no_log_in_at_a_port_that_wants_one_is_one_sentence(secured, check, tmp_path):
    config = config_file(tmp_path, secured, security_protocol="SSL")
    assert_refused(check(config), "wants a log-in", "set it to SASL_SSL", "SCRAM-SHA-512")


@pytest.mark.parametrize(
    ("protocol", "fault"),
    [
        ("SSL", "does not encrypt"),
        ("SASL_SSL", "does not encrypt"),
        ("SASL_PLAINTEXT", "takes no log-in"),
    ],
)
def test_encryption_or_log_in_at_a_plain_port_is_one_sentence(
    kafka, secured, check, tmp_path, protocol, fault
):
    config = config_file(tmp_path, secured, bootstrap=kafka, security_protocol=protocol)
    assert_refused(check(config), fault, "set it to PLAINTEXT", "kafka.bootstrap", kafka)


def test_an_expired_certificate_is_one_sentence(check, tmp_path):
    with Broker(tls=True, certificate_days=-1) as broker:
        settings = Settings(kafka=broker.kafka_table() | PATIENT)
        for command in (check, run):
            config = config_file(tmp_path, settings)
            assert_refused(command(config), "certificate", broker.bootstrap, "expired")


def test_a_topic_that_does_not_exist_is_one_sentence(secure_kafka, secured, check, tmp_path):
    own = {"raw_topic": f"{secured.beamline}.none"}
    secure_kafka.users.allow(secured.kafka.username, [Right("topic", own["raw_topic"], "read")])
    config = config_file(tmp_path, secured, **own)
    done = check(config)
    assert done.returncode == 2
    assert "problem: does not exist: make it with `streamproc topics create`" in done.stdout
    assert_refused(run(config), own["raw_topic"], "does not exist", "streamproc topics create")


def lacks(secure_kafka, settings, *rights):
    secure_kafka.users.withdraw(settings.kafka.username, rights)


@pytest.mark.parametrize(
    ("role", "operation"),
    [("raw", "read"), ("results", "write"), ("deadletters", "write"), ("state", "read"), ("state", "write")],
)
def test_a_missing_right_on_a_topic_is_one_sentence(secure_kafka, secured, check, tmp_path, role, operation):
    topic = secured.state_topic(ANALYSIS) if role == "state" else secured.topic(role)
    lacks(secure_kafka, secured, Right("topic", topic, operation))
    config = config_file(tmp_path, secured)
    expected = (f"user '{secured.kafka.username}' may not", operation.capitalize(), f"kafka.{role}_topic")
    done = check(config)
    assert done.returncode == 2
    (problem,) = [line for line in done.stdout.splitlines() if "problem" in line]
    assert all(word in problem for word in expected), problem
    assert_refused(run(config), topic, *expected)


def test_a_missing_right_on_the_transactional_id_is_one_sentence(secure_kafka, secured, tmp_path):
    prefix = f"{secured.group(ANALYSIS)}."
    lacks(secure_kafka, secured, Right("transactional_id", prefix, "write", prefix=True))
    assert_refused(
        run(config_file(tmp_path, secured)),
        f"user '{secured.kafka.username}' may not use transactional id {prefix}",
        "kafka.transactional_id",
        'service.delivery = "at-least-once"',
    )


def test_a_missing_right_on_the_group_is_one_sentence(secure_kafka, secured, tmp_path):
    group = secured.group(ANALYSIS)
    lacks(secure_kafka, secured, Right("group", group, "read"))
    assert_refused(run(config_file(tmp_path, secured)), secured.kafka.username, group, "kafka.group_id")


def test_topics_are_not_created_by_a_user_who_may_not(secured, check, tmp_path):
    config = config_file(tmp_path, secured, results_topic=f"{secured.beamline}.others")
    done = check(config, "create")
    assert done.returncode == 2 and f"{secured.beamline}.others" in done.stdout + done.stderr
    assert f"user '{secured.kafka.username}' may not" in done.stdout + done.stderr


def transact(settings, transactional_id, topics, consume=None):
    """One transaction with a message to each topic; with ``consume`` (topic, group) its position as well."""
    producer = KafkaProducer(
        **client_options(settings.kafka),
        transactional_id=transactional_id,
        allow_auto_create_topics=False,
        retry_backoff_ms=5,
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for topic in topics:
            producer.send(topic, b"value", key=b"key").get(timeout=20)
        if consume is not None:
            topic, group = consume
            consumer = KafkaConsumer(
                topic, **client_options(settings.kafka), group_id=group, allow_auto_create_topics=False
            )
            try:
                deadline_s = time.monotonic() + 30
                while not consumer.assignment():
                    assert time.monotonic() < deadline_s
                    consumer.poll(timeout_ms=500)
                position = {TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)}
                producer.send_offsets_to_transaction(position, consumer.group_metadata())
                producer.commit_transaction()
            finally:
                consumer.close()
        else:
            producer.commit_transaction()
    finally:
        producer.close(timeout=2)


def read_all(settings, topic):
    consumer = KafkaConsumer(
        **client_options(settings.kafka), auto_offset_reset="earliest", isolation_level="read_committed"
    )
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end, got = consumer.end_offsets([partition])[partition], []
        while consumer.position(partition) < end:
            got += [r.value for batch in consumer.poll(timeout_ms=500).values() for r in batch]
        return got
    finally:
        consumer.close()


def test_the_rights_of_a_service_suffice_for_its_work(secure_kafka, secured):
    topics = [secured.topic("results"), secured.topic("deadletters"), secured.state_topic(ANALYSIS)]
    group = secured.group(ANALYSIS)
    transact(secured, f"{group}.one", topics, consume=(secured.topic("raw"), group))
    assert read_all(secured, secured.state_topic(ANALYSIS)) == [b"value"]
    assert read_all(as_admin(secure_kafka, secured), secured.topic("results")) == [b"value"]


def forbidden(settings):
    """What a service has no business with."""
    group, raw = settings.group(ANALYSIS), settings.topic("raw")
    return {
        "write to the raw topic": lambda: transact(settings, f"{group}.two", [raw]),
        "read the results": lambda: read_all(settings, settings.topic("results")),
        "read the dead letters": lambda: read_all(settings, settings.topic("deadletters")),
        "use the id of others": lambda: transact(settings, f"{group}-other", [settings.topic("results")]),
        "use the group of others": lambda: transact(
            settings, f"{group}.two", [settings.topic("results")], consume=(raw, f"{group}-other")
        ),
        "write to a topic of others": lambda: transact(settings, f"{group}.two", ["others"]),
    }


@pytest.mark.parametrize("what", list(forbidden(Settings())))
def test_the_rights_of_a_service_allow_nothing_else(secure_kafka, secured, what):
    ensure_topics(
        Settings(beamline="others", kafka=secure_kafka.kafka_table(ADMIN) | {"raw_topic": "others"})
    )
    producer = KafkaProducer(**client_options(as_admin(secure_kafka, secured).kafka))
    for role in ("results", "deadletters"):
        producer.send(secured.topic(role), b"something to read", key=b"key").get(timeout=20)
    producer.close()
    with pytest.raises(KafkaError) as caught:
        forbidden(secured)[what]()
    refused = denied(caught.value, secured.kafka, what)
    assert refused is not None and refused.exit_code == 2
    assert f"user '{secured.kafka.username}' may not {what} at" in refused.message


def test_none_of_the_rights_of_a_service_is_superfluous(secured):
    """The tests above take each right away and see a service refused; this one sees that none was left out."""
    taken = {
        Right("topic", secured.topic("raw"), "read"),
        Right("topic", secured.topic("results"), "write"),
        Right("topic", secured.topic("deadletters"), "write"),
        Right("topic", secured.state_topic(ANALYSIS), "read"),
        Right("topic", secured.state_topic(ANALYSIS), "write"),
        Right("group", secured.group(ANALYSIS), "read"),
        Right("transactional_id", f"{secured.group(ANALYSIS)}.", "write", prefix=True),
    }
    rest = service_rights(secured, ANALYSIS) - taken
    assert {right.operation for right in rest} == {"describe_configs"} and len(rest) == 4


def test_without_the_right_to_see_its_properties_a_topic_is_still_checked(secure_kafka, secured):
    topics = [secured.topic("raw"), secured.topic("results"), secured.state_topic(ANALYSIS)]
    lacks(secure_kafka, secured, *(Right("topic", name, "describe_configs") for name in topics))
    reports = check_topics(secured, ANALYSIS)
    assert not [p for r in reports for p in r.problems]
    lacks(secure_kafka, secured, Right("topic", topics[1], "write"))
    assert ["may not" in str(r.problems) for r in reports] == [False] * 4
    assert ["may not" in str(r.problems) for r in check_topics(secured, ANALYSIS)].count(True) == 1


def test_idempotent_writing_without_any_right_to_write_names_the_user(secure_kafka, secured):
    user = f"reader-{secured.beamline}"
    secure_kafka.users.add(user)
    secure_kafka.users.allow(user, [Right("topic", secured.topic("results"), "describe")])
    settings = Settings(kafka=secure_kafka.kafka_table(user))
    producer = KafkaProducer(**client_options(settings.kafka), enable_idempotence=True)
    try:
        with pytest.raises(KafkaError) as caught:
            producer.send(secured.topic("results"), b"x").get(timeout=20)
    finally:
        producer.close(timeout=2)
    refused = denied(caught.value, settings.kafka, f"publish to {secured.topic('results')}")
    assert refused is not None
    assert user in refused.message and "IdempotentWrite" in refused.message


def test_who_only_reads_may_look_at_everything(secure_kafka, secured, tmp_path):
    user = f"reader-{secured.beamline}"
    secure_kafka.users.add(user)
    looks = [Right("topic", secured.topic(role), "read") for role in ("raw", "results", "deadletters")]
    secure_kafka.users.allow(user, looks)
    config = str(config_file(tmp_path, secured, **secure_kafka.kafka_table(user)))
    for arguments in (["audit", "--all"], ["dlq", "list"]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--config", config])
        assert ended.value.code == 0, arguments


def test_an_error_about_something_else_is_no_missing_right(secured):
    assert denied(KafkaError("disk full"), secured.kafka, "write") is None
    assert denied(ValueError("TopicAuthorizationFailedError"), secured.kafka, "write") is None


def test_a_service_analyses_over_an_encrypted_connection_with_its_rights_only(
    secure_kafka, secure_beamline, tmp_path
):
    settings = secure_beamline(analysis="toy")
    admin = as_admin(secure_kafka, settings)
    producer = KafkaProducer(**client_options(admin.kafka))
    frames = [np.full((8, 8), n + 1, np.uint16) for n in range(5)]
    for pair in inline_run(frames, uid="secure"):
        producer.send(settings.topic("raw"), encode(*pair), key=b"secure")
    producer.flush(30)
    producer.close()
    command = [sys.executable, "-m", "streamproc", "run", str(TOY), "--once", "--config"]
    done = subprocess.run(
        [*command, str(config_file(tmp_path, settings, analysis=""))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    results = [decode(value) for value in read_all(admin, settings.topic("results"))]
    (stop,) = [doc for name, doc in results if name == "stop"]
    assert stop["ledger"]["primary"]["done"] == 5


def test_users_certificates_and_rights_are_kept_with_the_folder(tmp_path):
    folder = tmp_path / "kept"
    with Broker(folder, tls=True) as broker:
        table = broker.kafka_table()
        settings = Settings(beamline="lab", kafka=table)
        ensure_topics(Settings(beamline="lab", kafka=broker.kafka_table(ADMIN)), analysis=ANALYSIS)
        broker.users.allow(SERVICE, service_rights(settings, ANALYSIS))
        secrets = [
            broker.users.file(SERVICE),
            *folder.glob("certificates/*.key"),
            *folder.glob("*/server.pem"),
        ]
        assert len(secrets) == 3 and all(path.stat().st_mode & 0o077 == 0 for path in secrets)
        port = int(broker.bootstrap.rpartition(":")[2])
    with Broker(folder, port, tls=True) as broker:
        assert broker.kafka_table() == table
        assert not [p for r in check_topics(settings, ANALYSIS) for p in r.problems]


def test_three_nodes_all_know_the_users_and_encrypt(tmp_path):
    with Broker(nodes=3, tls=True) as broker:
        broker.users.add("someone", 'a "quoted" \\ pass')
        broker.users.allow("someone", [Right("topic", "x.", "read", prefix=True)])
        for node in broker.nodes:
            kafka = broker.kafka_table("someone") | {"bootstrap": node.address}
            assert kafka["password"] == 'a "quoted" \\ pass'
            assert "does not exist" in str(check_topics(Settings(beamline="x", kafka=kafka))[0].problems)
            with pytest.raises(ConfigurationError, match="refuses the log-in"):
                check_topics(Settings(beamline="x", kafka=kafka | {"password": "another"}))
        broker.users.withdraw("someone", [Right("topic", "x.", "read", prefix=True)])
        assert "may not see it" in str(check_topics(Settings(beamline="x", kafka=kafka))[0].problems)
        broker.kill_node(0)
        broker.restart_node(0)
        check_topics(Settings(beamline="x", kafka=kafka | {"bootstrap": broker.nodes[0].address}))


def test_the_command_prints_a_table_to_paste_and_says_where_the_password_is(tmp_path):
    command = ["broker", "--tls", "--port", "0", "--create-topics", "lab", "--dir", str(tmp_path / "kept")]
    with subprocess.Popen(
        [sys.executable, "-m", "streamproc", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            told = ""
            for line in process.stderr:
                told += line
                if line.startswith("ready"):
                    break
            process.terminate()
        finally:
            printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    table = tomllib.loads(printed)
    assert table["beamline"] == "lab" and table["kafka"]["username"] == SERVICE
    secret = Path(told.partition(f"password of {SERVICE}: ")[2].splitlines()[0])
    whole = tomllib.loads(secret.read_text())
    assert secret.stat().st_mode & 0o777 == 0o600
    password = whole["kafka"].pop("password")
    assert whole == table and password not in printed + told
    assert tomllib.loads(toml_settings(table["kafka"], "lab")) == table
