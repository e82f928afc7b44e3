package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/servicetools/servicetools/workersdk/method"
)

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                       nil,
		"one":                    {"one"},
		"  A b_c,d2 é\xffz ":     {"a", "b_c", "d2", "é", "z"},
		"func main() { x := 1 }": {"func", "main", "x", "1"},
		"日本語 text":               {"日本語", "text"},
	} {
		if got := slices.Collect(Words(text)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestTop(t *testing.T) {
	counts := CountWords("b b a a c d d d")
	if got := Top(counts, 2); !maps.Equal(got, map[string]int{"d": 3, "a": 2}) {
		t.Errorf("got %v", got)
	}
	if got := Top(counts, 0); len(got) != 4 {
		t.Errorf("got %v", got)
	}
}

func TestMethods_primes(t *testing.T) {
	for n, want := range map[int]int{-5: 0, 0: 0, 2: 0, 3: 1, 10: 4, 100: 25, 1000: 168, segment + 3: 23000, 1_000_000: 78498} {
		if got, err := (Methods{}).Primes(t.Context(), n); err != nil || got != want {
			t.Errorf("below %d: got %d, %v, want %d", n, got, err, want)
		}
	}
	if _, err := (Methods{}).Primes(t.Context(), maxPrimes+1); err == nil {
		t.Error("there is no bound")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Methods{}).Primes(gone, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestMethods_mandelbrot(t *testing.T) {
	pixels, err := Methods{}.Mandelbrot(t.Context(), Tile{-2, 1, 2, -1, 4, 2, 50})
	if err != nil || len(pixels) != 8 || pixels[1] != 0 || pixels[3] == 0 {
		t.Errorf("got %v, %v", pixels, err)
	}
	for _, bad := range []Tile{{}, {Width: 1, Height: 1}, {Width: math.MaxInt, Height: 2, Iterations: 1}, {Width: 1, Height: 1, Iterations: 1 << 30}} {
		if _, err := (Methods{}).Mandelbrot(t.Context(), bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// Every method can be served, and has a doc comment and named parameters.
func TestMethods_table(t *testing.T) {
	table, err := method.New(Methods{}, method.Options{Source: Source})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range table.Methods() {
		names = append(names, m.Name)
		if m.Doc == "" {
			t.Errorf("%s has no doc comment", m.Name)
		}
	}
	want := []string{"add", "attempt", "busy", "count", "echo", "exit", "fail", "mandelbrot", "panic", "primes", "progress",
		"return_non_sense", "sleep", "who", "word_count"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
	if s := table.Lookup([]byte("word_count")).Info().Signature; s != "WordCount(in Text { Text string; Top int }) map[string]int" {
		t.Errorf("got %s", s)
	}
}

func ExampleCountWords() {
	fmt.Println(Top(CountWords("The cat, the hat: a cat."), 2))
	// Output: map[cat:2 the:2]
}
