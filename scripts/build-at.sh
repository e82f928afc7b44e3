#!/usr/bin/env bash
# Builds the commands of another commit, and prints the folder of its binaries:
# bin/at/COMMIT. `make bench BASE=COMMIT` measures them beside this tree's.
set -eu
cd "$(dirname "$0")/.."
commit=$(git rev-parse --short "$1^{commit}")
out=$PWD/bin/at/$commit
if [ ! -x "$out/bench" ]; then
  tree=$(mktemp -d)
  trap 'git worktree remove --force "$tree" >/dev/null' EXIT
  git worktree add --quiet --detach "$tree" "$commit" >&2
  mkdir -p "$out"
  (cd "$tree" && CGO_ENABLED=0 go build -trimpath -o "$out/" ./broker/cmd/broker ./integration/cmd/bench) >&2
fi
echo "$out"
