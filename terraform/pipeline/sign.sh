# Signs a build that was made. The signature is metadata of the object, and stays with it from here on.
set -euo pipefail
umask 077

build_id=$(cat build-id)
case $build_id in
'' | /* | */ | *[!A-Za-z0-9._/-]* | *..*)
    echo "$build_id can be no build's key" >&2
    exit 1
    ;;
esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
printf '%s\n' "$SIGNING_KEY" >"$folder/key"
unset SIGNING_KEY
aws s3 cp --only-show-errors "$HARNESS_URL" "$folder/harness"
chmod 700 "$folder/harness"
aws s3 cp --only-show-errors "s3://$ARTIFACT_BUCKET/made/$build_id" "$folder/build"
signature=$("$folder/harness" sign "$folder/build" --key "$folder/key" --build-id "$build_id")
aws s3 cp --only-show-errors "$folder/build" "s3://$ARTIFACT_BUCKET/signed/$build_id" --metadata "fleetcast-signature=$signature"
echo "signed $build_id"
