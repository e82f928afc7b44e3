package method

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p Pace
	ran := func(n int, d time.Duration) {
		for range n {
			p.Ran(d)
		}
	}
	steps := []struct {
		what  string
		do    func()
		brief bool
	}{
		{"nothing is known", func() {}, false},
		{"too few are quick", func() { ran(proven-1, briefTime) }, false},
		{"one more is", func() { ran(1, 0) }, true},
		{"one took long", func() { ran(1, briefTime+1) }, false},
		{"too few are quick again", func() { ran(proven-1, briefTime) }, false},
		{"one more is again", func() { ran(1, briefTime) }, true},
		{"one overran, of which two tell", func() {
			p.Overran()
			p.Overran()
		}, false},
		{"as many as the first time are quick", func() { ran(proven, 0) }, false},
		{"twice as many are", func() { ran(proven, 0) }, true},
		{"some overran", func() {
			for range 2 * maxProofs {
				ran(proven<<maxProofs, 0)
				p.quick.Store(int64(proven) << p.proofs.Load())
				p.Overran()
			}
		}, false},
		{"too few of many are quick", func() { ran(proven<<maxProofs-1, 0) }, false},
		{"one more of many is", func() { ran(1, 0) }, true},
		{"one overran after many", func() {
			for range rare {
				p.Began()
			}
			p.Overran()
		}, false},
		{"half of many are quick", func() { ran(proven<<(maxProofs-1), 0) }, true},
		{"one more overran", p.Overran, false},
		{"every 50th takes long", func() {
			for range 100 {
				ran(49, briefTime)
				ran(1, time.Second)
			}
		}, false},
	}
	for _, s := range steps {
		if s.do(); p.Brief() != s.brief {
			t.Errorf("%s: brief is %v", s.what, p.Brief())
		}
	}
}
