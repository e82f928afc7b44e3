package bench

import (
	"path/filepath"
	"slices"
)

// Systems returns everything that can be measured, in the order of the table.
// base, if not empty, is the folder of the binaries of another commit, which are
// measured beside this one's.
func Systems(s *Site, base string) []*System {
	all := []*System{
		ours("ours-null", s.Bin, false, "pipeline"),
		ours("ours-curve", s.Bin, true, "pipeline"),
		ours("ours-null-calls", s.Bin, false, "calls"),
		ours("ours-curve-calls", s.Bin, true, "calls"),
		libzmq("libzmq-null", false),
		libzmq("libzmq-curve", true),
		natsSystem("nats", false, "pipeline"),
		natsSystem("nats-tls", true, "pipeline"),
		natsSystem("nats-calls", false, "calls"),
		natsSystem("nats-tls-calls", true, "calls"),
	}
	if base != "" {
		base = filepath.Clean(base)
		all = append(all, ours("base-null", base, false, "pipeline"), ours("base-curve", base, true, "pipeline"))
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
