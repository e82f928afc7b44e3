package interop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// opening is what a NULL peer says before its first message.
type opening struct {
	name  string
	bytes []byte
	right bool // by the RFCs
}

// openings returns a good opening with each byte wrong in several ways, and
// others that are wrong in their structure.
func openings() (all []opening) {
	greeting := append([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x03\x01NULL"), make([]byte, 48)...)
	property := func(name, value string) string {
		return fmt.Sprintf("%c%s\x00\x00\x00%c%s", len(name), name, len(value), value)
	}
	socketType := property("Socket-Type", "DEALER")
	ready := func(flags byte, properties string) string {
		body := "\x05READY" + properties
		return string([]byte{flags, byte(len(body))}) + body
	}
	add := func(name, after string) {
		all = append(all, opening{name: name, bytes: append(slices.Clone(greeting), after...)})
	}
	right := func(name, after string) {
		add(name, after)
		all[len(all)-1].right = true
	}
	right("good", ready(4, socketType))
	good := all[0].bytes
	for i := range good {
		for _, b := range []byte{good[i] ^ 1, good[i] ^ 0x20, good[i] ^ 0x80, 0, 0xff} {
			if b != good[i] {
				wrong := slices.Clone(good)
				wrong[i] = b
				all = append(all, opening{name: fmt.Sprintf("byte %d is %#x", i, b), bytes: wrong})
			}
		}
	}
	body := "\x05READY" + socketType
	right("a long form", "\x06\x00\x00\x00\x00\x00\x00\x00"+string(rune(len(body)))+body)
	add("no property", ready(4, ""))
	add("READY twice", ready(4, socketType)+ready(4, socketType))
	add("ERROR", "\x04\x07\x05ERROR\x00")
	add("PING first", "\x04\x07\x04PING\x00\x00"+ready(4, socketType))
	right("an identity", ready(4, socketType+property("Identity", "me")))
	right("an unknown property", ready(4, socketType+property("X-Color", "red")))
	add("a property twice", ready(4, socketType+socketType))
	add("two socket types", ready(4, socketType+property("Socket-Type", "REQ")))
	add("half a property", ready(4, socketType+"\x03abc\x00\x00"))
	add("a property longer than READY", ready(4, socketType+"\x03abc\x00\x00\x00\x09x"))
	add("a property of 2^31", ready(4, socketType+"\x03abc\x7f\xff\xff\xff"))
	add("a nameless property", ready(4, socketType+"\x00\x00\x00\x00\x01x"))
	for _, kind := range []string{"REQ", "REP", "ROUTER", "PUB", "SUB", "XPUB", "PUSH", "PULL", "PAIR", "STREAM", "SERVER", "FOO", "", "dealer"} {
		add("socket type "+kind, ready(4, property("Socket-Type", kind)))
	}
	return all
}

// admits reports whether the server at the endpoint exchanges a message with a
// peer that opens like that, within wait for each step.
func admits(t *testing.T, endpoint string, o opening, wait time.Duration) bool {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said := func(what string) bool {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		var got []byte
		for b := make([]byte, 256); !bytes.Contains(got, []byte(what)); {
			n, err := conn.Read(b)
			if got = append(got, b[:n]...); err != nil {
				return bytes.Contains(got, []byte(what))
			}
		}
		return true
	}
	if _, err := conn.Write(o.bytes); err != nil || !said("READY") {
		return false
	}
	_, err = io.WriteString(conn, "\x00\x0bhello there")
	return err == nil && said("hello there")
}

// A stranger who opens in any wrong way is admitted by us only if libzmq admits
// him as well. (hazards B: differential test against pyzmq)
func TestPyzmq_weAreNoLaxer(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	record(t, "pyzmq NULL", "we admit nobody whom they refuse")
	var theirs struct{ Endpoint string }
	pyzmq(t, "echo", task{"type": "ROUTER", "bind": "tcp://127.0.0.1:*"}).Next(&theirs)
	ours, _ := echo(t, "tcp://127.0.0.1:0", "ROUTER", zmtp.Null{Admit: func(zmtp.Metadata) (any, error) { return nil, nil }}, nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for _, o := range openings() {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			we, they := admits(t, ours, o, time.Second), admits(t, theirs.Endpoint, o, time.Second)
			if we && !they {
				they = admits(t, theirs.Endpoint, o, 20*time.Second) // it may have been a busy machine
			}
			if we && !they {
				t.Errorf("%s: we admit it, they do not", o.name)
			}
			if o.right && !we && !admits(t, ours, o, 20*time.Second) {
				t.Errorf("%s: we do not admit it", o.name)
			}
		})
	}
	wg.Wait()
}
