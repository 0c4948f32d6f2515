package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// enter runs f in the namespace fd and brings the thread back: setns(2) moves the calling
// thread alone. A thread that cannot be brought back stays locked, so that the runtime ends
// it with its goroutine (see runtime.LockOSThread) instead of running other goroutines in
// the wrong namespace. /proc/thread-self, unlike /proc/self, is the calling thread (proc(5)).
func enter(fd int, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace: setns: %w", err)
	}
	err = f()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
