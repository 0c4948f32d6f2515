package afpacket

import (
	"time"

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
		c.options(fd) != nil || attach(fd, filter(nil, c.cfg.Accept, police.List{})) != nil {
		unix.Close(fd)
		return -1, false
	}
	return fd, true
}
