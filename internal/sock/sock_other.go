//go:build !linux

package sock

import "errors"

// Elsewhere than on Linux all of these return [errors.ErrUnsupported].

func SetTTL(fd int, ipv6 bool, ttl int) error { return errors.ErrUnsupported }

func SetMinTTL(fd int, ipv6 bool, ttl int) error { return errors.ErrUnsupported }

func SetPriority(fd int, ipv6 bool) error { return errors.ErrUnsupported }

func BindToDevice(fd int, name string) error {
	if name == "" {
		return nil
	}
	return errors.ErrUnsupported
}
