package bench

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/servicetools/servicetools/integration/env"
)

// Machine is where a run took place.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     string `json:"memory"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	LoadBefore string `json:"load_before"` // of the last 1, 5 and 15 minutes
	LoadAfter  string `json:"load_after"`
}

func thisMachine() Machine {
	m := Machine{
		CPU: strings.TrimSpace(field("/proc/cpuinfo", "model name")), Cores: runtime.NumCPU(),
		Memory: strings.TrimSpace(field("/proc/meminfo", "MemTotal")), Go: runtime.Version(), LoadBefore: loadAverage(),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	}
	return m
}

// field returns the value of the first line "name : value" of a file; empty if
// there is none.
func field(path, name string) string {
	b, _ := os.ReadFile(path) // a machine without it is described without it
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return value
		}
	}
	return ""
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg") // as in field
	fields := strings.Fields(string(b))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// busy says so if other work was going on before the run, else nothing.
func (m *Machine) busy() string {
	var load float64
	if _, err := fmt.Sscan(m.LoadBefore, &load); err != nil || load < busyLoad {
		return ""
	}
	return fmt.Sprintf("The machine was busy with other work (load average %s before the run): rates and times are worse than it can do, "+
		"and their ratios uncertain; figures by processor time are not much affected.", m.LoadBefore)
}

// busyLoad is the load average from which a run is not believed as it is.
const busyLoad = 0.5

// versions returns what the others are.
func versions() map[string]string {
	v := map[string]string{"nats-server": server.VERSION, "nats.go": nats.Version, "grpc-go": grpc.Version}
	for name, argv := range map[string][]string{
		"libzmq": {"pkg-config", "--modversion", "libzmq"},
		"pyzmq":  {env.Python, "-c", "import zmq, sys; print(zmq.__version__, 'on Python', sys.version.split()[0])"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).Output(); err == nil {
			v[name] = strings.TrimSpace(string(out))
		}
	}
	return v
}

// String describes the machine in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%d cores (%s), %s, %s, %s", m.Cores, m.CPU, m.Memory, m.Kernel, m.Go)
}
