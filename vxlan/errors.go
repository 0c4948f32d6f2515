package vxlan

import (
	"errors"
	"fmt"
)

// Error is the failure of one change of the desired or of the kernel's state.
type Error struct {
	Op        string // "set", "add", "replace", "delete", "dump", "create device", ...
	Entry     Entry  // zero for operations on devices
	Interface string // of the device, empty for entries
	Text      string // what the kernel said (extended acknowledgement), if anything
	Err       error  // often a syscall.Errno
}

// Error implements error.
func (e *Error) Error() string {
	what := e.Interface
	if what == "" {
		what = e.Entry.String()
	}
	if e.Text != "" {
		return fmt.Sprintf("vxlan: %s %s: %v: %s", e.Op, what, e.Err, e.Text)
	}
	return fmt.Sprintf("vxlan: %s %s: %v", e.Op, what, e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Errors that callers test for with errors.Is.
var (
	// ErrClosed: Run has returned, or the Watcher was closed.
	ErrClosed = errors.New("vxlan: closed")
	// ErrRunning: Run was called before.
	ErrRunning = errors.New("vxlan: already running")
	// ErrForeign: another program's entry or device is where ours should be. It is left alone.
	ErrForeign = errors.New("an entry that is not ours is in the way")
	// ErrInvalid: the value can not be expressed in the kernel's terms.
	ErrInvalid = errors.New("invalid")
)
