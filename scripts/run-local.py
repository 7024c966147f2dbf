#!/usr/bin/env python3
"""Runs one function of the pipeline here, for one event, and prints its answer: the binary that is deployed, with Lambda's runtime interface as
this script serves it. Its services are those of a local stack.

    scripts/run-local.py FUNCTION [EVENT]

EVENT is a file of JSON, `-` for standard input, or the sample in crates/lambdas/events where absent. What the function says goes to stderr. Exit
code 0 with its answer on stdout; 1 where it has failed, with its error there; 2 for what makes no sense.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parent.parent
EVENTS = ROOT / "crates/lambdas/events"
FUNCTIONS = ["build-worker", "pipeline-action", "region-copier", "regional-sync", "replication-worker", "step-function-invoker"]
# What terraform/ and `harness bootstrap` tell functions, as a local stack has it; the environment may say otherwise.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "GLOBAL_BUCKET": "global-builds",
    "DESTINATION_BUCKETS": "region-a-builds,region-b-builds",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:file-copy-workflow",
    "RUST_LOG": "info",
}


def arguments():
    parser = argparse.ArgumentParser(description="Runs one function of the pipeline here, for one event, and prints its answer.")
    parser.add_argument("function", choices=FUNCTIONS)
    parser.add_argument("event", nargs="?", help="a file of JSON, or - for standard input; the sample of the function where absent")
    parser.add_argument("--endpoint-url", default=os.environ.get("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"), help="where the local stack answers")
    parser.add_argument("--binary", type=pathlib.Path, help="the function's binary; built by cargo where absent")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="after which the function is given up")
    return parser.parse_args()


def event_of(given):
    path = given.event or EVENTS / f"{given.function}.json"
    try:
        text = sys.stdin.read() if path == "-" else pathlib.Path(path).read_text()
        return json.loads(text)
    except (OSError, ValueError) as error:
        sys.exit(f"run-local: {path} is no event: {error}; expected a file of JSON, such as those in {EVENTS.relative_to(ROOT)}")


class Runtime(BaseHTTPRequestHandler):
    """Lambda's runtime interface, for one invocation, and a CodePipeline that hears how jobs go."""

    def do_GET(self):
        if not self.path.endswith("/runtime/invocation/next"):
            return self.answer(404, {})
        if self.server.was_asked.is_set():
            # There is no other event: it waits until it is ended.
            self.server.ended.wait()
            return self.answer(410, {})
        self.server.was_asked.set()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": "run-local",
            "Lambda-Runtime-Deadline-Ms": "9999999999999",
            "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:us-east-1:000000000000:function:{self.server.function}",
        }
        return self.answer(200, self.server.event, headers)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        told = json.loads(body or b"{}")
        report = self.headers.get("x-amz-target", "").partition("CodePipeline_20150709.")[2]
        if report:
            print(f"CodePipeline hears {report}: {json.dumps(told)}", file=sys.stderr)
            return self.answer(200, {})
        went_well = self.path.endswith("/response")
        self.answer(202, {"status": "OK"})
        if went_well or self.path.endswith("/error"):
            self.server.outcome = (went_well, told)
            self.server.ended.set()

    def answer(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def built(function):
    command = ["cargo", "build", "--quiet", "-p", "lambdas", "--bin", function]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        sys.exit(f"run-local: `{' '.join(command)}` has failed; its message is above")
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / function


def main():
    given = arguments()
    event = event_of(given)
    binary = given.binary or built(given.function)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
    server.daemon_threads = True
    server.event, server.function, server.outcome = event, given.function, None
    server.was_asked, server.ended = threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"127.0.0.1:{server.server_address[1]}"
    environment = {
        **ENVIRONMENT,
        **os.environ,
        "AWS_ENDPOINT_URL": given.endpoint_url,
        # No stack has this one.
        "AWS_ENDPOINT_URL_CODEPIPELINE": f"http://{here}",
        "AWS_LAMBDA_RUNTIME_API": here,
        "AWS_LAMBDA_FUNCTION_NAME": given.function,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "run-local",
        "AWS_LAMBDA_LOG_STREAM_NAME": "run-local",
    }
    process = subprocess.Popen([binary], env=environment, stdout=sys.stderr)
    # One that ends before it has answered has said why.
    threading.Thread(target=lambda: (process.wait(), server.ended.set()), daemon=True).start()
    server.ended.wait(given.timeout)
    process.kill()
    if server.outcome is None:
        sys.exit(f"run-local: {given.function} has not answered; what it says is above")
    went_well, answer = server.outcome
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    sys.exit(0 if went_well else 1)


if __name__ == "__main__":
    main()
