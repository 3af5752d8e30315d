"""A Kafka client that caches its API key: librdkafka, boto3, and AWS's caching library.

    client.py SECRET BOOTSTRAP

Reads commands from stdin, and writes a line when each one is done:

    authenticate  opens new connections with the cached key, and writes `accepted KEY` or `rejected KEY`. After a rejection, it
                  reads the secret again.
    pass SECONDS  sets the cache's clock forward, and writes `passed`. After an hour, the cache expires.

Every other failure ends the client.
"""

import json
import sys
import time
from datetime import datetime, timedelta

import boto3
from aws_secretsmanager_caching import SecretCache
from aws_secretsmanager_caching.cache import items
from confluent_kafka import KafkaError, Producer

# Seconds in which brokers on loopback respond, also on a busy machine.
TIME_LIMIT = 60


class Clock(datetime):
    """The clock of the caching library."""

    passed = timedelta()

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + cls.passed


class Report:
    """What librdkafka reports about its connections."""

    def __init__(self):
        self.up = set()
        self.error = None

    def on_error(self, error):
        # The first error is the cause of the others.
        self.error = self.error or error

    def on_statistics(self, statistics):
        brokers = json.loads(statistics)["brokers"].values()
        self.up = {broker["nodeid"] for broker in brokers if broker["state"] == "UP"}

    def wait(self, producer, are_connected):
        """Waits for connections, and returns whether the key is accepted."""
        deadline = time.monotonic() + TIME_LIMIT
        while not are_connected():
            producer.poll(1)
            if self.error and self.error.code() == KafkaError._AUTHENTICATION:
                return False
            if self.error or time.monotonic() > deadline:
                raise RuntimeError(f"connected to the brokers {self.up}: {self.error}")
        return True


def is_accepted(key, bootstrap):
    """Opens new connections to the bootstrap endpoint, and then to all brokers. Returns whether all of them accept the key."""
    report = Report()
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": key["apiKey"],
        "sasl.password": key["apiSecret"],
        # Connects to all brokers, as a client does whose topics have a partition on each of them.
        "enable.sparse.connections": False,
        # One attempt only: without these settings, librdkafka would retry.
        "metadata.recovery.strategy": "none",
        "reconnect.backoff.ms": 1000 * TIME_LIMIT,
        "reconnect.backoff.max.ms": 1000 * TIME_LIMIT,
        "error_cb": report.on_error,
        # Only the statistics report the connections.
        "statistics.interval.ms": 5,
        "stats_cb": report.on_statistics,
        # The errors are reported.
        "log_level": 0,
    })
    # Before a broker has accepted the key, list_topics would wait.
    if not report.wait(producer, lambda: report.up):
        return False
    brokers = set(producer.list_topics(timeout=TIME_LIMIT).brokers)
    return report.wait(producer, lambda: brokers <= report.up)


class Client:
    def __init__(self, secret, bootstrap):
        self.secret, self.bootstrap = secret, bootstrap
        self.cache = SecretCache(client=boto3.client("secretsmanager"))

    def authenticate(self):
        key = json.loads(self.cache.get_secret_string(self.secret))
        if is_accepted(key, self.bootstrap):
            return f"accepted {key['apiKey']}"
        self.cache.refresh_secret_now(self.secret)
        return f"rejected {key['apiKey']}"


def main():
    items.datetime = Clock
    # Milliseconds that many clients wait before they refresh, so that they don't all do it at the same time.
    items.SecretCacheObject.FORCE_REFRESH_JITTER_SLEEP = 0
    client = Client(*sys.argv[1:])
    for command in sys.stdin:
        match command.split():
            case ["authenticate"]:
                result = client.authenticate()
            case ["pass", seconds]:
                Clock.passed += timedelta(seconds=int(seconds))
                result = "passed"
        print(result, flush=True)


main()
