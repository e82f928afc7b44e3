//go:build !amd64 || purego

package salsa

const fast = false

func xorGroups(_, _ *byte, _ int, _ *state) { panic("salsa: not on this processor") }
