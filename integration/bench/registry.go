package bench

import (
	"path/filepath"
	"slices"
)

// The names of the systems. A name with "calls" is the same system with one
// goroutine for each call in flight instead of one for all.
const (
	OursNull       = "ours-null"
	OursCurve      = "ours-curve"
	OursNullCalls  = "ours-null-calls"
	OursCurveCalls = "ours-curve-calls"
	LibzmqNull     = "libzmq-null"
	LibzmqCurve    = "libzmq-curve"
	NATS           = "nats"
	NATSTLS        = "nats-tls"
	NATSCalls      = "nats-calls"
	NATSTLSCalls   = "nats-tls-calls"
	PyzmqNull      = "pyzmq-null"
	PyzmqCurve     = "pyzmq-curve"
	GRPC           = "grpc"
	GRPCTLS        = "grpc-tls"
	BaseNull       = "base-null"
	BaseCurve      = "base-curve"
)

// Systems returns everything that can be measured, in the order of the table.
// base, if not empty, is the folder of the binaries of another commit, which are
// measured beside this one's.
func Systems(s *Site, base string) []*System {
	all := []*System{
		ours{OursNull, s.Bin, false, pipelined}.system(),
		ours{OursCurve, s.Bin, true, pipelined}.system(),
		ours{OursNullCalls, s.Bin, false, blocking}.system(),
		ours{OursCurveCalls, s.Bin, true, blocking}.system(),
		libzmq(LibzmqNull, false),
		libzmq(LibzmqCurve, true),
		natsSystem(NATS, false, pipelined),
		natsSystem(NATSTLS, true, pipelined),
		natsSystem(NATSCalls, false, blocking),
		natsSystem(NATSTLSCalls, true, blocking),
		pyzmq(PyzmqNull, false),
		pyzmq(PyzmqCurve, true),
		grpcSystem(GRPC, false),
		grpcSystem(GRPCTLS, true),
	}
	if base != "" {
		base = filepath.Clean(base)
		all = append(all, ours{BaseNull, base, false, pipelined}.system(), ours{BaseCurve, base, true, pipelined}.system())
	}
	return all
}

// Choose returns the systems with the given names, in the order of the table,
// and the names that there are not.
func Choose(all []*System, names []string) (chosen []*System, unknown []string) {
	for _, name := range names {
		if !slices.ContainsFunc(all, func(s *System) bool { return s.Name == name }) {
			unknown = append(unknown, name)
		}
	}
	for _, s := range all {
		if slices.Contains(names, s.Name) {
			chosen = append(chosen, s)
		}
	}
	return chosen, unknown
}
