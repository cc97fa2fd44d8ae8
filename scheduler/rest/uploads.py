"""How large a request with files may be; the files themselves go to the disk, in pieces."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler


class UploadLimit(FileUploadHandler):
    """Refuse a request above settings.LARGEST_UPLOAD before its body is read; the first of all handlers."""

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: Any = None
    ) -> None:
        if content_length > settings.LARGEST_UPLOAD:
            raise RequestDataTooBig("The request has more bytes than LARGEST_UPLOAD.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None
