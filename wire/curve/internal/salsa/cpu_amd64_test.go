//go:build !purego

package salsa

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// eachVector calls fn with each kind of vectors that is here.
func eachVector(fn func(vector)) {
	best := vectors
	defer func() { vectors = best }()
	for _, vectors = range []vector{none, bits256, bits512} {
		if vectors <= best {
			fn(vectors)
		}
	}
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
