#!/usr/bin/env bash
# Installs the foreign ZeroMQ peers that the tests talk to, wine for the Windows
# programs and the shells whose completion is tested, and looks for the Docker
# engine that the tests drive. Where something is missing it says what and fails,
# unless SERVICETOOLS_WITHOUT, a list such as pyzmq,docker, names it.
set -eu
if ! docker info >/dev/null 2>&1; then
  case ",${SERVICETOOLS_WITHOUT:-}," in
    *,docker,*) echo "NOT RUN: the tests with docker (SERVICETOOLS_WITHOUT names it)" >&2 ;;
    *) echo "the cluster tests need a Docker engine and docker-compose: start one, or set SERVICETOOLS_WITHOUT=docker to go without" >&2
       exit 1 ;;
  esac
fi
missing=() peers=()
need() { # peer package check...
  "${@:3}" >/dev/null 2>&1 && return
  missing+=("$2")
  case " ${peers[*]-} " in *" $1 "*) ;; *) peers+=("$1") ;; esac
}
need pyzmq python3-zmq /usr/bin/python3 -c 'import zmq'
need pyzmq python3-msgpack /usr/bin/python3 -c 'import msgpack'
need czmq gcc command -v gcc
need czmq pkg-config command -v pkg-config
need czmq libczmq-dev pkg-config --exists libczmq libsodium libzmq
need wine wine command -v wine
need shells zsh command -v zsh
need shells fish command -v fish
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -q || true
  DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}" && exit 0
fi
for peer in "${peers[@]}"; do
  case ",${SERVICETOOLS_WITHOUT:-}," in
    *",$peer,"*) echo "NOT RUN: the tests with $peer (SERVICETOOLS_WITHOUT names it)" >&2 ;;
    *) echo "the tests need ${missing[*]}: run 'apt-get install ${missing[*]}' as root, or set SERVICETOOLS_WITHOUT=$(IFS=,; echo "${peers[*]}") to go without" >&2
       exit 1 ;;
  esac
done
