#!/usr/bin/env bash
# Tries the base.
#
#   deploy/kubernetes/verify.sh --offline              each manifest against the strict schemas of Kubernetes, with kubernetes-validate of PyPI
#   deploy/kubernetes/verify.sh --context NAME [DIR]   on a cluster: applies DIR (an overlay, or the base), tells the agents where the seeder
#                                                      is, waits until all are ready, shows how each is, and deletes what it has made
#   … --keep                                           does not delete it
#
# Exit codes: 0 all is well, 1 something is not, 2 wrong arguments, 77 a tool is missing, which is named.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
versions=(1.33 1.34 1.35 1.36 1.37)
namespace=fleetcast

missing() {
    echo "verify.sh: $1 is missing, so this stays untried: $2" >&2
    exit 77
}

offline() {
    local validate=${KUBERNETES_VALIDATE:-kubernetes-validate} version file
    command -v "$validate" >/dev/null || missing kubernetes-validate "pip install kubernetes-validate (KUBERNETES_VALIDATE names it)"
    for version in "${versions[@]}"; do
        for file in "$here"/base/*.yaml; do
            # What kustomize itself reads is no object of a cluster.
            [ "$(basename "$file")" != kustomization.yaml ] || continue
            "$validate" --strict --quiet -k "$version" "$file"
        done
    done
    echo "verify.sh: the base is valid for Kubernetes ${versions[*]}"
}

on_cluster() {
    local k=(kubectl --context "$context") address
    command -v kubectl >/dev/null || missing kubectl "it comes with your cluster's tools"
    [ "$keep" = 1 ] || trap '"${k[@]}" delete -k "$folder" --ignore-not-found --wait=false' EXIT
    "${k[@]}" apply -k "$folder"
    "${k[@]}" -n "$namespace" rollout status statefulset/fleetcast-seeder --timeout=300s
    address=$("${k[@]}" -n "$namespace" logs fleetcast-seeder-0 | grep -m 1 '^/') || {
        echo "verify.sh: the seeder has printed no address; see: kubectl -n $namespace logs fleetcast-seeder-0" >&2
        exit 1
    }
    "${k[@]}" -n "$namespace" create configmap fleetcast-directory --from-literal "address=$address" --dry-run=client -o yaml |
        "${k[@]}" apply -f -
    "${k[@]}" -n "$namespace" rollout status daemonset/fleetcast-host --timeout=600s
    for pod in $("${k[@]}" -n "$namespace" get pods -l app.kubernetes.io/name=fleetcast-host -o name); do
        "${k[@]}" -n "$namespace" exec "$pod" -- /usr/bin/fleetcast-host status
    done
    "${k[@]}" -n "$namespace" exec fleetcast-seeder-0 -- /usr/bin/fleetcast-seeder status
    echo "verify.sh: all agents have reached the directory at $address"
}

keep=0 context='' folder=$here/base mode=''
while [ $# -gt 0 ]; do
    case $1 in
    --offline) mode=offline ;;
    --context)
        mode=on_cluster
        context=${2:?verify.sh: --context wants a name, as kubectl config get-contexts lists them}
        shift
        ;;
    --keep) keep=1 ;;
    -*)
        echo "verify.sh: $1 is none of its options; expected --offline, or --context NAME [DIR] [--keep]" >&2
        exit 2
        ;;
    *) folder=$1 ;;
    esac
    shift
done
[ -n "$mode" ] || {
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
"$mode"
