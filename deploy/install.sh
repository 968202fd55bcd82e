#!/bin/sh
# Installs MusicEval into a folder of its own, with every dependency at the version and hash of requirements.lock:
#
#     deploy/install.sh /opt/musiceval [cpu|cuda]
#
# After it /opt/musiceval/bin/musiceval is the command. cpu, which is meant where nothing is said, leaves out 4 GB of CUDA
# libraries. PYTHON names the interpreter; TORCH_INDEX says where the CPU builds of torch are. A second call brings a
# folder up to date.
set -eu

folder=${1:?give the folder to install into}
kind=${2:-cpu}
python=${PYTHON:-python3}
index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $kind in
  cpu | cuda) ;;
  *) echo "$kind is no way to install: give cpu or cuda." >&2; exit 2 ;;
esac
"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || {
  echo "$python is not Python 3.11 or 3.12. Name one: PYTHON=python3.12 $0 $folder" >&2
  exit 2
}

pip() { "$folder/bin/python" -m pip --disable-pip-version-check "$@"; }
locked() { sed -n "s/^$1==\([^ ]*\).*/\1/p" "$source/requirements.lock"; }

"$python" -m venv "$folder"
cp "$source/requirements.lock" "$work/lock"
if [ "$kind" = cpu ]; then
  # The CPU builds have other files than those whose hashes are locked, so they come by their exact versions.
  pip install --no-deps --index-url "$index" "torch==$(locked torch)+cpu" "torchvision==$(locked torchvision)+cpu"
  awk '/^[a-z]/ { kept = !/^(cuda-|nvidia-|torch==|torchvision==|triton==)/ } kept' "$source/requirements.lock" >"$work/lock"
fi
# What is built here is built by the locked setuptools.
awk '/^[a-z]/ { kept = /^setuptools==/ } kept' "$work/lock" >"$work/builder"
pip install --no-deps --require-hashes -r "$work/builder"
pip install --no-deps --no-build-isolation --require-hashes -r "$work/lock"

# Built from a copy: nothing is left in the source, and nothing of an earlier version gets in.
mkdir "$work/source"
for part in pyproject.toml requirements.txt README.md LICENSE core annotation webapp; do
  cp -R "$source/$part" "$work/source/"
done
pip install --no-deps --no-build-isolation --force-reinstall "$work/source"
pip check
