package zmtp

import (
	"testing"
)

// BenchmarkLink_echo sends 100-byte messages there and back over loopback, a
// number of them in flight, batched as SDK links batch.
func BenchmarkLink_echo(b *testing.B) {
	for _, bench := range []struct {
		name     string
		inFlight int
	}{{"1", 1}, {"100", 100}, {"1000", 1000}} {
		b.Run("inflight="+bench.name, func(b *testing.B) {
			router, dealer := nullPair(b)
			payload := make([]byte, 100)
			appendPayload := func(dst []byte) []byte { return append(dst, payload...) }
			echo := func(to *Link) func(m *Message) error {
				return func(m *Message) error {
					for range len(m.Bytes()) / len(payload) {
						if _, err := to.Append(appendPayload); err != nil {
							return err
						}
					}
					return nil
				}
			}
			echoed := run(router, echo(router))
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			done := make(chan struct{})
			left, running := b.N, min(bench.inFlight, b.N)
			ended := run(dealer, func(m *Message) error {
				for range len(m.Bytes()) / len(payload) {
					if left--; left == 0 {
						close(done)
					}
					if left >= running {
						if _, err := dealer.Append(appendPayload); err != nil {
							return err
						}
					}
				}
				return nil
			})
			b.ResetTimer()
			for range running {
				if _, err := dealer.Append(appendPayload); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			b.StopTimer()
			dealer.Close(nil)
			<-ended
			<-echoed
		})
	}
}
