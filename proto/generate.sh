#!/bin/sh
# Generates Python from the .proto files into the folder given. Run it as `make proto`.
set -eu
out=$1
cd "$(dirname "$0")/.."
services="blindrelay/v1/exchange.proto blindrelay/v1/accounts.proto blindrelay/v1/settlement.proto \
  blindrelay/v1/ledger.proto blindrelay/admin/v1/admin.proto"
# shellcheck disable=SC2086 # a list
python -m grpc_tools.protoc -I proto --python_out="$out" --mypy_out="quiet:$out" $services \
  blindrelay/v1/keys.proto blindrelay/v1/envelope.proto blindrelay/v1/inner.proto blindrelay/v1/receipts.proto
# Stubs only where there is a service; others would be empty.
# shellcheck disable=SC2086
python -m grpc_tools.protoc -I proto --grpc_python_out="$out" --mypy_grpc_out="quiet:$out" $services
