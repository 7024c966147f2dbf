"""Runs ministack, with the calls added that its Step Functions cannot make to its own S3: copies in parts.

Its S3 has them; what is missing is how Step Functions' integration of the SDK spells them over HTTP. AWS and LocalStack need
none of this.
"""

import os
import signal
import sys
import threading

from ministack.services import stepfunctions

PARTS = {
    "CreateMultipartUpload": {
        "method": "POST", "path": "/{Bucket}/{Key+}",
        "static_query": (("uploads", ""),),
        "result_root": "InitiateMultipartUploadResult",
    },
    "UploadPartCopy": {
        "method": "PUT", "path": "/{Bucket}/{Key+}",
        "query_params": {"PartNumber": "partNumber", "UploadId": "uploadId"},
        "header_params": {"CopySource": "x-amz-copy-source", "CopySourceRange": "x-amz-copy-source-range"},
        "result_root": "CopyPartResult",
    },
    "CompleteMultipartUpload": {
        "method": "POST", "path": "/{Bucket}/{Key+}",
        "query_params": {"UploadId": "uploadId"},
        "body_field": "MultipartUpload", "body_root": "CompleteMultipartUpload",
        "result_root": "CompleteMultipartUploadResult",
    },
    "AbortMultipartUpload": {
        "method": "DELETE", "path": "/{Bucket}/{Key+}",
        "query_params": {"UploadId": "uploadId"},
        "result_root": None,
    },
}

for operation, spec in PARTS.items():
    stepfunctions._S3_OP_SPECS.setdefault(operation, spec)

build_body = stepfunctions._rest_xml_build_body


def build_body_with_parts(root_name, payload, *rest, **named):
    if root_name == "CompleteMultipartUpload" and isinstance(payload, dict) and "Parts" in payload:
        payload = {"Part": payload["Parts"]}
    return build_body(root_name, payload, *rest, **named)


stepfunctions._rest_xml_build_body = build_body_with_parts


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
