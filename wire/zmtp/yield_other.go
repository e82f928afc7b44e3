//go:build !linux

package zmtp

// yieldCore does nothing where the system has no such call without cgo.
func yieldCore() {}
