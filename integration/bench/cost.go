package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns what all threads of a process have used so far, to the
// nanosecond; /proc/PID/stat counts in steps of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	// The clock of another process is ^pid<<3 | CPUCLOCK_SCHED, as glibc's
	// clock_getcpuclockid(3) makes it.
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return 0, fmt.Errorf("the processor time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// usage is processor seconds of the three sides of a system.
type usage [3]float64

// The sides.
const (
	clientSide = iota
	brokerSide
	workerSide
)

// since returns what was used since before.
func (u usage) since(before usage) (used usage) {
	for i := range u {
		used[i] = u[i] - before[i]
	}
	return used
}

// sides are the PIDs of each side; PID 0 stands for no process.
type sides [3][]int

// cpu returns what each side has used so far.
func (s sides) cpu() (sum usage, err error) {
	for i, side := range s {
		for _, pid := range side {
			if pid == 0 {
				continue
			}
			used, err := cpuTime(pid)
			if err != nil {
				return sum, err
			}
			sum[i] += used.Seconds()
		}
	}
	return sum, nil
}

// resident returns the memory that a process occupies, in bytes.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}
