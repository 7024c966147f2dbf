# Makes a build of the source, which is in this folder, and keeps it. Who may write to the source decides what runs here: there is no key.
set -euo pipefail

revision=$(printf %s "${CODEBUILD_RESOLVED_SOURCE_VERSION:-$CODEBUILD_BUILD_NUMBER}" | tr -c 'A-Za-z0-9._-' - | cut -c 1-64)
build_id="$BUILD_PREFIX$revision.${BUILD_FILE#*.}"

bash -euo pipefail -c "$BUILD_COMMAND"
if [ ! -s "$BUILD_FILE" ]; then
    echo "the build command has made no $BUILD_FILE; expected the build there, as build_file of terraform/pipeline names it" >&2
    exit 1
fi
aws s3 cp --only-show-errors "$BUILD_FILE" "s3://$ARTIFACT_BUCKET/made/$build_id"
echo "$build_id" >build-id
