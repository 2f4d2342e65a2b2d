#!/usr/bin/env bash
# Figures of a machine with an NVIDIA GPU, in under ten minutes. Needs no network, installs nothing into the machine,
# changes none of its settings and asks for nothing. Options go to benchmarks/gpu.py; --help lists them.
# PYTHON=...      an interpreter with what is to be measured: torch with CUDA, tensorrt; roadedge is taken from here.
# RTX_WHEELS=...  a folder with wheels of tensorrt_rtx (and cuda-python), or with their parts NAME.whl.part-aa, -ab …,
#                 or with the unpacked module: used for this run alone, from a folder for temporary files.
set -euo pipefail
exec </dev/null
if [ -n "${RTX_WHEELS:-}" ]; then
    [ -d "$RTX_WHEELS" ] || { echo "make gpu: RTX_WHEELS is no folder: $RTX_WHEELS" >&2; exit 2; }
    RTX_WHEELS="$(cd "$RTX_WHEELS" && pwd)"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON="${PYTHON:-python3}"
export CUDA_DEVICE_ORDER=PCI_BUS_ID PYTHONUNBUFFERED=1

command -v "$PYTHON" >/dev/null || { echo "make gpu: there is no $PYTHON; set PYTHON to an interpreter" >&2; exit 1; }
if [ -n "${RTX_WHEELS:-}" ]; then
    site="$(mktemp -d)"
    trap 'rm -rf "$site"' EXIT
    mkdir "$site/wheels" "$site/modules"
    for first in "$RTX_WHEELS"/*.whl.part-aa; do
        [ -e "$first" ] && cat "${first%aa}"* >"$site/wheels/$(basename "${first%.part-aa}")"
    done
    for wheel in "$RTX_WHEELS"/*.whl "$site"/wheels/*.whl; do
        [ -e "$wheel" ] || continue
        # unzipped, not installed: pip may be absent, and neither it nor the machine's packages are touched
        "$PYTHON" -m zipfile -e "$wheel" "$site/modules" || { echo "make gpu: $wheel is no whole wheel" >&2; exit 2; }
    done
    export PYTHONPATH="$site/modules:$RTX_WHEELS${PYTHONPATH:+:$PYTHONPATH}"
fi
"$PYTHON" benchmarks/gpu.py "$@"  # which holds itself to its time
