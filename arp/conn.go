package arp

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/internal/afpacket"
)

// Batch is the number of frames that one system call moves at most. A Read with
// room for as many is the cheapest under load.
const Batch = afpacket.Batch

// Config says where a Conn works.
type Config struct {
	NetNS         string      // network namespace by path, for example "/run/netns/red"; empty: the process's own
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

// Conn sends and receives ARP packets on a set of interfaces over one AF_PACKET socket. One
// goroutine may Read while any others use the other methods.
//
// An interface that floods does not keep the others from being heard: while the reader is
// behind, or the interface over its [Conn.Limit], what it sends is dropped before it takes
// memory. A Read that is woken for nearly every packet of very many waits up to a
// millisecond for more, which costs a fraction of the time.
type Conn struct {
	pc        *afpacket.Conn        // the socket
	raw       [Batch]afpacket.Frame // frames of the Read under way
	malformed atomic.Uint64         // frames that were no ARP

	mu  sync.Mutex            // guards what Write uses
	buf [Batch][FrameLen]byte // the octets of each frame of out
	out [Batch]afpacket.Frame // frames of the Write under way
}

// Listen opens a Conn without interfaces; [Conn.Add] adds some. It needs
// CAP_NET_RAW, and CAP_SYS_ADMIN to enter another namespace. Elsewhere than on Linux it
// returns [errors.ErrUnsupported].
func Listen(cfg Config) (*Conn, error) {
	pc, err := afpacket.Open(afpacket.Config{
		NetNS:         cfg.NetNS,
		EtherType:     EtherType,
		FrameSize:     64,
		ReceiveBuffer: cfg.ReceiveBuffer,
		SocketStore:   cfg.SocketStore,
		Accept: []afpacket.Cond{
			afpacket.OneOf(12, 2, EtherType),
			afpacket.OneOf(14, 4, 0x0001_0800), // Ethernet, IPv4
			afpacket.OneOf(18, 2, 0x0604),      // their address lengths
			{Offset: 38, Width: 4},             // the target address is there
		},
	})
	if err != nil {
		return nil, fmt.Errorf("arp: %w", err)
	}
	return &Conn{pc: pc}, nil
}

// Add starts to receive on the interface with index ifindex, or with 0 on all. It does
// nothing if that is so already. Sending needs no Add.
func (c *Conn) Add(ifindex int) error {
	if err := c.pc.Add(ifindex); err != nil {
		return fmt.Errorf("arp: %w", err)
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

// Read waits for packets and fills at most min(len(frames), Batch). Frames that
// are malformed, tagged, or addressed to another station are dropped before. It returns
// os.ErrDeadlineExceeded at the read deadline and os.ErrClosed after Close; no frame and no
// interface's fate makes it fail.
func (c *Conn) Read(frames []Frame) (int, error) {
	for {
		n, err := c.pc.Read(c.raw[:min(len(frames), Batch)])
		if err != nil {
			return 0, err
		}
		good := 0
		for _, r := range c.raw[:n] {
			if frames[good].decode(r.Data) != nil {
				c.malformed.Add(1)
				continue
			}
			frames[good].IfIndex, frames[good].Received = r.Link, r.Received
			good++
		}
		if good > 0 || len(frames) == 0 {
			return good, nil
		}
	}
}

// Write sends frames, each on its interface, and returns how many the kernel took. One
// that it refuses (interface down or gone, queue full) is skipped; the first such
// error is returned when the rest is sent. Write does not block.
func (c *Conn) Write(frames []Frame) (sent int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(frames) > 0 {
		n := min(len(frames), Batch)
		for i := range frames[:n] {
			frames[i].encode(c.buf[i][:])
			c.out[i] = afpacket.Frame{Link: frames[i].IfIndex, Data: c.buf[i][:]}
		}
		ok, first := c.pc.Write(c.out[:n])
		sent += ok
		if err == nil {
			err = first
		}
		frames = frames[n:]
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

// Malformed returns how many frames were not ARP for IPv4 over Ethernet since
// Listen. Most such are dropped in the kernel, uncounted.
func (c *Conn) Malformed() uint64 { return c.malformed.Load() }
