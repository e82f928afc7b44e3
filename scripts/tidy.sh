#!/usr/bin/env bash
# go mod tidy for modules whose siblings are not tagged: a replace would break
# `go install pkg@version`, so it stands in go.mod only while tidy runs.
set -eu
prefix=github.com/servicetools/servicetools
for m in "$@"; do
  (
    cd "$m"
    for s in "$@"; do [ "$s" = "$m" ] || go mod edit -replace "$prefix/$s=../$s"; done
    GOWORK=off go mod tidy
    for s in "$@"; do
      go mod edit -dropreplace "$prefix/$s"
      if grep -q "$prefix/$s v" go.mod; then go mod edit -require "$prefix/$s@v0.1.0"; fi
    done
  )
done
