#!/usr/bin/env bash
# The whole pipeline on this machine.
#
#   ./get-started.sh [up]    starts the local stack, makes the infrastructure in it and checks that all of it is there
#   ./get-started.sh status  says what runs
#   ./get-started.sh down    removes all that `up` has made: stack, infrastructure, state, .local-stack/
#
# The stack is LocalStack 4.14.0 by docker compose where Docker answers, else ministack in .local-stack/ (no Docker needed).
# FLEETCAST_LOCAL_STACK=docker|ministack chooses; FLEETCAST_LOCAL_STACK_PORT is its port (4566).
# The infrastructure is made by `terraform apply` where Terraform and its AWS provider can be had, else by
# `harness bootstrap`; FLEETCAST_INFRASTRUCTURE=terraform|harness chooses.
set -euo pipefail
cd "$(dirname "$0")"

port=${FLEETCAST_LOCAL_STACK_PORT:-$(cat .local-stack/port 2>/dev/null || echo 4566)}
endpoint=http://127.0.0.1:$port
export FLEETCAST_LOCAL_STACK_PORT=$port
# Seconds that `terraform init` may take to find out that there is no provider to be had.
init_seconds_max=120
state=.local-stack

say() { echo "get-started: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

has_docker() {
    docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1
}

harness() {
    AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID:-test} AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY:-test} \
        AWS_REGION=${AWS_REGION:-us-east-1} cargo run --quiet --release -p harness --features pipeline -- "$@"
}

start_stack() {
    local stack=${FLEETCAST_LOCAL_STACK:-}
    # What runs already stays: a second `up` must not put another stack beside it.
    [ -n "$stack" ] || stack=$(cat "$state/stack" 2>/dev/null || true)
    if [ -z "$stack" ]; then
        if has_docker; then stack=docker; else stack=ministack; fi
    fi
    mkdir -p "$state"
    case $stack in
        docker)
            has_docker || fail "Docker does not answer; start it, or take FLEETCAST_LOCAL_STACK=ministack"
            echo docker >"$state/stack"
            say "starting LocalStack by docker compose"
            docker compose up --detach --wait >&2
            ;;
        ministack)
            echo ministack >"$state/stack"
            say "starting ministack in .local-stack/"
            scripts/local-stack.sh start
            ;;
        *) fail "FLEETCAST_LOCAL_STACK=$stack; expected docker or ministack" ;;
    esac
}

# Terraform with a copy of its own of state and provider, in the folder that `down` removes.
tf() {
    TF_DATA_DIR=$PWD/$state/terraform TF_IN_AUTOMATION=1 terraform -chdir=terraform "$@"
}

can_terraform() {
    command -v terraform >/dev/null || { say "terraform is not installed"; return 1; }
    local limit=()
    if command -v timeout >/dev/null; then limit=(timeout "$init_seconds_max"); fi
    if ! TF_DATA_DIR=$PWD/$state/terraform TF_IN_AUTOMATION=1 ${limit[@]+"${limit[@]}"} terraform -chdir=terraform init -input=false \
        >"$state/terraform-init.log" 2>&1; then
        say "terraform cannot get its provider and modules (see $state/terraform-init.log)"
        return 1
    fi
}

make_infrastructure() {
    local how=${FLEETCAST_INFRASTRUCTURE:-}
    if [ -z "$how" ]; then
        if can_terraform; then how=terraform; else how=harness; fi
    elif [ "$how" = terraform ]; then
        can_terraform || fail "FLEETCAST_INFRASTRUCTURE=terraform cannot be done"
    fi
    case $how in
        terraform)
            scripts/package-lambdas.sh >&2
            local architecture=x86_64 from_functions=$endpoint
            case $(uname -m) in aarch64 | arm64) architecture=arm64 ;; esac
            # A container reaches the stack by the name that LocalStack gives itself.
            if [ "$(cat "$state/stack")" = docker ]; then from_functions=http://localhost.localstack.cloud:4566; fi
            # Twice at most: a local stack has been seen to lose the answer to a permission, which is there the second time.
            apply() { tf apply -input=false -auto-approve -state="$PWD/$state/terraform.tfstate" -var-file=local.tfvars \
                -var "endpoint_url=$endpoint" -var "function_endpoint_url=$from_functions" \
                -var "lambda_architecture=$architecture" >&2; }
            apply || { say "once more"; apply; }
            # The state is in the folder that `down` removes: `terraform output` by itself does not see it.
            tf output -state="$PWD/$state/terraform.tfstate"
            ;;
        harness)
            say "building the functions"
            scripts/package-lambdas.sh >&2
            say "making the infrastructure by harness bootstrap"
            local reached=$endpoint
            if [ "$(cat "$state/stack")" = docker ]; then reached=http://localhost.localstack.cloud:4566; fi
            harness bootstrap --endpoint-url "$endpoint" --function-endpoint-url "$reached"
            ;;
        *) fail "FLEETCAST_INFRASTRUCTURE=$how; expected terraform or harness" ;;
    esac
}

up() {
    start_stack
    make_infrastructure
    harness doctor --endpoint-url "$endpoint"
    say "up at $endpoint; next, in each of two terminals:"
    cat >&2 <<NEXT
  export AWS_ENDPOINT_URL=$endpoint AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
in the first, which keeps seeders and hosts up:
  cargo run --release -p harness --features pipeline -- up scenarios/aws-1k.toml
in the second:
  cargo run --release -p harness --features pipeline -- upload --size 64MiB --build-id build-1.zip
  cargo run --release -p harness --features pipeline -- watch scenarios/aws-1k.toml --build-id build-1.zip
NEXT
}

down() {
    local stack
    stack=$(cat "$state/stack" 2>/dev/null || true)
    # Nothing of either stack outlives it, so the infrastructure goes with it.
    if [ "$stack" = docker ]; then
        docker compose down --volumes --remove-orphans >&2
    fi
    scripts/local-stack.sh remove
    rm -rf "${state:?}" terraform/.terraform.lock.hcl target/lambda-local
    say "nothing is left"
}

status() {
    case $(cat "$state/stack" 2>/dev/null || true) in
        docker) docker compose ps ;;
        ministack) scripts/local-stack.sh status ;;
        *)
            say "nothing runs; ./get-started.sh brings it up"
            exit 3
            ;;
    esac
}

case ${1:-up} in
    up) up ;;
    down) down ;;
    status) status ;;
    *)
        sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
