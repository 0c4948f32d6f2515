//go:build !linux

package bgp

import (
	"errors"
	"time"
)

// A speaker needs options of TCP sockets that only Linux has under these names: elsewhere
// it gets [errors.ErrUnsupported] when it opens one.

func setMD5(fd int, k md5Key) error { return errors.ErrUnsupported }

func setFreebind(fd int, ipv6 bool) error { return errors.ErrUnsupported }

func setUserTimeout(fd int, d time.Duration) error { return errors.ErrUnsupported }

func received(fd int) (int, error) { return 0, errors.ErrUnsupported }
