//go:build unix

package auth

import (
	"os/exec"
	"syscall"
)

// endGroup makes a command end with all processes that it has started.
func endGroup(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
}
