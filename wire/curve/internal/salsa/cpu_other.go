//go:build !amd64 || purego

package salsa

const vectors = none

func xorGroups(_, _ *byte, _ int, _ *state) { panic("salsa: no vectors here") }
