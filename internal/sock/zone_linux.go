package sock

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Numbered returns an IPv6 address with the index of its interface in place of the name in its
// zone, as the network namespace of the calling thread has it now. Package net remembers names and
// indexes for a minute and for the whole process (net/interface.go, ipv6ZoneCache), so that a name
// means the index that an interface of that name had before, or has in another namespace: the
// kernel answers "invalid argument" or "network is unreachable". An address without a zone, or with a
// number for it, is returned as it is.
func Numbered(a netip.Addr) (netip.Addr, error) {
	name := a.Zone()
	if _, err := strconv.Atoi(name); err == nil || name == "" {
		return a, nil
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return a, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr)
	}
	if err != nil {
		return a, fmt.Errorf("interface %s: %w", name, err)
	}
	return a.WithZone(strconv.Itoa(int(ifr.Uint32()))), nil
}

// Zone returns the name of the interface that a socket's own address is on, or that its peer's is: the
// zone of a link-local address, as the socket's network namespace has it now. It is "" for addresses
// that have none. See [Numbered] for why package net is not asked.
func Zone(fd int, peer bool) (string, error) {
	get := unix.Getsockname
	if peer {
		get = unix.Getpeername
	}
	a, err := get(fd)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	v6, ok := a.(*unix.SockaddrInet6)
	if !ok || v6.ZoneId == 0 {
		return "", nil
	}
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	ifr.SetUint32(v6.ZoneId)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr); err != nil {
		return "", os.NewSyscallError("ioctl SIOCGIFNAME", err)
	}
	return ifr.Name(), nil
}
