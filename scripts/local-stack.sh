#!/usr/bin/env bash
# The local stack without Docker: ministack, pinned by scripts/local-stack-requirements.txt, in a virtual environment of the
# project's own folder .local-stack/.
#
#   scripts/local-stack.sh install   installs it if that version is not there, and prints the path of its executable
#   scripts/local-stack.sh start     installs and starts it on 127.0.0.1, and waits until it answers
#   scripts/local-stack.sh stop      stops what start has started, with the functions it runs
#   scripts/local-stack.sh status    says whether it runs and answers; exit code 0 if so, 3 if not
#   scripts/local-stack.sh remove    stops it and removes .local-stack/
#
# FLEETCAST_LOCAL_STACK_PORT: its port (that of the one that was started last, else 4566). All that it has is in memory: what is
# stopped is gone. PYTHON: the interpreter to use (python3, 3.10 or newer).
set -euo pipefail
cd "$(dirname "$0")/.."

home=$PWD/.local-stack
venv=$home/venv
pid_file=$home/ministack.pid
log=$home/ministack.log
requirements=$PWD/scripts/local-stack-requirements.txt
port=${FLEETCAST_LOCAL_STACK_PORT:-$(cat "$home/port" 2>/dev/null || echo 4566)}
# Seconds until a start counts as failed; a cold one takes two to five.
start_seconds_max=60

fail() {
    echo "local-stack: $*" >&2
    exit 1
}

install() {
    if cmp -s "$requirements" "$venv/installed.txt" && [ -x "$venv/bin/ministack" ]; then
        return
    fi
    local python=${PYTHON:-python3}
    command -v "$python" >/dev/null || fail "$python is missing; install Python 3.10 or newer, with its venv module"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "$("$python" --version) is too old; ministack needs 3.10 or newer (PYTHON=… names another one)"
    mkdir -p "$home"
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2 || fail "no virtual environment could be made; Debian and Ubuntu have it in the package python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$requirements" >&2 ||
        fail "pip could not install $(grep -o '^ministack==[^ ]*' "$requirements"); its message is above"
    # Last: an installation that broke off is done again.
    cp "$requirements" "$venv/installed.txt"
}

# The process that start has started, if it still runs. A pid that now belongs to somebody else does not count.
running_pid() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) || return 1
    case $(ps -o command= -p "$pid" 2>/dev/null) in
        *scripts/local-stack.py*) echo "$pid" ;;
        *) return 1 ;;
    esac
}

answers() {
    "$venv/bin/python" - "$port" 2>/dev/null <<'PYTHON'
import sys, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/_ministack/health", timeout=2)
PYTHON
}

start() {
    install
    local pid
    if pid=$(running_pid); then
        answers || fail "process $pid runs but does not answer on port $port; see $log, or stop it first"
        echo "local-stack: runs already on http://127.0.0.1:$port (pid $pid)" >&2
        return
    fi
    "$venv/bin/python" -c 'import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", int(sys.argv[1])))' "$port" 2>/dev/null ||
        fail "port $port is taken by another program; FLEETCAST_LOCAL_STACK_PORT=… takes another port"
    # A session of its own: stop then reaches the functions that it runs, too.
    BIND_HOST=127.0.0.1 GATEWAY_PORT=$port nohup "$venv/bin/python" -c \
        'import os, sys; os.setsid(); os.execv(sys.executable, [sys.executable, sys.argv[1]])' \
        "$PWD/scripts/local-stack.py" >"$log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$pid_file"
    echo "$port" >"$home/port"
    local deadline=$((SECONDS + start_seconds_max))
    until answers; do
        kill -0 "$pid" 2>/dev/null || { tail -n 20 "$log" >&2; fail "it ended at once; its log is $log"; }
        [ "$SECONDS" -lt "$deadline" ] || { stop; fail "no answer on port $port within $start_seconds_max s; its log is $log"; }
        sleep 0.2
    done
    echo "local-stack: $("$venv/bin/pip" freeze --disable-pip-version-check | grep '^ministack==') on http://127.0.0.1:$port (pid $pid)" >&2
}

stop() {
    local pid
    if ! pid=$(running_pid); then
        rm -f "$pid_file"
        echo "local-stack: does not run" >&2
        return
    fi
    kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid"
    for _ in $(seq 50); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    # Whoever of its session is left after five seconds.
    kill -KILL -- "-$pid" 2>/dev/null || true
    rm -f "$pid_file" "$home/port"
    echo "local-stack: stopped (pid $pid)" >&2
}

case ${1:-} in
    install) install && echo "$venv/bin/ministack" ;;
    start) start ;;
    stop) stop ;;
    status)
        if pid=$(running_pid) && answers; then
            echo "local-stack: runs on http://127.0.0.1:$port (pid $pid)"
        else
            echo "local-stack: does not run; scripts/local-stack.sh start starts it"
            exit 3
        fi
        ;;
    remove) stop && rm -rf "$home" ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
