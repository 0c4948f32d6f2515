package lookup

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// socket is the kernel of a namespace.
type socket struct {
	path string
	fd   int
	seq  uint32
	buf  []byte
}

// answerTime is how long the kernel may take to answer.
const answerTime = 10 * time.Second

// Open opens a connection to the kernel of the namespace at path, "" for the process's own. It
// needs no rights for the process's own.
func Open(path string) (c interface {
	Conn
	Close() error
}, err error) {
	s := &socket{path: path, buf: make([]byte, 64<<10)}
	err = netns.Do(path, func() (err error) {
		s.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	limit := unix.NsecToTimeval(int64(answerTime))
	_ = unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	// The kernel filters dumps by table with strict checking (Linux 4.20). An older one sends
	// all tables, of which Kernel takes one.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return s, nil
}

func (s *socket) Close() error { return unix.Close(s.fd) }

// Sysctl implements [Conn].
func (s *socket) Sysctl(path string) (value string, ok bool) {
	_ = netns.Do(s.path, func() error {
		data, err := os.ReadFile("/proc/sys/" + path)
		value, ok = strings.TrimSpace(string(data)), err == nil
		return nil
	})
	return value, ok
}

// Ask implements [Conn].
func (s *socket) Ask(request []byte) (body []byte, err error) {
	err = s.exchange(request, func(typ uint16, b []byte) bool {
		body = append(body, b...)
		return true
	})
	return body, err
}

// Dump implements [Conn].
func (s *socket) Dump(request []byte, f func(typ uint16, body []byte)) error {
	return s.exchange(request, func(typ uint16, b []byte) bool {
		f(typ, b)
		return false
	})
}

// exchange sends a request and calls f with each message of the answer until f, or the kernel,
// says that it was the last.
func (s *socket) exchange(request []byte, f func(typ uint16, body []byte) (last bool)) error {
	s.seq++
	native.PutUint32(request[8:], s.seq)
	if err := unix.Sendto(s.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for interrupted := false; ; {
		n, _, err := unix.Recvfrom(s.fd, s.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if n >= unix.SizeofNlMsghdr && native.Uint32(s.buf[8:]) != s.seq {
			continue // a late answer to another request
		}
		done, cut, err := messages(s.buf[:n], f)
		interrupted = interrupted || cut
		if done && err == nil && interrupted {
			err = errInterrupted
		}
		if done || err != nil {
			return err
		}
	}
}

// messages calls f with each message of a datagram. interrupted reports that the kernel has marked the dump.
func messages(b []byte, f func(typ uint16, body []byte) (last bool)) (done, interrupted bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(native.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return true, interrupted, errMalformed
		}
		body := b[unix.SizeofNlMsghdr:size]
		interrupted = interrupted || native.Uint16(b[6:])&unix.NLM_F_DUMP_INTR != 0
		switch typ := native.Uint16(b[4:]); typ {
		case unix.NLMSG_DONE:
			if len(body) >= 4 {
				if e := -int32(native.Uint32(body)); e != 0 {
					return true, interrupted, unix.Errno(e)
				}
			}
			return true, interrupted, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return true, interrupted, errMalformed
			}
			if e := -int32(native.Uint32(body)); e != 0 {
				return true, interrupted, unix.Errno(e)
			}
			return true, interrupted, nil
		default:
			if f(typ, body) {
				return true, interrupted, nil
			}
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return false, interrupted, nil
}

// Ask explains what becomes of a packet in the namespace at path; "" is the process's own. The
// interfaces of p are found by their names. filter makes the packet filter over the namespace's
// tables; nil: none. What cannot be read is said in the report.
func Ask(path string, p Packet, want *Want, filter func(Tables) (Firewall, error)) *Report {
	r, err := ask(path, p, want, filter)
	if err != nil {
		return &Report{Packet: p.String(), Unread: []string{err.Error()}, Outcome: "not known: " + err.Error()}
	}
	return r
}

func ask(path string, p Packet, want *Want, filter func(Tables) (Firewall, error)) (*Report, error) {
	k, end, err := openKernel(path)
	if err != nil {
		return nil, err
	}
	defer end()
	for _, l := range []*Link{&p.IIF, &p.OIF} {
		if name := l.Name; name != "" {
			var ok bool
			if *l, ok = k.ByName(name); !ok {
				return nil, fmt.Errorf("there is no interface %s", name)
			}
		}
	}
	var firewall Firewall
	var unread error
	if filter != nil {
		firewall, unread = filter(k)
	}
	r, err := Explain(k, p, want, firewall)
	if err == nil && unread != nil {
		r.Firewall = append(r.Firewall, fmt.Sprintf("not known: %v", unread))
		r.Unread = append(r.Unread, fmt.Sprintf("firewall: %v", unread))
	}
	return r, err
}

// AskMAC explains where frames for a MAC go in an overlay of the namespace at path; "" is the process's own. What
// cannot be read is said in the report. frames is as in [ExplainMAC].
func AskMAC(path string, o Overlay, mac net.HardwareAddr, want *WantMAC, frames func(links ...string) ([]string, error)) *MACReport {
	r, err := askMAC(path, o, mac, want, frames)
	if err != nil {
		return &MACReport{Unread: []string{err.Error()}, Outcome: fmt.Sprintf("%s: not known: %v", o.Device, err)}
	}
	return r
}

func askMAC(path string, o Overlay, mac net.HardwareAddr, want *WantMAC, frames func(links ...string) ([]string, error)) (*MACReport, error) {
	k, end, err := openKernel(path)
	if err != nil {
		return nil, err
	}
	defer end()
	return ExplainMAC(k, o, mac, want, frames)
}

// AskAddress explains which MAC an address has in an overlay of the namespace at path; "" is the process's own. What
// cannot be read is said in the report.
func AskAddress(path string, o Overlay, addr netip.Addr, want *WantAddress) *AddressReport {
	r, err := askAddress(path, o, addr, want)
	if err != nil {
		return &AddressReport{Unread: []string{err.Error()}, Outcome: fmt.Sprintf("%s: not known: %v", o.Device, err)}
	}
	return r
}

func askAddress(path string, o Overlay, addr netip.Addr, want *WantAddress) (*AddressReport, error) {
	k, end, err := openKernel(path)
	if err != nil {
		return nil, err
	}
	defer end()
	return ExplainAddress(k, o, addr, want)
}

// Overlays returns the VXLAN devices of the namespace at path that have a VNI and are ports of bridges, by their names.
func Overlays(path string) (list []Overlay, err error) {
	k, end, err := openKernel(path)
	if err != nil {
		return nil, err
	}
	defer end()
	for _, l := range k.links {
		if bridge := k.Link(l.Master); l.VNI != 0 && bridge.Index != 0 {
			list = append(list, Overlay{Device: l.Name, Bridge: bridge.Name, VNI: l.VNI})
		}
	}
	slices.SortFunc(list, func(a, b Overlay) int { return strings.Compare(a.Device, b.Device) })
	return list, nil
}

// openKernel reads the interfaces of the namespace at path. The caller calls end when it has asked.
func openKernel(path string) (k *Kernel, end func(), err error) {
	c, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	if k, err = NewKernel(c); err != nil {
		c.Close()
		return nil, nil, err
	}
	return k, func() { c.Close() }, nil
}
