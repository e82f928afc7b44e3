package env

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawn takes what is run on the one thread that starts children and that lasts
// as long as this process.
var spawn = sync.OnceValue(func() chan<- func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
	return starts
})

// StartChild starts cmd as a process that the kernel kills when this one ends,
// however that ends. The signal comes when the *thread* that started the child
// ends, which any goroutine of this process may bring about that is locked to
// it: so no child is started from another thread than one that lasts.
func StartChild(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	spawn() <- func() { result <- cmd.Start() }
	return <-result
}
