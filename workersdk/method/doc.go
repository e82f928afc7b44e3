// Package method makes the exported methods of a Go value callable by name. A
// Table settles every name, shape and type once, at registration; a call is
// then one map lookup, one decode of msgpack straight into the parameters, one
// call, which goes by reflection only where direct.go has no form for the signature
// (ADR 13), and one encode.
package method
