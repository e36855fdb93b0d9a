#!/bin/sh
# Generates Python from the .proto files into the folder given. Run it as `make proto`.
set -eu
out=$1
cd "$(dirname "$0")/.."
python -m grpc_tools.protoc -I proto \
  --python_out="$out" --mypy_out="quiet:$out" blindrelay/v1/keys.proto blindrelay/v1/envelope.proto \
  blindrelay/v1/exchange.proto blindrelay/v1/inner.proto
# Only one file has a service; stubs of the others would be empty.
python -m grpc_tools.protoc -I proto --grpc_python_out="$out" --mypy_grpc_out="quiet:$out" blindrelay/v1/exchange.proto
