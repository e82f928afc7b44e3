package group

import (
	"fmt"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// held is a job object. Windows kills all processes of a job when its last
// handle is closed, which the end of this process does.
type held struct{ job windows.Handle }

var ntResumeProcess = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtResumeProcess")

// start starts cmd in a job of its own. The program is created suspended, so
// that it starts nothing before it is in the job.
func start(cmd *exec.Cmd) (*held, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("creating a job object: %w", err)
	}
	h := &held{job}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		h.release()
		return nil, fmt.Errorf("setting up a job object: %w", err)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.CreationFlags |= windows.CREATE_SUSPENDED | windows.CREATE_NEW_PROCESS_GROUP
	if err := cmd.Start(); err != nil {
		h.release()
		return nil, err
	}
	if err := h.admit(cmd.Process.Pid); err != nil {
		h.release()
		return nil, fmt.Errorf("putting a program into its job object: %w", err)
	}
	return h, nil
}

// admit puts a suspended process into the job and lets it run.
func (h *held) admit(pid int) error {
	const access = windows.PROCESS_SET_QUOTA | windows.PROCESS_TERMINATE | windows.PROCESS_SUSPEND_RESUME
	process, err := windows.OpenProcess(access, false, uint32(pid))
	if err != nil {
		return err
	}
	defer windows.CloseHandle(process)
	if err := windows.AssignProcessToJobObject(h.job, process); err != nil {
		return err
	}
	if status, _, _ := ntResumeProcess.Call(uintptr(process)); status != 0 {
		return fmt.Errorf("resuming it: status %#x", status)
	}
	return nil
}

func (h *held) kill()    { _ = windows.TerminateJobObject(h.job, 1) }
func (h *held) release() { _ = windows.CloseHandle(h.job) }

// expect does nothing: a job needs no preparation.
func expect(int) {}
