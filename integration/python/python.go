// Package python finds the interpreter with pyzmq and msgpack that plays the
// foreign peer in tests.
package python

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// candidates are tried in order; Debian's interpreter has Debian's packages.
var candidates = []string{"/usr/bin/python3", "python3"}

// Find returns an interpreter that can import zmq and msgpack. Without one the
// test fails, and says what to install; it is left out, loudly, only if
// SERVICETOOLS_WITHOUT names pyzmq.
func Find(t testing.TB) string {
	t.Helper()
	for _, path := range candidates {
		if exec.Command(path, "-c", "import zmq, msgpack").Run() == nil {
			return path
		}
	}
	for _, without := range strings.Split(os.Getenv("SERVICETOOLS_WITHOUT"), ",") {
		if without == "pyzmq" {
			t.Skip("NOT RUN: pyzmq is missing and SERVICETOOLS_WITHOUT names it")
		}
	}
	t.Fatal("no python3 with pyzmq and msgpack: apt-get install python3-zmq python3-msgpack, or set SERVICETOOLS_WITHOUT=pyzmq")
	return ""
}
