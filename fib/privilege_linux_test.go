package fib

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"golang.org/x/sys/unix"
)

// TestPrivilege: without CAP_NET_ADMIN Run says so at once, whether or not anything is
// desired. A dry run needs none.
func TestPrivilege(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	path := nstest.New(t, "plain").Path
	run := make(chan error, 2)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := dropNetAdmin(); err != nil {
			run <- err
			run <- err
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), nstest.Patience)
		defer cancel()
		for _, dry := range []bool{false, true} {
			f, err := New(Config{NetNS: path, DryRun: dry})
			if err == nil && dry {
				go func() { _ = f.Flush(ctx); cancel() }()
			}
			if err == nil {
				err = f.Run(ctx)
			}
			run <- err
		}
	}()
	if err := <-run; !errors.Is(err, unix.EPERM) || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("Run: %v", err)
	}
	if err := <-run; err != nil {
		t.Errorf("dry run: %v", err)
	}
}

// dropNetAdmin takes the capability from this thread.
func dropNetAdmin() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	return unix.Capset(&header, &data[0])
}
