from __future__ import annotations

import time

import pytest
from kafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from streamproc.transports.kafka.connect import patiently


def failing(times, error):
    answers = iter([error] * times + ["done"])

    def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


def test_what_fails_because_a_node_just_died_is_tried_again():
    assert patiently(failing(3, KafkaConnectionError("refused")), 30.0) == "done"


def test_what_does_not_pass_is_raised_at_once():
    begun = time.monotonic()
    with pytest.raises(TopicAuthorizationFailedError):
        patiently(failing(1, TopicAuthorizationFailedError()), 600.0)
    assert time.monotonic() - begun < 60.0


def test_after_its_time_the_failure_is_raised():
    with pytest.raises(KafkaConnectionError):
        patiently(failing(10**6, KafkaConnectionError("refused")), 0.3)
