package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// NewNetNS makes an empty network namespace and binds it to path.
func NewNetNS(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	done := make(chan error)
	go func() {
		// This thread ends with its goroutine, and is never run in again.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	return nil
}

// DropNetNS removes a namespace made with [NewNetNS]; it disappears when the
// last process in it does.
func DropNetNS(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Remove(path)
}

// Sysctl writes values below /proc/sys as seen from a namespace. Each setting
// has the form "net/ipv4/ip_forward=1". Settings that the kernel does not have
// are returned as an error naming them.
func Sysctl(path string, settings ...string) error {
	return netns.Do(path, func() error {
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
				return fmt.Errorf("sysctl %s: %w", s, err)
			}
		}
		return nil
	})
}
