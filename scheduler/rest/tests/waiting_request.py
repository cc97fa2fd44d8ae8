"""Send `POST /api/waits/` with the key `k` in a process of its own, which is there to be killed."""

import django
from django.conf import settings

django.setup()
settings.ROOT_URLCONF = "scheduler.rest.tests.idempotent_urls"
settings.ALLOWED_HOSTS = ["*"]

if __name__ == "__main__":
    from django.test import Client

    headers = {"Idempotency-Key": "k"}
    answer = Client().post("/api/waits/", b"{}", content_type="application/json", headers=headers)
    print(answer.status_code)
