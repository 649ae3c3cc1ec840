#!/usr/bin/env bash
# Makes the virtual environments in which tests start frameworks whose pins clash with the repository's own.
#
#   make_venvs.sh [name ...]     (all of the locks in frameworks/ by default)
#
# Each is a folder below NINESIGHT_FRAMEWORKS (default: .frameworks beside pyproject.toml). It is made once,
# and anew when its lock changes. Packages come from its lock in frameworks/, held to their hashes; PyTorch
# comes by plain pip, for the index in use decides whether it is the build for CPUs or one for GPUs.
# Renew a lock: see frameworks/README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
into=${NINESIGHT_FRAMEWORKS:-$root/.frameworks}
python=$root/.venv/bin/python
uv=$root/.venv/bin/uv
torch=2.13.0

[ -x "$uv" ] || { echo "run make install first: $uv is missing" >&2; exit 1; }
mkdir -p "$into"
for name in ${*:-$(basename -s .lock "$here"/frameworks/*.lock)}; do
  lock=$here/frameworks/$name.lock
  [ -f "$lock" ] || { echo "$name must be a lock in $here/frameworks" >&2; exit 1; }
  venv=$into/$name
  wanted=$(cat "$lock"; echo "# $root torch $torch")
  [ "$(cat "$venv/.made" 2>/dev/null)" = "$wanted" ] && continue
  echo "making $venv ..."
  began=$SECONDS
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r "$lock"
  "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --editable "$root"
  if [ "$name" = torch ]; then
    "$venv/bin/python" -m pip install -qq --no-compile --disable-pip-version-check "torch==$torch"
  fi
  printf '%s\n' "$wanted" > "$venv/.made"
  echo "made $name in $((SECONDS - began)) s"
done
