import pytest


@pytest.fixture
def staff(db):
    """A client with the token of a superuser called ada."""
    # pytest reads this file before Django is set up.
    from django.contrib.auth.models import User
    from django.test import Client

    from scheduler.models import StaffToken

    user = User.objects.create_superuser("ada")
    return Client(headers={"Authorization": f"Bearer {StaffToken.issue(user)[1]}"})
