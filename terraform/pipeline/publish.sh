# Puts a signed build where a stage takes it from, with its signature, and says what `pipeline-action` is to follow. The upload begins the copies
# to the regions by its event.
#
# S3 decides whether the id is taken, at the moment when the build would be there (If-None-Match): two runs at once cannot both put one. The copy
# is made in parts whatever its size, since S3 copies no more than 5 GiB at once.
set -euo pipefail

part_bytes=$PART_BYTES
build_id=$(cat build-id)
look() { # BUCKET KEY QUERY
    aws s3api head-object --bucket "$1" --key "$2" --query "$3" --output text
}
signature=$(look "$ARTIFACT_BUCKET" "signed/$build_id" 'Metadata."fleetcast-signature"')
bytes=$(look "$ARTIFACT_BUCKET" "signed/$build_id" ContentLength)
here=(--bucket "$GLOBAL_BUCKET" --key "$build_id")

upload=$(aws s3api create-multipart-upload "${here[@]}" --metadata "fleetcast-signature=$signature" --query UploadId --output text)
# Parts of an upload that is not ended are paid for. One that is ended has none left.
trap 'aws s3api abort-multipart-upload "${here[@]}" --upload-id "$upload" >/dev/null 2>&1 || true' EXIT
parts=
for ((first = 0, number = 1; first < bytes; first += part_bytes, number++)); do
    last=$((first + part_bytes < bytes ? first + part_bytes - 1 : bytes - 1))
    etag=$(aws s3api upload-part-copy "${here[@]}" --upload-id "$upload" --part-number "$number" --cli-read-timeout 0 \
        --copy-source "$ARTIFACT_BUCKET/signed/$build_id" --copy-source-range "bytes=$first-$last" \
        --query CopyPartResult.ETag --output text)
    parts+=${parts:+,}$(printf '{"PartNumber": %d, "ETag": "\\"%s\\""}' "$number" "${etag//\"/}")
done

attempts=3
until refused=$(aws s3api complete-multipart-upload "${here[@]}" --upload-id "$upload" --if-none-match '*' \
    --multipart-upload "{\"Parts\": [$parts]}" --cli-read-timeout 0 2>&1 >/dev/null); do
    case $refused in
        *PreconditionFailed*) # An action that is tried again finds what it has done.
            if [ "$(look "$GLOBAL_BUCKET" "$build_id" 'Metadata."fleetcast-signature"')" != "$signature" ]; then
                echo "there is another $build_id in $GLOBAL_BUCKET already, and an id means one build; deploy another revision of the source" >&2
                exit 1
            fi
            break
            ;;
        *ConditionalRequestConflict*) # Somebody else is putting one at this moment.
            if ((--attempts > 0)); then
                sleep 2
                continue
            fi
            ;;
    esac
    echo "$refused" >&2
    exit 1
done
version=$(look "$GLOBAL_BUCKET" "$build_id" VersionId)
printf '{"sourceBucket": "%s", "sourceKey": "%s", "sourceVersionId": "%s", "destinationBuckets": %s}\n' \
    "$GLOBAL_BUCKET" "$build_id" "$version" "$DESTINATION_BUCKETS" >deploy.json
cat deploy.json
