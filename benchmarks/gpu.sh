#!/usr/bin/env bash
# Figures of a machine with an NVIDIA GPU, in under ten minutes. Changes no setting of the machine and asks for nothing.
# PYTHON=... an interpreter that has torch with CUDA; roadedge itself is taken from this checkout.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON="${PYTHON:-python3}"

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi >/dev/null 2>&1; then
    echo "make gpu: no NVIDIA GPU answers here (nvidia-smi is absent or fails); nothing was measured" >&2
    exit 3
fi
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv
timeout 540 "$PYTHON" benchmarks/gpu.py "$@"
