//go:build !amd64 || purego

package salsa

// eachVector calls fn with each kind of vectors that is here.
func eachVector(fn func(vector)) { fn(none) }
