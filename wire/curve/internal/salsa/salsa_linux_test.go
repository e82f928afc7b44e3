//go:build amd64 && !purego

package salsa

import (
	"os"
	"strings"
	"testing"
)

// The processor is asked as Linux asks it.
func TestHasVectors_isWhatTheSystemSays(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	_, flags, _ := strings.Cut(string(info), "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	flags += " "
	want := strings.Contains(flags, " avx512f ") && strings.Contains(flags, " avx512_vbmi2 ")
	if fast != want {
		t.Errorf("fast is %v, /proc/cpuinfo says %v", fast, want)
	}
}
