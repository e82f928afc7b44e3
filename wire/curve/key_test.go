package curve

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// The server's key pair of libzmq's own tests.
const (
	knownSecret = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
	knownPublic = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
)

func TestSecretKey_knownAnswer(t *testing.T) {
	k, err := ParseSecretKey(knownSecret)
	if err != nil {
		t.Fatal(err)
	}
	if k.RevealZ85() != knownSecret || k.Public().String() != knownPublic {
		t.Errorf("got pair %s and %s", k.RevealZ85(), k.Public())
	}
	const inHex = "8e0bdd697628b91d8f245587ee95c5b04d48963f79259877b49cd9063aead3b7"
	if got := hex.EncodeToString(k.key().Bytes()); got != inHex {
		t.Errorf("secret is %s", got)
	}
}

func TestSecretKey_printsNowhere(t *testing.T) {
	k := GenerateKey()
	type owner struct {
		Exported SecretKey
		hidden   SecretKey
	}
	o := owner{Exported: k, hidden: k}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b"} {
		for _, value := range []any{k, &k, o, &o, []SecretKey{k}, map[string]SecretKey{"k": k}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	fmt.Fprintln(&out, k, o)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("x", "key", k, "pointer", &k, "owner", o, "any", slog.AnyValue(&o))
	}
	for _, value := range []any{k, &k, o} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Error(err)
		}
		out.Write(text)
	}
	decimal := strings.Trim(fmt.Sprint(k.key().Bytes()), "[]")
	for _, form := range []string{k.RevealZ85(), hex.EncodeToString(k.key().Bytes()), decimal[:20]} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(form)) {
			t.Errorf("the secret is printed as %s", form)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Errorf("no %q in the output", redacted)
	}
}

func TestSecretKey_Equal(t *testing.T) {
	a, b := GenerateKey(), GenerateKey()
	again, err := ParseSecretKey(a.RevealZ85())
	if err != nil {
		t.Fatal(err)
	}
	if !a.Equal(again) || a.Equal(b) || a.Equal(SecretKey{}) || (SecretKey{}).Equal(a) || !(SecretKey{}).Equal(SecretKey{}) {
		t.Error("Equal does not compare the keys")
	}
}

func TestPublicKey_text(t *testing.T) {
	k, err := ParsePublicKey(knownPublic)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	var back PublicKey
	if err := json.Unmarshal(text, &back); err != nil || back != k {
		t.Errorf("%s reads back as %s, %v", text, back, err)
	}
	if got := k.Fingerprint(); len(got) != 39 || strings.Count(got, ":") != 7 {
		t.Errorf("fingerprint %s", got)
	}
}

func TestParsePublicKey_bad(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             "",
		"short":             knownPublic[:39],
		"long":              knownPublic + "0",
		"a quote":           knownPublic[:39] + `"`,
		"beyond ASCII":      knownPublic[:38] + "é",
		"group above 2^32":  "%nSc1" + knownPublic[5:],
		"highest group":     "#####" + knownPublic[5:],
		"line end included": knownPublic[:39] + "\n",
	} {
		_, err := ParsePublicKey(text)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if len(text) > 5 && strings.Contains(err.Error(), text[5:15]) {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add(knownPublic)
	f.Add("%nSc0" + knownPublic[5:]) // 2^32-1
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParsePublicKey(text)
		if err == nil && k.String() != text {
			t.Errorf("%q reads as %q", text, k.String())
		}
		if err != nil && k != (PublicKey{}) {
			t.Error("a key beside an error")
		}
	})
}

func TestParsePublicKey_allocations(t *testing.T) {
	bad := strings.Repeat("#", 40)
	huge := strings.Repeat("0", 1<<20)
	for _, text := range []string{knownPublic, bad, huge} {
		if n := testing.AllocsPerRun(100, func() { _, _ = ParsePublicKey(text) }); n > 1 {
			t.Errorf("%d characters allocate %v times", len(text), n)
		}
	}
}
