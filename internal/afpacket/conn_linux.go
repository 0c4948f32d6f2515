package afpacket

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Batch is the largest number of frames one Read or one system call of Write
// moves.
const Batch = 64

// DefaultReceiveBuffer holds 20 ms of a flood of 100,000 small frames a second: what
// a reader may be kept from its processor. The kernel's own default holds 2 ms. It is
// taken only while frames wait.
const DefaultReceiveBuffer = 1 << 20

// Config says what a Conn receives.
type Config struct {
	NetNS         string            // network namespace by path; empty: the process's own
	EtherType     uint16            // which frames, for example 0x0806
	Filter        []unix.SockFilter // as made by Filter
	FrameSize     int               // octets kept of a frame; the rest is cut off
	ReceiveBuffer int               // SO_RCVBUF of each interface in octets; 0: DefaultReceiveBuffer
	AllMulticast  bool              // have the interfaces deliver every multicast group
	Keeper        Keeper            // keeps the sockets while nobody reads them; nil: nobody
}

// Frame is one Ethernet frame, from the destination address on.
type Frame struct {
	Link int    // interface index
	Data []byte // received frames alias the Conn's buffers until the next Read
}

// Conn reads and writes frames on a set of interfaces. One goroutine may Read
// while others Write, Add and Remove.
type Conn struct {
	cfg   Config
	epoll *os.File
	raw   syscall.RawConn
	poll  func(fd uintptr) bool // made once: a closure a Read would allocate

	adding sync.Mutex // one Add or Remove at a time
	mu     sync.Mutex // guards links and the descriptors in it
	links  map[int]int
	heirs  map[int]bool // links whose socket was inherited and is not drained yet
	closed bool

	rx     *ring
	events [16]unix.EpollEvent
	out    []Frame // of the Read under way
	n      int
	err    error

	wmu sync.Mutex // guards tx and the sending descriptor
	tx  *ring
	tfd int
}

