"""The list of calls as Django REST framework's own tutorial would write it."""

from django.urls import path
from rest_framework import generics, pagination, serializers

from calls.models import Call


class CallSerializer(serializers.ModelSerializer[Call]):
    lead_name = serializers.CharField(source="lead.name")
    phone = serializers.CharField(source="lead.phone")

    class Meta:
        model = Call
        fields = (
            "id",
            "lead_id",
            "lead_name",
            "phone",
            "twilio_call_sid",
            "recording_url",
            "transcript",
            "summary",
            "duration",
            "language",
            "outcome",
            "started_at",
            "ended_at",
        )


class Pages(pagination.PageNumberPagination):
    page_size_query_param = "page_size"


class Calls(generics.ListAPIView[Call]):
    queryset = Call.objects.select_related("lead")
    serializer_class = CallSerializer
    pagination_class = Pages


urlpatterns = [path("api/calls/", Calls.as_view())]
