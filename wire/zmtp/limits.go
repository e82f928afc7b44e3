package zmtp

import "time"

// Limits bounds what one connection may cost. A zero field means its default;
// a negative one is a programming error.
type Limits struct {
	// HandshakeWait is how long a peer may keep us waiting in all, from the
	// first byte of the greeting to the end of the handshake. Time that the
	// connection spends queueing for our own crypto is not counted. Default 2 s.
	HandshakeWait time.Duration
	// MaxMessage is the largest message, all frames together, in bytes. Default 16 MiB.
	MaxMessage int
	// MaxFrames is the most frames of one message. Default 64.
	MaxFrames int
	// AssemblyWait is how long a message may take from its first byte to its
	// last. Default 30 s.
	AssemblyWait time.Duration
	// MaxPending is how much may wait for a peer that has stopped reading, in
	// bytes, before it is cut as too slow; eight times as much may wait for one
	// that reads. Default 8 MiB.
	MaxPending int
	// WriteWait is how long one write, of at most 256 KiB, may take before the
	// peer is cut as too slow. Default 10 s.
	WriteWait time.Duration
}

// withDefaults returns l with every zero field set.
func (l Limits) withDefaults() Limits {
	setDefault(&l.HandshakeWait, 2*time.Second)
	setDefault(&l.MaxMessage, 16<<20)
	setDefault(&l.MaxFrames, 64)
	setDefault(&l.AssemblyWait, 30*time.Second)
	setDefault(&l.MaxPending, 8<<20)
	setDefault(&l.WriteWait, 10*time.Second)
	return l
}

func setDefault[T ~int | ~int64](v *T, d T) {
	if *v < 0 {
		panic("zmtp: negative limit")
	}
	if *v == 0 {
		*v = d
	}
}
