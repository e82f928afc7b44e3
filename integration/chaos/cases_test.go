//go:build linux

package chaos

import "testing"

// TestCases runs what means the same on each kind of cluster; those of
// containers are in integration/cluster.
func TestCases(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(t *testing.T) Cluster
	}{
		{"one process", func(t *testing.T) Cluster { return newTasks(t) }},
		{"processes", func(t *testing.T) Cluster { return newProcesses(t, "") }},
	} {
		for _, c := range Cases {
			t.Run(kind.name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				c.Play(NewRun(t, kind.make(t)))
			})
		}
	}
}
