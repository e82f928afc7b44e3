//go:build !purego

package salsa

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestMain runs everything once for each kind of vectors that are here.
func TestMain(m *testing.M) {
	best, code := vectors, 0
	for _, vectors = range []vector{none, bits256, bits512} {
		if vectors <= best {
			code = max(code, m.Run())
		}
	}
	os.Exit(code)
}

// The processor is asked as Linux asks it.
func TestVectorsHere(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there is nobody to ask
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	_, flags, _ := strings.Cut(string(info), "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	flags += " "
	want := none
	switch {
	case strings.Contains(flags, " avx512f ") && strings.Contains(flags, " avx512_vbmi2 "):
		want = bits512
	case strings.Contains(flags, " avx2 "):
		want = bits256
	}
	if got := vectorsHere(); got != want {
		t.Errorf("vectors of %d blocks, /proc/cpuinfo says %d", got, want)
	}
}