// Open makes a Conn without interfaces. It needs CAP_NET_RAW.
func Open(cfg Config) (*Conn, error) {
	c := &Conn{cfg: cfg, links: make(map[int]int), heirs: make(map[int]bool), rx: newRing(Batch, cfg.FrameSize), tx: newRing(Batch, 0), tfd: -1}
	c.poll = c.ready
	err := netns.Do(cfg.NetNS, func() (err error) {
		c.tfd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return os.NewSyscallError("socket AF_PACKET", err)
	})
	if err != nil {
		return nil, err
	}
	efd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		unix.Close(c.tfd)
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	_ = unix.SetNonblock(efd, true) // os.NewFile hands only such descriptors to the poller
	c.epoll = os.NewFile(uintptr(efd), "afpacket")
	if c.raw, err = c.epoll.SyscallConn(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Add starts to receive on the interface with index link, or with 0 on all of them at
// once; frames then have Link 0. Adding it again does
// nothing.
func (c *Conn) Add(link int) error {
	c.adding.Lock()
	defer c.adding.Unlock()
	c.mu.Lock()
	_, have := c.links[link]
	c.mu.Unlock()
	if have {
		return nil
	}
	fd, heir := c.inherit(link)
	if !heir {
		var err error
		if fd, err = c.socket(link); err != nil {
			return fmt.Errorf("interface %d: %w", link, err)
		}
		c.keep(link, fd)
	}
	if err := c.begin(link, fd, heir); err != nil {
		c.forget(link)
		unix.Close(fd)
		return err
	}
	return nil
}

// begin reads fd from now on.
func (c *Conn) begin(link, fd int, heir bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	if heir {
		c.heirs[link] = true
	}
	c.links[link] = fd
	var failed error
	err := c.raw.Control(func(efd uintptr) {
		failed = unix.EpollCtl(int(efd), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(link)})
	})
	if err = cmp.Or(err, failed); err != nil {
		delete(c.links, link)
		return fmt.Errorf("interface %d: epoll_ctl: %w", link, err)
	}
	return nil
}

// Remove stops receiving on link. It does nothing if link was not added. The
// kernel may take some milliseconds to let go of the socket; Remove does not wait
// for it.
func (c *Conn) Remove(link int) {
	c.adding.Lock()
	defer c.adding.Unlock()
	c.mu.Lock()
	fd, ok := c.links[link]
	delete(c.links, link)
	delete(c.heirs, link)
	if ok {
		_ = c.raw.Control(func(efd uintptr) { _ = unix.EpollCtl(int(efd), unix.EPOLL_CTL_DEL, fd, nil) })
	}
	c.mu.Unlock()
	if ok {
		c.forget(link)
		go unix.Close(fd)
	}
}

// Close ends the Conn; a Read under way returns os.ErrClosed. What the Keeper keeps it
// goes on keeping.
func (c *Conn) Close() error {
	c.mu.Lock()
	links := c.links
	c.links, c.closed = map[int]int{}, true
	c.mu.Unlock()
	err := c.epoll.Close()
	for _, fd := range links {
		unix.Close(fd)
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.tfd >= 0 {
		unix.Close(c.tfd)
		c.tfd = -1
	}
	return err
}

// SetReadDeadline makes a Read, also the one under way, return
// os.ErrDeadlineExceeded at t. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.epoll.SetReadDeadline(t) }

// Read waits for frames and fills at most min(len(frames), Batch) of them. Their
// Data is valid until the next Read. An interface that goes down or away is no
// error: the others go on.
func (c *Conn) Read(frames []Frame) (int, error) {
	if len(frames) == 0 {
		return 0, nil
	}
	c.out, c.n, c.err = frames[:min(len(frames), Batch)], 0, nil
	if err := c.raw.Read(c.poll); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed { // the poller's own word for it is not exported
			err = os.ErrClosed
		}
		return 0, err
	}
	return c.n, c.err
}

// ready collects what the ready sockets hold; it reports false if that is
// nothing, and the poller waits.
func (c *Conn) ready(efd uintptr) bool {
	for {
		n, err := unix.EpollWait(int(efd), c.events[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			c.err = os.NewSyscallError("epoll_wait", err)
			return true
		}
		if n == 0 {
			return false
		}
		c.mu.Lock()
		quota := max(1, len(c.out)/n)
		for _, ev := range c.events[:n] {
			link := int(ev.Fd)
			if fd, ok := c.links[link]; ok && c.n < len(c.out) {
				c.collect(fd, link, quota)
			}
		}
		c.mu.Unlock()
		if c.n > 0 {
			return true
		}
	}
}

// collect takes at most quota frames from one socket. Errors of a socket (its
// interface went down) are cleared by the call that reports them.
func (c *Conn) collect(fd, link, quota int) {
	first := c.n
	last := min(first+quota, len(c.out))
	for i := first; i < last; i++ {
		c.rx.arm(i)
	}
	got, e := recvmmsg(fd, c.rx.msgs[first:last])
	heir := c.heirs[link]
	if heir && (e == unix.EAGAIN || e == 0 && got < last-first) {
		c.settle(link, fd)
	}
	if e != 0 {
		return
	}
	for i := first; i < first+got; i++ {
		if c.rx.tagged(i) || heir && c.rx.late(i) {
			continue
		}
		// A frame that is dropped leaves a gap in the ring: swap its buffer behind.
		c.rx.bufs[c.n], c.rx.bufs[i] = c.rx.bufs[i], c.rx.bufs[c.n]
		length := min(int(c.rx.msgs[i].len), len(c.rx.bufs[c.n]))
		c.out[c.n] = Frame{Link: link, Data: c.rx.bufs[c.n][:length]}
		c.n++
	}
}

// Dropped returns how many frames the kernel dropped on link since the last call
// because its receive buffer was full.
func (c *Conn) Dropped(link int) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, ok := c.links[link]
	if !ok {
		return 0
	}
	stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return stats.Drops
}
