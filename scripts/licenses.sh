#!/usr/bin/env bash
# Lists module, version and licence of everything that is linked into the given commands.
set -eu
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' "$@" | sort -u |
  while read -r path version dir; do
    file=$(find "$dir" -maxdepth 1 -iname 'licen[sc]e*' -o -maxdepth 1 -iname 'copying*' | head -1)
    case "$(tr -s '[:space:]' ' ' <"${file:-/dev/null}" | tr '[:upper:]' '[:lower:]')" in
      *"apache license"*) licence=Apache-2.0 ;;
      *"permission is hereby granted, free of charge"*) licence=MIT ;;
      *"neither the name"*) licence=BSD-3-Clause ;;
      *"redistribution and use in source and binary forms"*) licence=BSD-2-Clause ;;
      *) licence="UNKNOWN (${file:-no file})" ;;
    esac
    printf '%-45s %-12s %s\n' "$path" "$version" "$licence"
  done
