"""Runs ministack, with what its S3 lacks: the conditions on the destination of a copy (If-Match, If-None-Match), which it looks
at for uploads, and the tags of an upload in parts. AWS needs none of this.
"""

import os
import re
import signal
import sys
import threading
from urllib.parse import parse_qsl

from ministack.services import s3

copy_object = s3._copy_object


def copy_object_on_condition(bucket_name, dest_key, headers):
    bucket = s3._ensure_bucket(bucket_name)
    if bucket is not None:
        there = bucket.get("objects", {}).get(dest_key)
        refused = s3._check_put_preconditions(headers, there)
        if refused:
            return refused
        # What is left of them is not about the source.
        headers = {name: value for name, value in headers.items() if name not in ("if-match", "if-none-match")}
    return copy_object(bucket_name, dest_key, headers)


s3._copy_object = copy_object_on_condition

create_multipart_upload, complete_multipart_upload = s3._create_multipart_upload, s3._complete_multipart_upload
tags_of_uploads = {}


def create_multipart_upload_with_tags(bucket_name, key, headers):
    answer = create_multipart_upload(bucket_name, key, headers)
    found = re.search(rb"<UploadId>([^<]+)</UploadId>", answer[2] if isinstance(answer[2], bytes) else answer[2].encode())
    if found and headers.get("x-amz-tagging"):
        tags_of_uploads[found[1].decode()] = dict(parse_qsl(headers["x-amz-tagging"]))
    return answer


def complete_multipart_upload_with_tags(bucket_name, key, body, query_params, *rest, **named):
    answer = complete_multipart_upload(bucket_name, key, body, query_params, *rest, **named)
    upload_id = query_params.get("uploadId", "")
    tags = tags_of_uploads.pop(upload_id[0] if isinstance(upload_id, list) else upload_id, None)
    there = (s3._ensure_bucket(bucket_name) or {}).get("objects", {}).get(key)
    if tags and there is not None and answer[0] == 200:
        s3._object_tags[(bucket_name, key, there.get("version_id"))] = tags
    return answer


s3._create_multipart_upload = create_multipart_upload_with_tags
s3._complete_multipart_upload = complete_multipart_upload_with_tags


def end_with_stdin():
    """Ends this process and the functions that it runs when whoever started it is gone."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    if os.environ.get("FLEETCAST_STACK_FOLLOWS_STDIN"):
        os.setsid()
        threading.Thread(target=end_with_stdin, daemon=True).start()
    from ministack.app import main

    sys.exit(main())
