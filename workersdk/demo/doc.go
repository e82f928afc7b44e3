// Package demo holds the methods of the demoworker: real work to distribute,
// and methods that misbehave in each way a broker has to survive.
package demo

import "embed"

// Source is this package's own source, for the descriptions of its methods.
//
//go:embed demo.go work.go trouble.go
var Source embed.FS
