//go:build !linux

package sock

import (
	"errors"
	"net/netip"
)

// Elsewhere than on Linux all of these return [errors.ErrUnsupported],
// but for Numbered.

func SetTTL(fd int, ipv6 bool, ttl int) error { return errors.ErrUnsupported }

func SetMinTTL(fd int, ipv6 bool, ttl int) error { return errors.ErrUnsupported }

func SetPriority(fd int, ipv6 bool) error { return errors.ErrUnsupported }

func BindToDevice(fd int, name string) error {
	if name == "" {
		return nil
	}
	return errors.ErrUnsupported
}

func Numbered(a netip.Addr) (netip.Addr, error) { return a, nil }

func Zone(fd int, peer bool) (string, error) { return "", errors.ErrUnsupported }
