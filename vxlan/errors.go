package vxlan

import (
	"errors"
	"fmt"
)

// Error is the failure of one change of the kernel's state.
type Error struct {
	Op        string // "add", "replace", "delete", "create device", ...
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

// ErrClosed is returned after Close.
var ErrClosed = errors.New("vxlan: closed")

// ErrRunning is returned by a second Run.
var ErrRunning = errors.New("vxlan: already running")

// ErrForeign says that another program's entry is where one of ours should be. It is
// left alone.
var ErrForeign = errors.New("an entry that is not ours is in the way")

// ErrContended says that another program undoes each repair of an entry: repairs are delayed.
var ErrContended = errors.New("another program undoes each repair: repairs are delayed")
