package bfd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/sock"
)

// space is a network namespace with the sockets of its sessions. The maps belong
// to the Server, under its lock; the owner only knows the descriptors.
type space struct {
	netns string
	tx    [2]*txSocket        // raw, IPv4 and IPv6
	rx    map[rxKey]*rxSocket // by what they are bound to
	echo  map[rxKey]*txSocket // packet sockets, also in rx
	users int                 // sessions
}

// rxKey is what a receiving socket is bound to. A zero address stands for all
// addresses of the family.
type rxKey struct {
	ipv6    bool
	port    uint16
	local   netip.Addr
	ifindex int // of a link-local address, or of a VRF
}

// rxSocket receives control packets.
type rxSocket struct {
	fd    int
	space *space
	rxKey
}

// txSocket sends finished frames of one family, in batches.
type txSocket struct {
	fd    int
	ipv6  bool
	batch []mmsghdr
	who   []*entry
}

// txBatch is the most packets handed to the kernel at once. One call with so
// many takes about 100 us, which is what a Poll may have to wait.
const txBatch = 64

// open makes sure that the sockets a session needs exist, and returns those that
// were made for it.
func (sp *space) open(c *SessionConfig, coexist bool, notice func(error)) (tx *txSocket, made *rxSocket, err error) {
	err = netns.Do(sp.netns, func() error {
		if c.Local, err = source(c.Key); err != nil {
			return err
		}
		if c.Echo {
			tx, made, err = sp.echoSocket(c.Key)
			return err
		}
		if tx, err = sp.sender(c.Peer.Is6(), notice); err != nil {
			return err
		}
		made, err = sp.receiver(c.Key, coexist)
		return err
	})
	return tx, made, err
}

// source is the session's own address: the one configured, or the one the kernel
// would send from.
func source(k Key) (netip.Addr, error) {
	if k.Local.IsValid() {
		return k.Local, nil
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = sock.BindToDevice(int(fd), k.Interface) }), err)
	}}
	peer := k.Peer
	if peer.IsLinkLocalUnicast() && peer.Is6() {
		peer = peer.WithZone(k.Interface)
	}
	conn, err := d.Dial("udp", netip.AddrPortFrom(peer, Port).String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("bfd: no local address towards %v: %w", k.Peer, err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
}

// sender returns the raw socket of a family: it receives nothing, and takes whole
// packets with their headers.
func (sp *space) sender(ipv6 bool, notice func(error)) (*txSocket, error) {
	i := index(ipv6)
	if sp.tx[i] != nil {
		return sp.tx[i], nil
	}
	fd, err := unix.Socket(family(ipv6), unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("bfd: raw socket (needs CAP_NET_RAW): %w", err)
	}
	if err := sock.SetPriority(fd, ipv6); err != nil {
		notice(fmt.Errorf("bfd: packets without priority: %w", err))
	}
	sp.tx[i] = newSender(fd, ipv6)
	return sp.tx[i], nil
}

func newSender(fd int, ipv6 bool) *txSocket {
	return &txSocket{fd: fd, ipv6: ipv6, batch: make([]mmsghdr, 0, txBatch), who: make([]*entry, 0, txBatch)}
}

// receiver makes the receiving socket of a session unless there is one.
func (sp *space) receiver(k Key, coexist bool) (*rxSocket, error) {
	key := rxKey{ipv6: k.Peer.Is6(), port: Port}
	if k.Multihop {
		key.port = MultihopPort
	}
	if k.Interface != "" {
		key.ifindex = vrfOf(k.Interface)
	}
	if coexist {
		key.local = k.Local
		if k.Local.IsLinkLocalUnicast() && k.Local.Is6() {
			link, err := net.InterfaceByName(k.Interface)
			if err != nil {
				return nil, fmt.Errorf("bfd: %w", err)
			}
			key.ifindex = link.Index
		}
	}
	if sp.rx[key] != nil {
		return nil, nil
	}
	fd, err := listen(key)
	if err != nil {
		return nil, fmt.Errorf("bfd: port %d (another BFD daemon? see Config.Coexist): %w", key.port, err)
	}
	r := &rxSocket{fd: fd, space: sp, rxKey: key}
	sp.rx[key] = r
	return r, nil
}

// rxBuffer is the receive buffer of a socket: with it, 1000 sessions at 10 ms
// survive that this process does not run for a tenth of a second.
const rxBuffer = 8 << 20

func listen(key rxKey) (fd int, err error) {
	fd, err = unix.Socket(family(key.ipv6), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := errors.Join(options(fd, key), bind(fd, key)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rxBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, rxBuffer)
	}
	return fd, nil
}

// options asks for what a packet must come with: TTL, destination, interface and
// arrival time.
func options(fd int, key rxKey) error {
	type option struct{ level, name int }
	wanted := []option{{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}}
	if key.ipv6 {
		wanted = append(wanted, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO}, option{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT})
	} else {
		wanted = append(wanted, option{unix.IPPROTO_IP, unix.IP_PKTINFO}, option{unix.IPPROTO_IP, unix.IP_RECVTTL})
	}
	if key.local.IsValid() {
		wanted = append(wanted, option{unix.SOL_SOCKET, unix.SO_REUSEADDR})
	}
	if key.ifindex != 0 && !key.local.IsLinkLocalUnicast() {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, key.ifindex); err != nil {
			return os.NewSyscallError("setsockopt SO_BINDTOIFINDEX", err)
		}
	}
	for _, o := range wanted {
		if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

func bind(fd int, key rxKey) error {
	var sa unix.Sockaddr
	if key.ipv6 {
		a := &unix.SockaddrInet6{Port: int(key.port), ZoneId: uint32(key.ifindex)}
		if key.local.IsValid() {
			a.Addr = key.local.As16()
		}
		sa = a
	} else {
		a := &unix.SockaddrInet4{Port: int(key.port)}
		if key.local.IsValid() {
			a.Addr = key.local.As4()
		}
		sa = a
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

func family(ipv6 bool) int {
	if ipv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func index(ipv6 bool) int {
	if ipv6 {
		return 1
	}
	return 0
}

// close closes every socket of the namespace.
func (sp *space) close() {
	for _, t := range sp.tx {
		if t != nil {
			unix.Close(t.fd)
		}
	}
	for _, r := range sp.rx {
		unix.Close(r.fd)
	}
}

// sends says whether t is one of the namespace's sockets.
func (sp *space) sends(t *txSocket) bool {
	for _, e := range sp.echo {
		if e == t {
			return true
		}
	}
	return t == sp.tx[0] || t == sp.tx[1]
}
