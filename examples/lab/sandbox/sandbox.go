// Package sandbox gives the lab namespaces of its own: fresh mount, process, IPC
// and network namespaces (and a user namespace where it is not started by root)
// that vanish with their first process, however it ends. Nothing of the machine
// outside changes but for an empty directory and a lock file, which the next
// start reuses.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrBusy says that another lab is running.
var ErrBusy = errors.New("another lab is running on this machine")

// DefaultDir is where the lab keeps its files unless told otherwise: a private
// tmpfs inside the sandbox, an empty directory with a lock file beside it outside.
func DefaultDir() string {
	if os.Geteuid() == 0 {
		return "/run/hyperfib-lab"
	}
	return filepath.Join(os.TempDir(), "hyperfib-lab-"+strconv.Itoa(os.Geteuid()))
}

const (
	envDir  = "HYPERFIB_LAB_DIR" // set inside the sandbox
	envHost = "HYPERFIB_LAB_NOT_ROOT"
)

// Inside reports whether this process is the first one of a sandbox.
func Inside() bool { return os.Getenv(envDir) != "" }

// Run takes the lock of dir, starts this program again with the same arguments
// inside a new sandbox, and returns its exit code when it ended. Interrupts are
// left to the inner process, which is killed if this one dies. If it is not nil, the inner process
// inherits a file, which [Inherited] returns there.
func Run(dir string, inherit *os.File) (int, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	// Pdeathsig fires when the starting thread ends, so that thread must stay.
	runtime.LockOSThread()
	signal.Notify(make(chan os.Signal, 8), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	cmd := command(dir, lock)
	if inherit != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, inherit)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("no namespaces: %w\nThe lab needs root, or a system on which ordinary users may make user namespaces", err)
	}
	record(lock, cmd.Process.Pid)
	stop := forward(cmd.Process)
	defer stop()
	return exitCode(cmd.Wait())
}

func command(dir string, lock *os.File) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{lock} // held as long as the inner process lives
	cmd.Env = append(os.Environ(), envDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.Env = append(cmd.Env, envHost+"=1")
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return cmd
}

// forward passes on signals that were sent to this process alone. Those from a
// terminal reach both, and the inner one does not mind two.
func forward(p *os.Process) (stop func()) {
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		for s := range ch {
			_ = p.Signal(s)
		}
	}()
	return func() { signal.Stop(ch); close(ch) }
}

func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	}
	return 0, fmt.Errorf("the lab was ended: %w", err)
}

// Enter finishes the sandbox from the inside: mounts become private, the lab's
// directory becomes a tmpfs, /proc shows the new process namespace. It returns
// the directory and the process id by which the outside knows this process.
func Enter() (dir string, outer int, err error) {
	dir = os.Getenv(envDir)
	os.Unsetenv(envDir)
	unix.CloseOnExec(3) // the lock
	if self, err := os.Readlink("/proc/self"); err == nil {
		outer, _ = strconv.Atoi(self)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", 0, fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("hyperfib-lab", dir, "tmpfs", 0, "mode=755"); err != nil {
		return "", 0, fmt.Errorf("tmpfs on %s: %w", dir, err)
	}
	// Where a container forbids it, the old one does as well.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	return dir, outer, nil
}

// Inherited returns the file that was given to [Run].
func Inherited() *os.File {
	unix.CloseOnExec(4) // behind the lock
	return os.NewFile(4, "inherited")
}

// Rootless reports whether the sandbox was made by an ordinary user.
func Rootless() bool { return os.Getenv(envHost) != "" }

func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		b, _ := os.ReadFile(f.Name())
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w (process %s, lock %s)", ErrBusy, strings.TrimSpace(string(b)), f.Name())
		}
		return nil, err
	}
	return f, nil
}

func record(lock *os.File, pid int) {
	_ = lock.Truncate(0)
	_, _ = lock.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
}
