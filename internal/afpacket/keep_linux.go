package afpacket

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Keeper is somebody who outlives this program and keeps its receiving sockets open:
// frames that arrive while nobody reads wait in them for the program's successor. Its
// methods are called by one goroutine at a time, and may be called before a Conn has
// read from the socket. See Add, Remove and Close for when.
type Keeper interface {
	// Keep keeps fd, the socket of link, in place of an earlier one. It stays the Conn's
	// to close, after Forget or at the end of the program.
	Keep(link, fd int)
	// Forget lets go of the socket of link.
	Forget(link int)
	// Inherit gives the socket of link that an earlier program left, to be closed by
	// the Conn, and goes on keeping it; ok is false if there is none.
	Inherit(link int) (fd int, ok bool)
}

// patience is how old a frame may be that waited for a successor. Both ARP and Neighbor
// Discovery ask again after a second (RFC 4861, Section 10, RETRANS_TIMER): who has
// waited longer has asked again.
const patience = time.Second

func (c *Conn) keep(link, fd int) {
	if c.cfg.Keeper != nil {
		c.cfg.Keeper.Keep(link, fd)
	}
}

func (c *Conn) forget(link int) {
	if c.cfg.Keeper != nil {
		c.cfg.Keeper.Forget(link)
	}
}

// inherit takes over the socket of link from an earlier program, if it is what this
// Conn would make: the interface may have gone meanwhile, and its number may have come
// back, which the socket does not notice.
func (c *Conn) inherit(link int) (fd int, ok bool) {
	if c.cfg.Keeper == nil {
		return -1, false
	}
	if fd, ok = c.cfg.Keeper.Inherit(link); !ok {
		return -1, false
	}
	name, err := unix.Getsockname(fd)
	at, packet := name.(*unix.SockaddrLinklayer)
	if err != nil || !packet || at.Ifindex != link || at.Protocol != htons(c.cfg.EtherType) || c.prepare(fd) != nil {
		c.forget(link)
		unix.Close(fd)
		return -1, false
	}
	return fd, true
}

// settle ends what was special about a socket that was inherited: it has been drained.
// Time stamps cost the whole host some nanoseconds a packet while anybody has them.
func (c *Conn) settle(link, fd int) {
	delete(c.heirs, link)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 0)
}

// late reports whether message i has waited so long that nobody waits for the answer.
// One without a time stamp has not.
func (r *ring) late(i int) bool {
	ts := (*unix.Timespec)(r.find(i, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, unsafe.Sizeof(unix.Timespec{})))
	return ts != nil && time.Since(time.Unix(ts.Unix())) > patience
}
