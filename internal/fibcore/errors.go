package fibcore

import (
	"errors"
	"fmt"
)

// Errors that callers test for with errors.Is.
var (
	// ErrForeign: a route of another protocol sits under the same key.
	ErrForeign = errors.New("foreign route under the same key")
	// ErrContended: another program undoes our writes again and again; the next comes later.
	ErrContended = errors.New("contended by another program")
	// ErrTable: the table is not one of Config.Tables.
	ErrTable = errors.New("table not owned")
	// ErrInvalid: the value can not be expressed in the kernel's terms.
	ErrInvalid = errors.New("invalid")
)

// Error is a failed operation on one object.
type Error struct {
	// Op is "add", "replace", "delete", "dump" or "set".
	Op string
	// Key names the object: a wire.RouteKey, wire.Rule, wire.Address, wire.Neighbor, Sysctl or
	// NextHopID; nil: the operation is about none.
	Key any
	// Err is the kernel's errno (unix.Errno), ErrForeign, ErrTable, or
	// ErrInvalid, possibly wrapped.
	Err error
	// Text is the kernel's extended-ACK message, "" if it gave none.
	Text string
}

func (e *Error) Error() string {
	s := "fib: " + e.Op
	if e.Key != nil {
		s += fmt.Sprintf(" %v", e.Key)
	}
	s += fmt.Sprintf(": %v", e.Err)
	if e.Text != "" {
		s += " (" + e.Text + ")"
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
