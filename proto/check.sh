#!/bin/sh
# Fails when the committed generated code is not what the .proto files give. Run it as `make proto-check`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
sh "$here/generate.sh" "$fresh"
(cd "$fresh" && find . -type f) | while read -r file; do
  cmp "$fresh/$file" "$here/$file" || {
    echo "$(basename "$file") is out of date: run make proto" >&2
    exit 1
  }
done
