package afpacket

import "time"

// Batch is the largest number of frames one Read or one system call of Write
// moves.
const Batch = 64

// DefaultReceiveBuffer holds some 16,000 small frames, since the kernel doubles it and
// counts a kilobyte for each (socket(7), SO_RCVBUF; skb->truesize): 20 from each of 800
// guests that move at once, or 16 ms of a million a second, before the flood is silenced.
// The memory is taken only while frames wait.
const DefaultReceiveBuffer = 8 << 20

// Config says what a Conn receives.
type Config struct {
	NetNS         string      // network namespace by path; empty: the process's own
	EtherType     uint16      // which frames, for example 0x0806
	Accept        []Cond      // what they must be besides
	FrameSize     int         // octets kept of a frame; the rest is cut off
	ReceiveBuffer int         // SO_RCVBUF in octets; 0: DefaultReceiveBuffer
	AllMulticast  bool        // have the interfaces deliver every multicast group
	SocketStore   SocketStore // keeps the socket between two programs; nil: it ends with the Conn
}

// Frame is one Ethernet frame, from the destination address on.
type Frame struct {
	Link int    // interface index
	Data []byte // received frames alias the Conn's buffers until the next Read
	// Received is when the kernel received the frame, before anybody else had it. It has a monotonic
	// clock reading, as what time.Now returns has. Write ignores it.
	Received time.Time
}

// Cond is one condition of a socket filter: the frame has Width octets (1, 2 or 4) at
// Offset from the Ethernet header, and they have one of the values.
type Cond struct {
	Offset uint32   // in octets, from the Ethernet header
	Width  uint16   // 1, 2 or 4 octets
	Mask   uint32   // of them, these bits count; 0: all
	Values []uint32 // nil: any
}

// OneOf is the condition that the width octets at offset have one of the values.
func OneOf(offset uint32, width uint16, values ...uint32) Cond {
	return Cond{Offset: offset, Width: width, Values: values}
}

// SocketStore outlives this program and keeps its socket open: frames that
// arrive after the program's end wait in it for the program's successor. It is called by one
// goroutine at a time.
type SocketStore interface {
	// Keep keeps fd, which stays the Conn's to close.
	Keep(fd int)
	// Inherit returns the socket that an earlier program left, to be closed by the Conn,
	// and goes on keeping it; ok is false if there is none.
	Inherit() (fd int, ok bool)
}
