"""Outpost's PyPI client, unmodified, against a Waybill server.

tests/sdk/python.test.mjs starts the server and tells of it in the environment. The client holds every answer against its
models and throws when one does not fit, so that every call tests the shape besides the values.
"""

import asyncio
import datetime
import json
import os
import time
import unittest
import urllib.request

import outpost_sdk.models as m
from outpost_sdk import Outpost, errors

import compare

BASE = os.environ["WAYBILL_URL"]
KEY = os.environ["WAYBILL_KEY"]
RECEIVER = os.environ["WAYBILL_RECEIVER"]
TOPICS = ["user.created", "user.updated", "order.created", "heartbeat"]
AWS = {"key": "AKIAIOSFODNN7EXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}

# What Outpost's clients read and Waybill does not say, with the reason.
KNOWN_DIFFERENCES = {
    "destination type cloudflare_queues": "no such destination type",
    "listAttempts ?destination_type: does not take cloudflare_queues": "no such destination type",
    "listDestinations ?type: does not take cloudflare_queues": "no such destination type",
    "measureAttempts ?filters[destination_type]: does not take cloudflare_queues": "no such destination type",
    "getAttempt latency_ms": "duration_ms says it",
    "listAttempts models[].latency_ms": "duration_ms says it",
    "measureAttempts ?measures: does not take avg_latency": "no such measures",
    "getAttempt destination.filter: may be string": "these clients get an object",
    "listAttempts models[].destination.filter: may be string": "these clients get an object",
    "getDestinationType setup_link": "instructions say it",
    "listDestinationTypes setup_link": "instructions say it",
}


def api(method, path, body=None):
    """The API without a client."""
    request = urllib.request.Request(BASE + "/api/v1" + path, method=method, data=json.dumps(body).encode() if body is not None else None,
                                     headers={"Authorization": "Bearer " + KEY, "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def eventually(ask, what):
    end = time.monotonic() + 60
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(what + " did not come about")
        time.sleep(0.025)


def given(value):
    """A value as a dict or None, however the client says that there is none."""
    return value if isinstance(value, dict) and value else None


def webhook(**more):
    return {"type": "webhook", "topics": "*", "config": {"url": RECEIVER}, **more}


class Tests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.outpost = Outpost(api_key=KEY, server_url=BASE + "/api/v1")

    def tenant(self, name):
        self.outpost.tenants.upsert(tenant_id=name)
        return name

    def test_health_topics_types(self):
        self.assertEqual(self.outpost.health.check().status, "healthy")
        self.assertEqual(sorted(self.outpost.topics.list()), sorted(TOPICS))
        types = {t.type: t for t in self.outpost.schemas.list_destination_types()}
        self.assertLessEqual({"webhook", "aws_sqs", "aws_eventbridge", "rabbitmq", "kafka"}, set(types))
        one = self.outpost.schemas.get_destination_type(type_="aws_eventbridge")
        self.assertEqual([f.key for f in one.credential_fields], [f.key for f in types["aws_eventbridge"].credential_fields])

    def test_tenants(self):
        made = self.outpost.tenants.upsert(tenant_id="py-tenant", body={"metadata": {"plan": "pro"}})
        self.assertEqual((made.id, made.metadata, made.destinations_count, made.topics), ("py-tenant", {"plan": "pro"}, 0, []))
        self.assertEqual(self.outpost.tenants.get(tenant_id="py-tenant").created_at, made.created_at)
        self.outpost.tenants.upsert(tenant_id="py-tenant-2")
        page = self.outpost.tenants.list(request={"id": ["py-tenant", "py-tenant-2"], "limit": 1})
        self.assertEqual((len(page.models), page.pagination.limit), (1, 1))
        token = self.outpost.tenants.get_token(tenant_id="py-tenant")
        own = Outpost(api_key=token.token, server_url=BASE + "/api/v1")
        self.assertEqual(own.tenants.get(tenant_id="py-tenant").id, "py-tenant")
        with self.assertRaises(errors.NotFoundError):
            own.destinations.list(tenant_id="py-tenant-2")
        self.assertIn(BASE, self.outpost.tenants.get_portal_url(tenant_id="py-tenant").redirect_url)
        self.assertTrue(self.outpost.tenants.delete(tenant_id="py-tenant-2").success)
        with self.assertRaises(errors.NotFoundError):
            self.outpost.tenants.get(tenant_id="py-tenant-2")

    def test_every_type(self):
        tenant = self.tenant("py-types")
        for kind, config, credentials in [
            ("webhook", {"url": "https://example.com/hooks"}, None),
            ("hookdeck", None, {"token": "c3JjXzEyMzQ6a2V5"}),
            ("aws_sqs", {"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}, AWS),
            ("aws_kinesis", {"stream_name": "orders", "region": "eu-west-1"}, AWS),
            ("aws_s3", {"bucket": "orders-archive", "region": "eu-west-1"}, AWS),
            ("aws_eventbridge", {"region": "eu-west-1"}, AWS),
            ("aws_eventbridge", {"region": "eu-west-1", "event_bus_name": "orders"}, AWS),
            ("gcp_pubsub", {"project_id": "shop-1234", "topic": "orders", "endpoint": "pubsub.googleapis.com:443"},
             {"service_account_json": '{"type": "service_account"}'}),
            ("azure_servicebus", {"name": "orders"},
             {"connection_string": "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0"}),
            ("rabbitmq", {"server_url": "rabbitmq.example.com:5672", "exchange": "orders"}, {"username": "shop", "password": "a secret"}),
            ("kafka", {"brokers": "kafka.example.com:9092", "topic": "orders", "sasl_mechanism": "scram-sha-256", "tls": "true"},
             {"username": "shop", "password": "a secret"}),
        ]:
            with self.subTest(kind, config=config):
                body = {"type": kind, "topics": ["order.created"], **({"config": config} if config else {}), **({"credentials": credentials} if credentials else {})}
                made = self.outpost.destinations.create(tenant_id=tenant, body=body)
                self.assertEqual(made.type, kind)
                for key, value in (config or {}).items():
                    self.assertEqual(getattr(made.config, key), value)
                got = self.outpost.destinations.get(tenant_id=tenant, destination_id=made.id)
                self.assertEqual((got.id, got.config), (made.id, made.config))
                changed = self.outpost.destinations.update(tenant_id=tenant, destination_id=made.id, body={"type": kind, "topics": "*"})
                self.assertEqual(changed.config, made.config)
                with self.assertRaises(errors.APIErrorResponse) as refused:
                    self.outpost.destinations.create(tenant_id=tenant, body={**body, "topics": ["order.unheard-of"]})
                self.assertEqual(refused.exception.status_code, 422)
        self.assertEqual(len(self.outpost.destinations.list(tenant_id=tenant)), 11)
        self.assertEqual({d.type for d in self.outpost.destinations.list(tenant_id=tenant, type_=["aws_eventbridge", "kafka"])}, {"aws_eventbridge", "kafka"})

    def test_what_the_client_cannot_read(self):
        tenant = self.tenant("py-mixed")
        path = f"/tenants/{tenant}/destinations"
        self.outpost.destinations.create(tenant_id=tenant, body=webhook(id="hook"))
        api("POST", path, webhook(id="search", filter="total:>=10 AND currency:EUR"))
        api("POST", path, webhook(id="expression", filter={"$expr": "data.total >= 10"}))
        api("POST", path, {"id": "inbox", "type": "echo", "topics": "*"})
        api("POST", path, {"id": "plain", "type": "kafka", "topics": "*", "config": {"brokers": "kafka.example.com:9092", "topic": "orders"}})
        seen = {d.id: d for d in self.outpost.destinations.list(tenant_id=tenant)}
        self.assertEqual(set(seen), {"hook", "search", "expression"})
        self.assertEqual(seen["search"].filter_, {"$search": "total:>=10 AND currency:EUR"})
        self.assertEqual(self.outpost.tenants.get(tenant_id=tenant).destinations_count, 5)
        with self.assertRaises(errors.OutpostError) as refused:
            self.outpost.destinations.disable(tenant_id=tenant, destination_id="inbox")
        self.assertEqual(refused.exception.status_code, 406)
        self.assertIsNone(api("GET", path + "/inbox")["disabled_at"])
        self.outpost.destinations.update(tenant_id=tenant, destination_id="search", body={"type": "webhook", "filter": seen["search"].filter_})
        self.assertEqual(api("GET", path + "/search")["filter"], "total:>=10 AND currency:EUR")
        self.assertEqual(self.outpost.destinations.list(tenant_id="demo"), [])

        # Within an attempt it takes any type.
        self.outpost.publish(request={"id": "py-mixed-1", "tenant_id": tenant, "topic": "order.created", "data": {"total": 20, "currency": "EUR"}})
        found = eventually(lambda: [a for a in self.attempts(event_id="py-mixed-1", include=["destination", "event"]) if a.destination_id == "inbox"], "the attempt")
        self.assertEqual((found[0].destination.type, found[0].event.destination_id), ("echo", "inbox"))

    def attempts(self, **request):
        return self.outpost.attempts.list(request=request).models

    def test_merge_patch(self):
        tenant = self.tenant("py-patch")
        at = {"tenant_id": tenant, "destination_id": "hook"}
        self.outpost.destinations.create(tenant_id=tenant, body=webhook(
            id="hook", filter={"total": {"$gte": 10}}, metadata={"a": "1", "b": "2"}, delivery_metadata={"a": "1", "b": "2"}))

        def change(**patch):
            return self.outpost.destinations.update(**at, body={"type": "webhook", **patch})

        for field in ("metadata", "delivery_metadata"):
            with self.subTest(field):
                self.assertEqual(getattr(change(**{field: {"c": "3"}}), field), {"a": "1", "b": "2", "c": "3"})
                self.assertEqual(getattr(change(**{field: {"a": "4"}}), field), {"a": "4", "b": "2", "c": "3"})
                self.assertEqual(getattr(change(topics=["order.created"]), field), {"a": "4", "b": "2", "c": "3"})
                self.assertEqual(getattr(change(**{field: {}}), field), {"a": "4", "b": "2", "c": "3"})
                self.assertIsNone(given(getattr(change(**{field: None}), field)))
        self.assertEqual(change(metadata={"x": "1"}).filter_, {"total": {"$gte": 10}})
        self.assertEqual(change(filter={"currency": "EUR"}).filter_, {"currency": "EUR"})
        self.assertIsNone(given(change(filter=None).filter_))

    def test_state_and_secret(self):
        tenant = self.tenant("py-state")
        at = {"tenant_id": tenant, "destination_id": "hook"}
        made = self.outpost.destinations.create(tenant_id=tenant, body=webhook(id="hook"))
        self.assertIsNotNone(self.outpost.destinations.disable(**at).disabled_at)
        self.assertIsNone(self.outpost.destinations.enable(**at).disabled_at)
        rotated = self.outpost.destinations.update(**at, body={"type": "webhook", "credentials": {"rotate_secret": True}})
        self.assertNotEqual(rotated.credentials.secret, made.credentials.secret)
        self.assertEqual(rotated.credentials.previous_secret, made.credentials.secret)
        self.assertTrue(self.outpost.destinations.delete(**at).success)

    def test_events_attempts_retry_metrics(self):
        tenant = self.tenant("py-events")
        self.outpost.destinations.create(tenant_id=tenant, body=webhook(id="hook"))
        when = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) - datetime.timedelta(minutes=5)
        request = {"id": "py-1", "tenant_id": tenant, "topic": "order.created", "time": when, "metadata": {"k": "v"}, "data": {"deep": [1, None, "ü"]}}
        first = self.outpost.publish(request=request)
        self.assertEqual((first.id, first.duplicate, first.destination_ids), ("py-1", False, ["hook"]))
        self.assertTrue(self.outpost.publish(request=request).duplicate)
        attempt = eventually(lambda: self.attempts(tenant_id=tenant), "the attempt")[0]
        self.assertEqual((attempt.status, attempt.code, attempt.attempt_number, attempt.manual), ("success", "200", 1, False))
        event = self.outpost.events.get(event_id="py-1")
        self.assertEqual((event.time, event.metadata, event.data, event.matched_destination_ids), (when, {"k": "v"}, {"deep": [1, None, "ü"]}, ["hook"]))
        full = self.outpost.attempts.get(attempt_id=attempt.id, include=["event.data", "response_data", "destination"])
        self.assertEqual((full.event.data, full.event.destination_id, full.destination.id), (event.data, "hook", "hook"))
        self.assertIn("body", full.response_data)
        self.assertTrue(self.outpost.retry(request={"event_id": "py-1", "destination_id": "hook"}).success)
        manual = eventually(lambda: [a for a in self.attempts(tenant_id=tenant) if a.manual], "the retry")[0]
        self.assertEqual(manual.attempt_number, 2)

        for n in range(3):
            self.outpost.publish(request={"id": f"py-page-{n}", "tenant_id": tenant, "topic": "heartbeat", "data": {"n": n}})
        seen, cursor = [], {}
        while cursor is not None:
            page = self.outpost.events.list(request={"tenant_id": tenant, "limit": 3, **cursor})
            seen += [e.id for e in page.models]
            cursor = {"next_cursor": page.pagination.next_cursor} if page.pagination.next_cursor else None
        self.assertEqual(sorted(seen), ["py-1", "py-page-0", "py-page-1", "py-page-2"])
        heart = self.outpost.events.list(request={"tenant_id": tenant, "topic": ["heartbeat"]})
        self.assertEqual(len(heart.models), 3)

        span = {"start": when - datetime.timedelta(hours=1), "end": datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1)}
        figures = self.outpost.metrics.get_event_metrics(request={"time": span, "measures": ["count"], "filters_tenant_id": tenant})
        self.assertEqual([p.metrics["count"] for p in figures.data], [4])
        eventually(lambda: len(self.attempts(tenant_id=tenant)) == 5, "all attempts")
        figures = self.outpost.metrics.get_attempt_metrics(request={"time": span, "measures": ["count", "error_rate"], "dimensions": ["status"], "filters_tenant_id": tenant})
        self.assertEqual([(p.dimensions, p.metrics["count"]) for p in figures.data], [({"status": "success"}, 5)])

    def test_refusals(self):
        tenant = self.tenant("py-refused")
        self.outpost.destinations.create(tenant_id=tenant, body=webhook(id="once"))
        for status, call in [
            (400, lambda: self.outpost.destinations.create(tenant_id=tenant, body=webhook(id="once"))),
            (422, lambda: self.outpost.destinations.create(tenant_id=tenant, body=webhook(config={"url": "nonsense"}))),
            (422, lambda: self.outpost.destinations.create(tenant_id=tenant, body=webhook(topics=[]))),
            (404, lambda: self.outpost.destinations.get(tenant_id=tenant, destination_id="no such thing")),
            (404, lambda: self.outpost.events.get(event_id="py-none")),
            (401, lambda: Outpost(api_key="wb_nobody", server_url=BASE + "/api/v1").topics.list()),
        ]:
            with self.assertRaises(errors.OutpostError) as refused:
                call()
            self.assertEqual(refused.exception.status_code, status, refused.exception.message)

    def test_asynchronously(self):
        async def run():
            async with Outpost(api_key=KEY, server_url=BASE + "/api/v1") as outpost:
                await outpost.tenants.upsert_async(tenant_id="py-async")
                return await outpost.destinations.create_async(tenant_id="py-async", body=webhook())
        self.assertEqual(asyncio.run(run()).type, "webhook")

    def test_every_member_of_the_models(self):
        with urllib.request.urlopen(BASE + "/openapi.json") as answer:
            found = compare.differences(json.load(answer))
        unknown = [line for line in found if not any(line.startswith(known) for known in KNOWN_DIFFERENCES)]
        self.assertEqual(unknown, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
