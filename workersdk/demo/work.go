package demo

import (
	"context"
	"math"

	"github.com/servicetools/servicetools/workersdk"
)

// Text is what WordCount counts in.
type Text struct {
	Text string
	Top  int // how many words to return, the most frequent ones; 0 = all
}

// WordCount returns how often each word of the text occurs, or only the top
// most frequent ones. A word is a run of letters, digits and underscores, in
// lower case.
func (Methods) WordCount(in Text) map[string]int { return Top(CountWords(in.Text), in.Top) }

// Limits of one call.
const (
	maxPrimes     = 1_000_000_000
	maxPixels     = 8 << 20
	maxIterations = 100_000
)

// segment is how many numbers are sieved at once: what fits a core's cache.
const segment = 1 << 18

// Primes returns how many prime numbers there are below n.
func (Methods) Primes(ctx context.Context, n int) (int, error) {
	if n > maxPrimes {
		return 0, workersdk.Errorf("out_of_range", "n is %d, the most is %d", n, maxPrimes)
	}
	small := smallPrimes(int(math.Sqrt(float64(max(n, 0)))) + 1)
	count := 0
	composite := make([]bool, segment)
	for low := 2; low < n; low += segment {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		high := min(low+segment, n)
		clear(composite)
		for _, p := range small {
			for m := max(p*p, (low+p-1)/p*p); m < high; m += p {
				composite[m-low] = true
			}
		}
		for _, c := range composite[:high-low] {
			if !c {
				count++
			}
		}
	}
	return count, nil
}

// smallPrimes returns the primes up to n.
func smallPrimes(n int) []int {
	var primes []int
	composite := make([]bool, n+1)
	for p := 2; p <= n; p++ {
		if composite[p] {
			continue
		}
		primes = append(primes, p)
		for m := p * p; m <= n; m += p {
			composite[m] = true
		}
	}
	return primes
}

// Tile is a rectangle of the complex plane and the pixels that show it.
type Tile struct {
	Left, Top, Right, Bottom float64
	Width, Height            int
	Iterations               int // most per pixel
}

// Mandelbrot computes one tile of the set, row by row, one byte a pixel: 0
// inside, else brighter the sooner the point escapes.
func (Methods) Mandelbrot(ctx context.Context, in Tile) ([]byte, error) {
	if in.Width < 1 || in.Height < 1 || in.Width > maxPixels/in.Height {
		return nil, workersdk.Errorf("out_of_range", "a tile has 1 to %d pixels", maxPixels)
	}
	if in.Iterations < 1 || in.Iterations > maxIterations {
		return nil, workersdk.Errorf("out_of_range", "iterations are 1 to %d", maxIterations)
	}
	pixels := make([]byte, 0, in.Width*in.Height)
	dx := (in.Right - in.Left) / float64(in.Width)
	dy := (in.Bottom - in.Top) / float64(in.Height)
	for y := range in.Height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for x := range in.Width {
			c := complex(in.Left+(float64(x)+.5)*dx, in.Top+(float64(y)+.5)*dy)
			pixels = append(pixels, brightness(c, in.Iterations))
		}
	}
	return pixels, nil
}

func brightness(c complex128, iterations int) byte {
	z := complex(0, 0)
	for i := range iterations {
		z = z*z + c
		if real(z)*real(z)+imag(z)*imag(z) > 4 {
			return byte(255 - 254*i/iterations)
		}
	}
	return 0
}
