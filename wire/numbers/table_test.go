package numbers

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTable_likeAMap puts and deletes at random, with numbers that ascend, have gaps
// and share their low bits, and compares with a map.
func TestTable_likeAMap(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		var table Table[int]
		want := make(map[uint64]*int)
		var live []uint64
		last := uint64(0)
		for range 200 {
			switch random.IntN(8) {
			default:
				for range random.IntN(40) {
					last += []uint64{1, 1, 1, 16, 1 << 32}[random.IntN(5)]
					want[last] = new(int)
					live = append(live, last)
					table.Put(last, want[last])
				}
			case 0, 1, 2:
				for range min(len(live), random.IntN(80)) {
					i := random.IntN(len(live))
					table.Delete(live[i])
					table.Delete(live[i]) // which does nothing
					delete(want, live[i])
					live = slices.Delete(live, i, i+1)
				}
			case 3:
				left := random.IntN(2) * len(live) / 2
				for number, v := range table.All() {
					if want[number] != v {
						t.Fatalf("seed %d: number %d is listed twice, or wrong", seed, number)
					}
					if len(want) == left {
						break
					}
					table.Delete(number)
					delete(want, number)
				}
				live = slices.DeleteFunc(live, func(n uint64) bool { return want[n] == nil })
			}
			for number, v := range want {
				if table.Get(number) != v {
					t.Fatalf("seed %d: number %d is not found", seed, number)
				}
			}
			if table.Len() != len(want) || table.Get(last+1) != nil || table.Get(0) != nil {
				t.Fatalf("seed %d: %d values, want %d", seed, table.Len(), len(want))
			}
		}
	}
}
