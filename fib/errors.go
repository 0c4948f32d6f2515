package fib

import (
	"errors"

	"github.com/hyperfib/hyperfib/internal/fibcore"
)

// Errors that callers test for with errors.Is.
var (
	// ErrForeign: a route of another protocol sits under the same key.
	ErrForeign = fibcore.ErrForeign
	// ErrContended: another program undoes our writes again and again; the next comes later.
	ErrContended = fibcore.ErrContended
	// ErrClosed: Run has returned, or the Watcher, RouteWatcher or Learner was closed.
	ErrClosed = errors.New("fib: closed")
	// ErrInUse: another FIB owns the protocol number in this network namespace.
	ErrInUse = errors.New("fib: in use")
	// ErrRunning: Run was called before.
	ErrRunning = errors.New("fib: already running")
	// ErrTable: the table is not one of Config.Tables.
	ErrTable = fibcore.ErrTable
	// ErrInvalid: the value can not be expressed in the kernel's terms.
	ErrInvalid = fibcore.ErrInvalid
)

// Error is a failed operation on one object.
type Error struct {
	// Op is "add", "replace", "delete", "dump" or "set".
	Op string
	// Key names the object; nil if the operation is about none, as a dump.
	Key Key
	// Err is the kernel's errno (unix.Errno), ErrForeign, ErrTable, or
	// ErrInvalid, possibly wrapped.
	Err error
	// Text is the kernel's extended-ACK message, "" if it gave none.
	Text string
}

func (e *Error) Error() string {
	return (&fibcore.Error{Op: e.Op, Key: e.Key, Err: e.Err, Text: e.Text}).Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
