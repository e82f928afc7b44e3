// Package version tells which build of servicetools is running.
package version

import "runtime/debug"

// stamped is set by the linker in released binaries:
// -ldflags "-X github.com/servicetools/servicetools/wire/version.stamped=v0.1.0".
var stamped string

// String returns the stamped version, else the module's or the commit's, else "devel".
func String() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "devel"
}
