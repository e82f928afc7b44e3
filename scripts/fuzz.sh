#!/usr/bin/env bash
# Runs every fuzz target of the repository, one after the other, for $1 each.
set -eu
time=${1:-30s}
grep -rl --include='*_test.go' '^func Fuzz' wire broker workersdk clientsdk certtool | sort | while read -r file; do
  for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
    echo "== ./$(dirname "$file") $target"
    go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 2s
  done
done
