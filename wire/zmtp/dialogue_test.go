package zmtp

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The dialogues in testdata are conversations of a peer with a NULL ROUTER of
// ours, one a file:
//
//	// why
//	--> bytes that the peer sends
//	<-- bytes that it gets
//	=== "frame" "frame"      a message that our side is given
//	end a part of the text of the error with which our side ends
//
// Bytes are hex digits, "text" in quotes, or either followed by *n for n times.
// GREETING is a greeting for NULL. The peer closes after the last line.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("only %d dialogues, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) { converse(t, file, func(b []byte) [][]byte { return [][]byte{b} }) })
		t.Run(name+", byte by byte", func(t *testing.T) {
			converse(t, file, func(b []byte) (cut [][]byte) {
				for i := range b {
					cut = append(cut, b[i:i+1])
				}
				return cut
			})
		})
	}
}

// converse plays the peer's part of a dialogue.
func converse(t *testing.T, file string, cut func([]byte) [][]byte) {
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	messages, ended := make(chan string, 100), make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			ended <- err
			return
		}
		admit := func(m Metadata) (any, error) {
			if err := CheckSocketType("ROUTER", m); err != nil {
				return nil, &Refusal{Status: "400", Reason: err.Error()}
			}
			return nil, nil
		}
		cfg := &Config{SocketType: "ROUTER", Mechanism: Null{Admit: admit}, Limits: Limits{MaxMessage: 1000, MaxFrames: 4}}
		l, err := Handshake(t.Context(), conn, cfg)
		if err == nil {
			err = l.Run(func(m *Message) error {
				var text []string
				for i := range m.Len() {
					text = append(text, fmt.Sprintf("%q", m.Frame(i)))
				}
				messages <- strings.Join(text, " ")
				return nil
			})
		}
		ended <- err
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))

	for n, line := range strings.Split(strings.TrimSpace(string(script)), "\n") {
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("%s:%d: %s", file, n+1, fmt.Sprintf(format, args...))
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "//":
		case "-->":
			for _, b := range cut(scriptBytes(t, rest)) {
				if _, err := conn.Write(b); err != nil {
					break // the end tells why
				}
			}
		case "<--":
			want := scriptBytes(t, rest)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
				fail("got %q, %v", got, err)
			}
		case "===":
			if got := <-messages; got != rest {
				fail("our side was given %s", got)
			}
		case "end":
			if rest == "EOF" {
				conn.Close()
			}
			if err := <-ended; err == nil || !strings.Contains(err.Error(), rest) {
				fail("our side ended with %v", err)
			}
			if rest != "EOF" { // the peer sees the end as well, and no byte more
				if more, err := io.ReadAll(conn); len(more) > 0 {
					fail("got %q, %v", more, err)
				}
			}
			return
		default:
			fail("unknown verb %q", verb)
		}
	}
	t.Fatalf("%s does not end", file)
}

// scriptBytes reads the bytes of a line.
func scriptBytes(t *testing.T, text string) (b []byte) {
	t.Helper()
	words := bufio.NewScanner(strings.NewReader(text))
	words.Split(bufio.ScanWords)
	for words.Scan() {
		word, times := words.Text(), 1
		if w, n, ok := strings.Cut(word, "*"); ok {
			var err error
			if times, err = strconv.Atoi(n); err != nil {
				t.Fatalf("%q: %v", word, err)
			}
			word = w
		}
		var one []byte
		switch {
		case word == "GREETING":
			one = newGreeting("NULL", false)[:]
		case word[0] == '"':
			one = []byte(strings.Trim(word, `"`))
		default:
			var err error
			if one, err = hex.DecodeString(word); err != nil {
				t.Fatalf("%q: %v", word, err)
			}
		}
		b = append(b, bytes.Repeat(one, times)...)
	}
	return b
}
