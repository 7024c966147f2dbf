#!/usr/bin/env bash
# What only an account can show: takes a stage that was applied (terraform/) through its paces, and says of each thing whether it is as it should
# be. It uploads builds of a few MiB and an empty object under names of its own, and removes them at the end. The empty one is refused, of which
# the alarm for failed executions tells.
#
#   scripts/verify-on-aws.sh --stage dev --regions region-a,region-b [--hosts N] [--keep]
#
# It needs `harness` with the pipeline's commands on the PATH (cargo install --path crates/harness --features pipeline), the AWS CLI, and
# credentials with operator_policy_arn, which also may delete what it uploads. With --hosts N it expects so many hosts to be up, and waits until
# each has its row. What cannot be checked here is said and does not fail; exit 1 where something is not as it should be.
set -uo pipefail

stage= regions=region-a,region-b hosts= keep=
while [ $# -gt 0 ]; do
    case $1 in
        --stage) stage=$2 && shift ;;
        --regions) regions=$2 && shift ;;
        --hosts) hosts=$2 && shift ;;
        --keep) keep=yes ;;
        *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
suffix=${stage:+-$stage}
bucket=global-builds$suffix
build=verify-$(date -u +%Y%m%d%H%M%S).zip
patience=${VERIFY_PATIENCE:-300}
work=$(mktemp -d)
good=0 bad=0 open=0

report() { # WORD TEXT
    printf '%-12s %s\n' "$1" "$2"
}
# Runs a command that is to succeed.
check() { # TEXT COMMAND...
    local text=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        good=$((good + 1)) && report ok "$text"
    else
        bad=$((bad + 1)) && report FAILED "$text: $(tail -n 1 "$work/out")"
        return 1
    fi
}
# The same of one that is to be refused, with this in what it says.
refused() { # TEXT WORDS COMMAND...
    local text=$1 words=$2
    shift 2
    if "$@" >"$work/out" 2>&1; then
        bad=$((bad + 1)) && report FAILED "$text: it was not refused"
    elif grep -q "$words" "$work/out"; then
        good=$((good + 1)) && report ok "$text"
    else
        bad=$((bad + 1)) && report FAILED "$text: refused in other words: $(tail -n 1 "$work/out")"
    fi
}
unchecked() { # TEXT WHY
    open=$((open + 1)) && report 'not checked' "$1: $2"
}
# Asks until it is so, or patience has an end.
within() { # COMMAND...
    local end=$((SECONDS + patience))
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 3
    done
}

# What the workflow's last execution of a key came to, in JSON.
has_ended() { # KEY STATUS
    harness status --stage "$stage" --count 20 --format json | python3 -c '
import json, sys
key, status = sys.argv[1:]
of_key = [each for each in json.load(sys.stdin) if each["build_id"] == key]
print(of_key[0]["status"] if of_key else "no execution", "of", key)
sys.exit(not of_key or of_key[0]["status"] != status)' "$1" "$2"
}
# What a bucket has at a key.
head_of() { # BUCKET KEY QUERY
    aws s3api head-object --bucket "$1" --key "$2" --query "$3" --output text
}
each_region_has() { # KEY BYTES
    local region size
    for region in ${regions//,/ }; do
        size=$(head_of "$region-builds$suffix" "$1" ContentLength) || return 1
        [ "$size" = "$2" ] || { echo "$region has $size bytes and not $2" && return 1; }
    done
}
no_letters() {
    local listed
    listed=$(harness dead-letters list --stage "$stage" --regions "$regions" --format json) || return 1
    python3 -c 'import json, sys
queues = json.load(sys.stdin)
print(queues)
sys.exit(any(queue["messages"] for queue in queues))' <<<"$listed"
}
alarms_are_there() {
    local names region
    names=$(aws cloudwatch describe-alarms --alarm-name-prefix fleetcast- --query "MetricAlarms[?ends_with(AlarmName, '$suffix')].[AlarmName,StateValue]" --output text) || return 1
    echo "$names"
    for alarm in no-rows workflow-ExecutionsFailed deployment-log-throttles; do
        grep -q "^fleetcast-$alarm$suffix" <<<"$names" || { echo "there is no alarm fleetcast-$alarm$suffix" && return 1; }
    done
}
counts_agree() {
    local counted exact
    counted=$(harness count --build-id "$build" --stage "$stage" | head -n 1) || return 1
    exact=$(harness count --build-id "$build" --stage "$stage" --exact | head -n 1) || return 1
    echo "counted $counted, exactly $exact"
    [ "$counted" = "$exact" ]
}
clean_up() {
    if [ -z "$keep" ]; then
        for place in "$bucket" $(printf "%s-builds$suffix " ${regions//,/ }); do
            aws s3 rm --only-show-errors "s3://$place/$build"
            aws s3 rm --only-show-errors "s3://$place/empty-$build"
        done >/dev/null 2>&1
    fi
    rm -rf "$work"
}
trap clean_up EXIT

echo "stage ${stage:-(none)}, regions $regions, build $build"
check 'the AWS CLI has credentials' aws sts get-caller-identity || exit 1
check 'harness has the commands of the pipeline' harness doctor --help || exit 1
check 'everything that the pipeline is made of is there' harness doctor --stage "$stage" --regions "$regions" || tail -n 20 "$work/out"

if check 'a build can be uploaded' harness upload --size 16MiB --seed 1 --build-id "$build" --stage "$stage"; then
    check 'its event starts the workflow, which ends well' within has_ended "$build" SUCCEEDED
    check 'each region has all of it' within each_region_has "$build" 16777216
    refused 'S3 refuses another build under an id that is taken (If-None-Match)' 'already' \
        harness upload --size 1MiB --seed 2 --build-id "$build" --stage "$stage"
    if [ -n "$hosts" ]; then
        check "$hosts hosts have it, by their rows" within harness count --build-id "$build" --stage "$stage" --expect "$hosts"
        check 'what seeders have counted is what is there, row by row' counts_agree
    else
        unchecked 'hosts have it, and seeders have counted their rows' '--hosts N says how many are up'
    fi
    check 'a newer version can take its place' harness upload --size 20MiB --seed 3 --build-id "$build" --replace --stage "$stage"
    check 'each region has the newer version' within each_region_has "$build" 20971520
fi
: >"$work/empty"
if check 'an empty object can be put' aws s3 cp --only-show-errors "$work/empty" "s3://$bucket/empty-$build"; then
    check 'it is refused as a build, with an execution that says so' within has_ended "empty-$build" FAILED
fi
check 'no message is in a queue of dead letters' no_letters
check 'the alarms are there' alarms_are_there
check 'the dashboard is there' aws cloudwatch get-dashboard --dashboard-name "fleetcast$suffix"
unchecked 'an alarm is heard' 'the topic fleetcast-alarms has the addresses of alarm_emails; confirm the subscription and look'
unchecked 'a pipeline of CodePipeline' 'terraform/pipeline is applied on its own; run it once from its source'

echo "$good as it should be, $bad not, $open not checked"
[ "$bad" -eq 0 ]
