package curve

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/wire/zmtp"
	"golang.org/x/crypto/nacl/box"
)

var update = flag.Bool("update", false, "write testdata/handshake.txt anew")

const transcriptFile = "testdata/handshake.txt"

// transcript runs one handshake and one MESSAGE each way without randomness.
// Its lines are the keys and commands by name, in hexadecimal.
func transcript(t *testing.T) string {
	t.Helper()
	random := rand.NewChaCha8([32]byte([]byte("a seed for the known answers ...")))
	key := func() SecretKey {
		k, err := generateKey(random)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	server := &Server{Key: key(), Admit: admitAll, random: rand.NewChaCha8([32]byte{1})}
	client := &Client{Key: key(), ServerKey: server.Key.Public(), random: rand.NewChaCha8([32]byte{2})}
	var lines []string
	add := func(name string, value []byte) { lines = append(lines, fmt.Sprintf("%s %x\n", name, value)) }
	add("s", server.Key.key().Bytes())
	add("c", client.Key.key().Bytes())
	// X25519 clamps what the sources give first; that is c' and s'.
	var transient [32]byte
	_, _ = rand.NewChaCha8([32]byte{1}).Read(transient[:])
	add("s'", transient[:])
	_, _ = rand.NewChaCha8([32]byte{2}).Read(transient[:])
	add("c'", transient[:])
	record := func(body []byte) []byte {
		add(string(body[1:1+body[0]]), body)
		return body
	}
	c, s, _, _ := shake(t, client, server, func(c, s *commands) { c.alter, s.alter = record, record })
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	add("MESSAGE/C", seal(t, c.Sealer, zmtp.FlagMore, "ping"))
	add("MESSAGE/S", seal(t, s.Sealer, 0, "pong"))
	return strings.Join(lines, "")
}

func TestKnownAnswers(t *testing.T) {
	got := transcript(t)
	if *update {
		if err := os.WriteFile(transcriptFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(transcriptFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the transcript differs from %s:\n%s", transcriptFile, got)
	}
}

// TestKnownAnswers_byTheRFC opens every box of the recorded transcript with
// NaCl's own box, at the offsets of RFC 26, and with no code of this package.
func TestKnownAnswers_byTheRFC(t *testing.T) {
	text, err := os.ReadFile(transcriptFile)
	if err != nil {
		t.Fatal(err)
	}
	is := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if is[name], err = hex.DecodeString(value); err != nil {
			t.Fatal(err)
		}
	}
	opens := func(name string, sealed []byte, prefix string, tail, public, secret []byte) []byte {
		t.Helper()
		var nonce [24]byte
		if copy(nonce[copy(nonce[:], prefix):], tail) != 24-len(prefix) {
			t.Fatalf("%s: nonce has %d bytes", name, len(tail))
		}
		plain, ok := box.Open(nil, sealed, &nonce, (*[32]byte)(public), (*[32]byte)(secret))
		if !ok {
			t.Fatalf("%s does not open", name)
		}
		return plain
	}
	same := func(name string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s is %x, want %x", name, got, want)
		}
	}
	hello, welcome, initiate, ready := is["HELLO"], is["WELCOME"], is["INITIATE"], is["READY"]

	same("HELLO's head", hello[:8], []byte("\x05HELLO\x01\x00"))
	transientClient := hello[80:112]
	same("HELLO's box", opens("HELLO", hello[120:], "CurveZMQHELLO---", hello[112:120], transientClient, is["s"]), make([]byte, 64))

	same("WELCOME's head", welcome[:8], []byte("\x07WELCOME"))
	plain := opens("WELCOME", welcome[24:], "WELCOME-", welcome[8:24], transientClient, is["s"])
	transientServer, cookie := plain[:32], plain[32:]

	same("INITIATE's head", initiate[:9], []byte("\x08INITIATE"))
	same("cookie", initiate[9:105], cookie)
	plain = opens("INITIATE", initiate[113:], "CurveZMQINITIATE", initiate[105:113], transientServer, is["c'"])
	permanentClient := plain[:32]
	vouch := opens("vouch", plain[48:128], "VOUCH---", plain[32:48], permanentClient, is["s'"])
	same("vouch's C'", vouch[:32], transientClient)
	opens("WELCOME with the vouch's S", welcome[24:], "WELCOME-", welcome[8:24], vouch[32:], is["c'"])
	same("metadata", plain[128:], []byte("\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"))

	same("READY's head", ready[:6], []byte("\x05READY"))
	plain = opens("READY", ready[14:], "CurveZMQREADY---", ready[6:14], transientServer, is["c'"])
	same("READY's metadata", plain, []byte("\x0bSocket-Type\x00\x00\x00\x06ROUTER"))

	message := is["MESSAGE/C"]
	same("MESSAGE's head", message[:10], []byte("\x00\x25\x07MESSAGE"))
	plain = opens("MESSAGE/C", message[18:], "CurveZMQMESSAGEC", message[10:18], transientClient, is["s'"])
	same("MESSAGE/C", plain, []byte("\x01ping"))
	message = is["MESSAGE/S"]
	plain = opens("MESSAGE/S", message[18:], "CurveZMQMESSAGES", message[10:18], transientServer, is["c'"])
	same("MESSAGE/S", plain, []byte("\x00pong"))
}
