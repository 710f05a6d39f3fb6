"""What Stripe's own client sees: `check.py URL`, with a shop-server at URL."""

import sys
import threading
import time
import urllib.request
import uuid

import stripe

base = sys.argv[1]
stripe.api_base = base
stripe.api_key = "sk_test_" + uuid.uuid4().hex
stripe.max_network_retries = 4


def count():
    headers = {"Authorization": f"Bearer {stripe.api_key}"}
    with urllib.request.urlopen(urllib.request.Request(base + "/__orders", headers=headers)) as reply:
        return reply.read().decode()


def check(what, holds, seen):
    print(f"{'ok  ' if holds else 'FAIL'} {what}: {seen}")
    if not holds:
        sys.exit(1)


first = stripe.Customer.create(name="Ada", idempotency_key="k1")
again = stripe.Customer.create(name="Ada", idempotency_key="k1")
replayed = again.last_response.headers.get("idempotent-replayed")
check("a replay", (again.id, replayed) == (first.id, "true"), f"{again.id}, replayed {replayed}")

try:
    stripe.Customer.create(name="Bob", idempotency_key="k1")
    check("a mismatch", False, "no error")
except stripe.IdempotencyError as error:
    check("a mismatch", error.http_status == 400, f"{type(error).__name__}: {error.user_message}")

made = []
slow = {"name": "Slow", "metadata": {"sleep_ms": "1500"}, "idempotency_key": "k2"}
thread = threading.Thread(target=lambda: made.append(stripe.Customer.create(**slow).id))
thread.start()
time.sleep(0.3)
began = time.monotonic()
through = stripe.Customer.create(**slow)
waited = time.monotonic() - began
thread.join()
check("through 409s", made == [through.id] and waited > 0.5, f"{through.id} after {waited:.1f} s of retries")

before = count()
for attempt in ("first", "again"):
    began = time.monotonic()
    try:
        stripe.Customer.create(name="fail500", idempotency_key="k3")
        check(f"a kept 500, {attempt}", False, "no error")
    except stripe.APIError as error:
        took = time.monotonic() - began
        replayed = (error.headers or {}).get("idempotent-replayed")
        right = error.http_status == 500 and took < 0.4 and (replayed == "true") == (attempt == "again")
        check(f"a kept 500, {attempt}", right, f"status 500, replayed {replayed}, {took * 1000:.0f} ms: not retried")

try:
    stripe.Customer.create(email="nobody", idempotency_key="k4")
    check("an invalid request", False, "no error")
except stripe.InvalidRequestError as error:
    check("an invalid request", error.http_status == 400, f"{type(error).__name__}")
mended = stripe.Customer.create(email="a@example.com", idempotency_key="k4")
check("mended, with its key", mended.email == "a@example.com", mended.id)

check("customers made", count() == '{"count":4}', f"{count()} (before the failures: {before})")
