#!/usr/bin/env bash
# Compares the benchmarks beside the code with those of another commit. Both are
# built first and then run in turns, so that what slows the machine down for a
# while slows both.
#   scripts/benchstat.sh COMMIT ROUNDS REGEXP PACKAGE...
set -eu
cd "$(dirname "$0")/.."
base=$1 rounds=$2 pattern=$3
shift 3
benchstat=golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/tree" >/dev/null; rm -rf "$dir"' EXIT
git worktree add --quiet --detach "$dir/tree" "$base"
packages=$(grep -l --include='*_test.go' -r '^func Benchmark' $(go list -f '{{.Dir}}' "$@") | xargs -n1 dirname | sort -u)
build() { # tree name
  for p in $packages; do
    p=${p#"$PWD"/}
    [ -d "$1/$p" ] || continue
    (cd "$1" && go test -c -o "$dir/$2/${p//\//%}" "./$p")
  done
}
mkdir "$dir/old" "$dir/new"
build "$dir/tree" old
build "$PWD" new
run() { # name tree
  for t in "$dir/$1"/*; do
    p=$(basename "$t"); p=${p%.txt}
    [ -x "$t" ] && [ -d "$2/${p//%//}" ] || continue
    (cd "$2/${p//%//}" && "$t" -test.run '^$' -test.bench "$pattern" -test.benchmem -test.benchtime 0.3s) >>"$dir/$1.txt"
  done
}
for i in $(seq "$rounds"); do
  echo "round $i of $rounds" >&2
  run old "$dir/tree"
  run new "$PWD"
done
go run "$benchstat" "old=$dir/old.txt" "new=$dir/new.txt"
