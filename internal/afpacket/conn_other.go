//go:build !linux

package afpacket

import (
	"errors"
	"time"
)

// Conn does not exist elsewhere than on Linux: [Open] returns [errors.ErrUnsupported].
type Conn struct{}

func Open(Config) (*Conn, error) { return nil, errors.ErrUnsupported }

func (*Conn) Add(link int) error { return errors.ErrUnsupported }

func (*Conn) Limit(link int, perSecond float64) {}

func (*Conn) Remove(link int) {}

func (*Conn) Read([]Frame) (int, error) { return 0, errors.ErrUnsupported }

func (*Conn) Write([]Frame) (sent int, err error) { return 0, errors.ErrUnsupported }

func (*Conn) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

func (*Conn) Silenced(link int) uint64 { return 0 }

func (*Conn) Dropped() uint32 { return 0 }

func (*Conn) Close() error { return nil }
