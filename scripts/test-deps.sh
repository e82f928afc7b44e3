#!/usr/bin/env bash
# Installs the foreign ZeroMQ peers that the tests talk to. Where it cannot, it
# says what is missing and fails, unless SERVICETOOLS_WITHOUT names the peer.
set -eu
missing=()
/usr/bin/python3 -c 'import zmq' 2>/dev/null || missing+=(python3-zmq)
/usr/bin/python3 -c 'import msgpack' 2>/dev/null || missing+=(python3-msgpack)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -q || true
  DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}"
  exit 0
fi
case ",${SERVICETOOLS_WITHOUT:-}," in
  *,pyzmq,*) echo "NOT RUN: the tests with pyzmq peers (missing: ${missing[*]}; SERVICETOOLS_WITHOUT names pyzmq)" >&2 ;;
  *) echo "the tests need ${missing[*]}: run 'apt-get install ${missing[*]}' as root, or set SERVICETOOLS_WITHOUT=pyzmq to run without those tests" >&2; exit 1 ;;
esac
