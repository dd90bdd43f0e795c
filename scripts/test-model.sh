#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/test-model.sh
# Tests bring-your-own-model against ONNX Runtime in a process of its own. It needs node and
# npm, and fetches 291 MB once into the user's cache. .ci/run leaves it out.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/versions.env
for program in node npm; do
	command -v $program >/dev/null || {
		echo "test-model: $program is missing: apt-get install nodejs npm" >&2
		exit 1
	}
done
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ebpf-tcp/onnxruntime-$ONNXRUNTIME_VERSION
if [ ! -d "$cache/node_modules/onnxruntime-node" ]; then
	mkdir -p "$cache"
	# The library for the CPU is inside; the install script would fetch others.
	npm install --prefix "$cache" --ignore-scripts --no-audit --no-fund "onnxruntime-node@$ONNXRUNTIME_VERSION"
fi
EBPF_TCP_ONNXRUNTIME=$cache go test -count=1 -v -run '^TestONNXRuntime$' ./connector/threats/internal/model
