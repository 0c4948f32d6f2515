package main

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// The ceiling: messages encoded beforehand, by an encoder that has nothing to do with
// hyperfib's, sent 64 KiB at a time, errors drained. Nobody can be cheaper.

const rtaNHID = 30 // RTA_NH_ID

const (
	opAdd = iota
	opReplace
	opDelete
)

var opNames = [...]string{"add", "replace", "delete"}

type kind struct {
	name    string
	v6      bool
	hops    int
	group   bool // by next-hop group id
	classic bool // RTA_MULTIPATH
}

var kinds = []kind{
	{"v4 single", false, 1, false, false},
	{"v4 2-way ECMP", false, 2, false, true},
	{"v4 group", false, 2, true, false},
	{"v6 single", true, 1, false, false},
	{"v6 2-way ECMP", true, 2, false, true},
	{"v6 group", true, 2, true, false},
}

func (k kind) groupID(second bool) uint32 {
	id := uint32(100)
	if k.v6 {
		id = 110
	}
	if second {
		id++
	}
	return id
}

func attr(b []byte, typ uint16, v []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(v)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, v...)
	return append(b, make([]byte, -len(v)&3)...)
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// encode makes all buffers of one operation.
func (k kind) encode(l *lab, table uint32, n, op int, second bool) (bufs [][]byte) {
	var tail []byte
	flags := uint16(unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_EXCL)
	typ := uint16(unix.RTM_NEWROUTE)
	switch op {
	case opReplace:
		flags = unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	case opDelete:
		typ, flags = unix.RTM_DELROUTE, unix.NLM_F_REQUEST
	}
	switch {
	case k.group:
		tail = attr(tail, rtaNHID, u32(k.groupID(second)))
	case op == opDelete:
	case k.hops == 1:
		tail = attr(tail, unix.RTA_GATEWAY, gateways(k.v6, 1, second)[0].AsSlice())
		tail = attr(tail, unix.RTA_OIF, u32(uint32(l.link[0])))
	default:
		var hops []byte
		for i, gw := range gateways(k.v6, k.hops, second) {
			g := attr(nil, unix.RTA_GATEWAY, gw.AsSlice())
			hops = binary.NativeEndian.AppendUint16(hops, uint16(8+len(g)))
			hops = append(append(append(hops, 0, 0), u32(uint32(l.link[i%2]))...), g...)
		}
		tail = attr(tail, unix.RTA_MULTIPATH, hops)
	}
	var b []byte
	for i := range n {
		b = k.message(b, table, prefix(k.v6, i), typ, flags, tail)
		if len(b) > 65000 {
			bufs, b = append(bufs, b), nil
		}
	}
	return append(bufs, b)
}

func (k kind) message(b []byte, table uint32, p netip.Prefix, typ, flags uint16, tail []byte) []byte {
	start := len(b)
	family := byte(unix.AF_INET)
	if k.v6 {
		family = unix.AF_INET6
	}
	b = append(b, make([]byte, 16)...)
	b = append(b, family, byte(p.Bits()), 0, 0, byte(table), 201, 0, unix.RTN_UNICAST, 0, 0, 0, 0)
	if typ == unix.RTM_DELROUTE {
		b[start+16+6] = unix.RT_SCOPE_NOWHERE
	}
	b = attr(b, unix.RTA_DST, p.Addr().AsSlice())
	if k.v6 {
		b = attr(b, unix.RTA_PRIORITY, u32(1024))
	}
	b = append(b, tail...)
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+4:], typ)
	binary.NativeEndian.PutUint16(b[start+6:], flags)
	return b
}

// blast sends the buffers and returns the CPU time.
func blast(fd int, bufs [][]byte) time.Duration {
	in := make([]byte, 1<<16)
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	start := usage(unix.RUSAGE_SELF)
	for _, b := range bufs {
		must(unix.Sendto(fd, b, 0, to))
		for {
			if n, _, err := unix.Recvfrom(fd, in, unix.MSG_DONTWAIT); err != nil {
				break
			} else if errno := int32(binary.NativeEndian.Uint32(in[16:])); n > 20 && errno != 0 {
				panic(unix.Errno(-errno))
			}
		}
	}
	return time.Duration(usage(unix.RUSAGE_SELF) - start)
}

func rawSocket(l *lab) (fd int) {
	must(netns.Do(l.path(), func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	}))
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 1<<20)
	return fd
}
