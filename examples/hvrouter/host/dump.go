package host

import (
	"encoding/binary"
	"errors"
	"iter"
	"os"

	"golang.org/x/sys/unix"
)

// dumps reads what the kernel has in the thread's network namespace. A thousand guests
// have as many interfaces, and two thousand addresses, which are read whenever one guest
// more is to be checked: in datagrams as large as the kernel makes them (32 KiB,
// netlink(7)), without a value for each attribute.
type dumps struct {
	fd  int
	buf []byte
}

func openDumps() (*dumps, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// The kernel filters (Linux 4.20): table 90 may hold a million routes. An older one
	// sends everything, which is looked through here.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &dumps{fd: fd, buf: make([]byte, 64<<10)}, nil
}

func (d *dumps) close() { _ = unix.Close(d.fd) }

// passes is how often a dump is made that is interrupted.
const passes = 8

// each asks for a dump and calls f with the body of each message. One that is interrupted (NLM_F_DUMP_INTR) may lack what was
// there all the time: it is made again. The last one counts whatever it is, since guests are not refused for it.
func (d *dumps) each(request uint16, body []byte, f func(body []byte)) error {
	m := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(m, uint32(cap(m)))
	binary.NativeEndian.PutUint16(m[4:], request)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	m = append(m, body...)
	var all []byte
	for range passes {
		interrupted := false
		all = all[:0]
		if err := unix.Sendto(d.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		for done := false; !done; {
			n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return os.NewSyscallError("recvfrom", err)
			}
			last, cut, err := messages(d.buf[:n], func(b []byte) {
				all = binary.NativeEndian.AppendUint32(all, uint32(len(b)))
				all = append(all, b...)
			})
			if err != nil {
				return err
			}
			done, interrupted = last, interrupted || cut
		}
		if !interrupted {
			break
		}
	}
	for len(all) > 0 {
		size := 4 + int(binary.NativeEndian.Uint32(all))
		f(all[4:size])
		all = all[size:]
	}
	return nil
}

// messages calls f with the body of each message of a datagram. last reports that the dump has ended, and interrupted that
// the kernel has marked it.
func messages(b []byte, f func(body []byte)) (last, interrupted bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return false, interrupted, errors.New("netlink: a message is cut off")
		}
		interrupted = interrupted || binary.NativeEndian.Uint16(b[6:])&unix.NLM_F_DUMP_INTR != 0
		body := b[unix.SizeofNlMsghdr:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, interrupted, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, interrupted, errors.New("netlink: an error is cut off")
			}
			return false, interrupted, os.NewSyscallError("netlink", unix.Errno(-int32(binary.NativeEndian.Uint32(body))))
		default:
			f(body)
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return false, interrupted, nil
}

// attributes yields those in b, without the flags of their types.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofNlAttr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}
