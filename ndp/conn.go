package ndp

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/internal/afpacket"
)

// Batch is the number of packets that one system call moves at most.
const Batch = afpacket.Batch

// frameSize holds what an Ethernet of standard MTU can bring. Longer messages are
// cut off and so fail their checks.
const frameSize = 1514

// Config says where a Conn works and what it receives.
type Config struct {
	NetNS         string      // network namespace by path, for example "/run/netns/red"; empty: the process's own
	Types         []Type      // messages to receive; nil: all five
	ReceiveBuffer int         // octets of kernel memory, taken while packets wait; 0: 8 MiB, some 16,000 packets
	SocketStore   SocketStore // keeps the socket between two programs; nil: it ends with the program
}

// SocketStore outlives the program and keeps the socket of a Conn: packets that arrive after
// the program's end wait in it for the program's successor, which does not see those that
// have waited for more than a second.
type SocketStore interface {
	// Keep keeps fd, which stays open until Close of the Conn.
	Keep(fd int)
	// Inherit returns a descriptor of the socket that an earlier program left. The store
	// goes on keeping the socket. The Conn closes the descriptor. ok is false if there is none.
	Inherit() (fd int, ok bool)
}

// Conn sends and receives Neighbor Discovery packets on a set of interfaces over one
// AF_PACKET socket. It hears every group. One goroutine may Read while any others use the
// other methods.
//
// An interface that floods does not keep the others from being heard: while the reader is
// behind, or the interface over its [Conn.Limit], what it sends is dropped before it takes
// memory. A Read that is woken for nearly every packet of very many waits up to a
// millisecond for more, which costs a fraction of the time.
//
// The socket's filter, two instructions for most packets, runs on every IPv6 packet that
// any interface of the namespace receives, forwarded ones, too.
type Conn struct {
	pc      *afpacket.Conn        // the socket
	want    [256]bool             // ICMPv6 types that Read returns
	raw     [Batch]afpacket.Frame // frames of the Read under way
	invalid atomic.Uint64         // packets that failed the checks of RFC 4861, Sections 6.1, 7.1 and 8.1

	mu  sync.Mutex            // guards what Write uses
	buf [Batch][]byte         // the octets of each frame of out
	out [Batch]afpacket.Frame // frames of the Write under way
}

// Listen opens a Conn without interfaces; [Conn.Add] adds some. It needs
// CAP_NET_RAW, and CAP_SYS_ADMIN to enter another namespace. Elsewhere than on Linux it
// returns [errors.ErrUnsupported].
func Listen(cfg Config) (*Conn, error) {
	types := cfg.Types
	if types == nil {
		types = []Type{TypeRouterSolicitation, TypeRouterAdvertisement, TypeNeighborSolicitation, TypeNeighborAdvertisement, TypeRedirect}
	}
	c := &Conn{}
	var values []uint32
	for _, t := range types {
		c.want[t] = true
		values = append(values, uint32(t))
	}
	var err error
	c.pc, err = afpacket.Open(afpacket.Config{
		NetNS:         cfg.NetNS,
		EtherType:     EtherType,
		FrameSize:     frameSize,
		ReceiveBuffer: cfg.ReceiveBuffer,
		SocketStore:   cfg.SocketStore,
		AllMulticast:  true,
		// The condition that most of the traffic fails goes first.
		Accept: []afpacket.Cond{
			afpacket.OneOf(20, 1, 58), // next header: ICMPv6
			afpacket.OneOf(54, 1, values...),
			afpacket.OneOf(12, 2, EtherType),
			{Offset: 14, Width: 1, Mask: 0xf0, Values: []uint32{0x60}}, // version 6
			afpacket.OneOf(21, 1, 255),                                 // hop limit
		},
	})
	if err != nil {
		return nil, fmt.Errorf("ndp: %w", err)
	}
	for i := range c.buf {
		c.buf[i] = make([]byte, 0, 256)
	}
	return c, nil
}

// Add starts to receive on the interface with index ifindex, or with 0 on all. It does
// nothing if that is so already. Sending needs no Add.
func (c *Conn) Add(ifindex int) error {
	if err := c.pc.Add(ifindex); err != nil {
		return fmt.Errorf("ndp: %w", err)
	}
	return nil
}

// Limit sets how many packets a second are received from the interface, which was added, and as many
// at once; 0 is no limit. Beyond, nothing is received from it for half a second.
func (c *Conn) Limit(ifindex int, perSecond float64) { c.pc.Limit(ifindex, perSecond) }

// Silenced returns how often nothing was received from the interface for a while since it was
// added: it was over its Limit, or brought more than was read while the receive buffer filled.
// What it sends meanwhile the kernel drops, uncounted.
func (c *Conn) Silenced(ifindex int) uint64 { return c.pc.Silenced(ifindex) }

// Remove stops receiving on the interface. It does nothing if that was not added.
func (c *Conn) Remove(ifindex int) { c.pc.Remove(ifindex) }

// Read waits for packets and fills at most min(len(packets), Batch). They have
// passed [Packet.Check]; what has not is dropped and counted. Their Body is valid until the
// next Read. It returns os.ErrDeadlineExceeded at the read deadline and os.ErrClosed after
// Close; no packet and no interface's fate makes it fail.
func (c *Conn) Read(packets []Packet) (int, error) {
	for {
		n, err := c.pc.Read(c.raw[:min(len(packets), Batch)])
		if err != nil {
			return 0, err
		}
		good := 0
		for _, r := range c.raw[:n] {
			p, err := ParseFrame(r.Data)
			if err == nil {
				var t Type
				t, err = p.Check()
				if err == nil && !c.want[t] {
					continue
				}
			}
			if err != nil {
				c.invalid.Add(1)
				continue
			}
			p.IfIndex = r.Link
			packets[good] = p
			good++
		}
		if good > 0 || len(packets) == 0 {
			return good, nil
		}
	}
}

// Write sends packets, each on its interface, and returns how many the kernel took. One
// that it refuses (interface down or gone, queue full, too long) is skipped; the
// first such error is returned when the rest is sent. Write does not block.
func (c *Conn) Write(packets []Packet) (sent int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(packets) > 0 {
		n := min(len(packets), Batch)
		for i := range packets[:n] {
			c.buf[i] = packets[i].appendFrame(c.buf[i][:0])
			c.out[i] = afpacket.Frame{Link: packets[i].IfIndex, Data: c.buf[i]}
		}
		ok, first := c.pc.Write(c.out[:n])
		sent += ok
		if err == nil {
			err = first
		}
		packets = packets[n:]
	}
	return sent, err
}

// SetReadDeadline makes a Read, also one under way, return at t; the zero time
// means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.pc.SetReadDeadline(t) }

// Close ends the Conn and a Read under way.
func (c *Conn) Close() error { return c.pc.Close() }

// Dropped returns how many packets the kernel had no room for since the last call.
func (c *Conn) Dropped() uint32 { return c.pc.Dropped() }

// Invalid returns how many packets failed a check since Listen.
func (c *Conn) Invalid() uint64 { return c.invalid.Load() }
