//go:build !linux

package rtnl

import (
	"errors"
	"fmt"
)

// Socket is a NETLINK_ROUTE socket, which only Linux has.
type Socket struct{}

var errUnsupported = fmt.Errorf("rtnetlink: %w", errors.ErrUnsupported)

// Open returns an error that is [errors.ErrUnsupported].
func Open(Config) (*Socket, error) { return nil, errUnsupported }

// Port returns 0.
func (*Socket) Port() uint32 { return 0 }

// Send fails.
func (*Socket) Send([]byte) error { return errUnsupported }

// Receive fails.
func (*Socket) Receive([]byte) (int, error) { return 0, errUnsupported }

// Wait fails.
func (*Socket) Wait() error { return errUnsupported }

// Dump fails.
func (*Socket) Dump([]byte, []byte, func([]byte) (bool, error)) error { return errUnsupported }

// Join fails.
func (*Socket) Join(...uint32) error { return errUnsupported }

// Ignore fails.
func (*Socket) Ignore(...uint32) error { return errUnsupported }

// Close does nothing.
func (*Socket) Close() error { return nil }
