package arp

import (
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
	NetNS         string // network namespace by path, for example "/run/netns/red"; empty: the process's own
	ReceiveBuffer int    // octets of kernel memory for each interface, taken while packets wait; 0: 1 MiB, 20 ms of a flood of 100,000 a second
	Keeper        Keeper // keeps the sockets while nobody reads them; nil: they end with the program
}

// Keeper outlives the program and keeps the receiving sockets of a Conn: packets that
// arrive while nobody reads wait in them for the program's successor, which does not see
// those that have waited for more than a second. It is called by one
// goroutine at a time. A descriptor it is given stays open until Forget, or until Close
// of the Conn, after which it is not used.
type Keeper interface {
	// Keep keeps fd, the socket of link, in place of an earlier one.
	Keep(link, fd int)
	// Forget lets go of the socket of link.
	Forget(link int)
	// Inherit gives a descriptor of the socket that an earlier program left for link, and
	// goes on keeping it. The Conn closes the descriptor. ok is false if there is none.
	Inherit(link int) (fd int, ok bool)
}

// Conn sends and receives ARP packets on a set of interfaces over AF_PACKET. One
// goroutine may Read while any others use the other methods.
type Conn struct {
	pc        *afpacket.Conn
	raw       [Batch]afpacket.Frame
	malformed atomic.Uint64

	mu  sync.Mutex // guards what Write uses
	buf [Batch][FrameLen]byte
	out [Batch]afpacket.Frame
}

// Listen opens a Conn without interfaces; [Conn.Add] gives it some. It needs
// CAP_NET_RAW, and CAP_SYS_ADMIN to enter another namespace.
func Listen(cfg Config) (*Conn, error) {
	pc, err := afpacket.Open(afpacket.Config{
		NetNS:         cfg.NetNS,
		EtherType:     EtherType,
		FrameSize:     64,
		ReceiveBuffer: cfg.ReceiveBuffer,
		Keeper:        cfg.Keeper,
		Filter: afpacket.Filter(64,
			afpacket.Equal(12, 2, EtherType),
			afpacket.Equal(14, 4, 0x0001_0800),                           // Ethernet, IPv4
			afpacket.Equal(18, 2, 0x0604),                                // their address lengths
			afpacket.Cond{Offset: 38, Width: 4, Low: 0, High: 1<<32 - 1}, // the target address is there
		),
	})
	if err != nil {
		return nil, err
	}
	return &Conn{pc: pc}, nil
}

// Add starts to receive on the interface with index link. It does nothing if that
// is so already. Sending needs no Add.
func (c *Conn) Add(link int) error { return c.pc.Add(link) }

// Remove stops receiving on link. It does nothing if link was not added.
func (c *Conn) Remove(link int) { c.pc.Remove(link) }

// Read waits for packets and fills at most min(len(frames), Batch). Frames that
// are malformed, tagged, or addressed to another station are dropped before. The
// interfaces take turns, so that a flood on one delays the others by one batch.
// It returns os.ErrDeadlineExceeded at the read deadline and os.ErrClosed after
// Close; no frame and no interface's fate makes it fail.
func (c *Conn) Read(frames []Frame) (int, error) {
	for {
		n, err := c.pc.Read(c.raw[:min(len(frames), Batch)])
		if err != nil {
			return 0, err
		}
		good := 0
		for _, r := range c.raw[:n] {
			if frames[good].Decode(r.Data) != nil {
				c.malformed.Add(1)
				continue
			}
			frames[good].Link = r.Link
			good++
		}
		if good > 0 || len(frames) == 0 {
			return good, nil
		}
	}
}

// Write sends frames, each on its Link, and returns how many the kernel took. One
// that it refuses (interface down or gone, queue full) is skipped; the first such
// error is returned when the rest is sent. Write does not block.
func (c *Conn) Write(frames []Frame) (sent int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(frames) > 0 {
		n := min(len(frames), Batch)
		for i := range frames[:n] {
			frames[i].Encode(c.buf[i][:])
			c.out[i] = afpacket.Frame{Link: frames[i].Link, Data: c.buf[i][:]}
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

// Dropped returns how many packets the kernel had no room for on link since the
// last call.
func (c *Conn) Dropped(link int) uint32 { return c.pc.Dropped(link) }

// Malformed returns how many frames were not ARP for IPv4 over Ethernet since
// Listen. Most such are dropped in the kernel, uncounted.
func (c *Conn) Malformed() uint64 { return c.malformed.Load() }
