package afpacket

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/police"
)

// patience is how old a frame may be that waited for a successor. Both ARP and Neighbor
// Discovery ask again after a second (RFC 4861, Section 10, RETRANS_TIMER): the
// sender of an older frame has sent another one.
const patience = time.Second

// inherit takes over the socket of an earlier program, if it is what this Conn would
// make. It receives from every interface until the first Read: the interfaces of the
// earlier program are added one by one.
func (c *Conn) inherit() (fd int, ok bool) {
	if c.cfg.SocketStore == nil {
		return -1, false
	}
	if fd, ok = c.cfg.SocketStore.Inherit(); !ok {
		return -1, false
	}
	name, err := unix.Getsockname(fd)
	at, packet := name.(*unix.SockaddrLinklayer)
	if err != nil || !packet || at.Ifindex != 0 || at.Protocol != htons(c.cfg.EtherType) ||
		c.buffer(fd) != nil || attach(fd, filter(nil, c.cfg.Accept, police.List{})) != nil {
		unix.Close(fd)
		return -1, false
	}
	return fd, true
}

// settle ends what was special about a socket that was inherited: it has been drained.
// Time stamps cost the whole host some nanoseconds a packet while any socket has them
// (net/core/dev.c, net_enable_timestamp).
func (c *Conn) settle() {
	if c.heir {
		c.heir = false
		_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 0)
	}
}

// stamp returns when the kernel received message i; zero if it does not say.
func (r *ring) stamp(i int) time.Time {
	const head, size = unix.SizeofCmsghdr, unsafe.Sizeof(unix.Timespec{})
	if uintptr(r.msgs[i].hdr.Controllen) < head+size {
		return time.Time{}
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&r.control[i]))
	if c.Level != unix.SOL_SOCKET || c.Type != unix.SCM_TIMESTAMPNS {
		return time.Time{}
	}
	ts := (*unix.Timespec)(unsafe.Pointer(&r.control[i][head]))
	return time.Unix(ts.Unix())
}
