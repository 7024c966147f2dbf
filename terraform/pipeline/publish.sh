# Puts a signed build where a stage takes it from, with its signature, and says what `pipeline-action` is to follow. The upload begins the copies
# to the regions by its event.
set -euo pipefail

build_id=$(cat build-id)
signature_of() { # BUCKET KEY
    aws s3api head-object --bucket "$1" --key "$2" --query 'Metadata."fleetcast-signature"' --output text
}
signature=$(signature_of "$ARTIFACT_BUCKET" "signed/$build_id")
there=$(signature_of "$GLOBAL_BUCKET" "$build_id" 2>/dev/null || true)
if [ -z "$there" ]; then
    # Metadata goes along; tags, which there are none of, would want another permission.
    aws s3 cp --only-show-errors --copy-props metadata-directive "s3://$ARTIFACT_BUCKET/signed/$build_id" "s3://$GLOBAL_BUCKET/$build_id"
elif [ "$there" != "$signature" ]; then
    echo "there is another $build_id in $GLOBAL_BUCKET already, and an id means one build; deploy another revision of the source" >&2
    exit 1
fi
version=$(aws s3api head-object --bucket "$GLOBAL_BUCKET" --key "$build_id" --query VersionId --output text)
printf '{"sourceBucket": "%s", "sourceKey": "%s", "sourceVersionId": "%s", "destinationBuckets": %s}\n' \
    "$GLOBAL_BUCKET" "$build_id" "$version" "$DESTINATION_BUCKETS" >deploy.json
cat deploy.json
