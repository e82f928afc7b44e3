package zmtp

import "syscall"

// yieldCore lets other threads that wait for this core go first: those of the
// links, which the scheduler of the system would else let wait for milliseconds
// behind one that computes without end.
func yieldCore() { _, _, _ = syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
