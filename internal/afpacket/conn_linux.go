package afpacket

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/police"
)

// Conn reads and writes frames on a set of interfaces. One goroutine may Read
// while others use the other methods.
type Conn struct {
	cfg  Config                // as given
	gate gate                  // where Read waits
	poll func(fd uintptr) bool // made once: a closure a Read would allocate

	ended atomic.Bool // Close was called

	mu      sync.Mutex                   // guards what follows, to listed
	fd      int                          // -1: closed
	bound   bool                         // receives; a Conn that only sends does not
	reading bool                         // the filter names interfaces
	police  police.Policer               // which interfaces are silenced
	timer   *time.Timer                  // for the end of an interface's silence
	prog    []unix.SockFilter            // the filter
	listed  error                        // why the filter does not say what it ought to
	joined  map[int]bool                 // interfaces whose groups were joined, by index
	heir    bool                         // the socket was inherited, and has not been read empty yet
	full    int                          // batches in a row that were
	memory  [unix.SK_MEMINFO_VARS]uint32 // what SO_MEMINFO said last

	rx  *ring   // of the Read under way, as is what follows
	out []Frame // frames of the caller, to be filled
	n   int     // how many of out are filled
	err error   // why there are no more

	wmu sync.Mutex // guards tx, and the descriptor against Close
	tx  *ring      // headers of the Write under way
}

// Open makes a Conn without interfaces, or takes over the socket that an earlier program
// left with the SocketStore. It needs CAP_NET_RAW.
func Open(cfg Config) (c *Conn, err error) {
	c = &Conn{cfg: cfg, rx: newRing(Batch, cfg.FrameSize), tx: newRing(Batch, 0), joined: map[int]bool{}}
	c.poll = c.collect
	if c.fd, c.heir = c.inherit(); !c.heir {
		err = netns.Do(cfg.NetNS, func() (err error) {
			c.fd, err = c.socket()
			return err
		})
	}
	if err == nil {
		c.bound = c.heir
		err = c.gate.make(c.fd)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Add starts to receive on the interface with index link, or with 0 on all of them.
// Adding it again does nothing. Before the first Read, what comes from other interfaces is
// kept, too, so that nothing is lost of those that are added next.
func (c *Conn) Add(link int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.fd < 0:
		return os.ErrClosed
	case link != 0 && c.police.Has(link):
		return nil
	case link == 0:
		c.police.All(0)
	default:
		if err := c.join(link); err != nil {
			return err
		}
		c.police.Add(link)
	}
	if err := c.bind(); err != nil {
		c.police.Remove(link)
		return err
	}
	c.list()
	return c.listed
}

// Limit sets how many frames a second are received from link, which was added, and as
// many at once. 0 is no limit but what other interfaces leave to it.
func (c *Conn) Limit(link int, perSecond float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.police.Limit(link, perSecond)
	c.list()
}

// Remove stops receiving on link. It does nothing if link was not added.
func (c *Conn) Remove(link int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(link)
	c.police.Remove(link)
	c.list()
}

// Close ends the Conn; a Read under way returns os.ErrClosed. What the SocketStore keeps it
// goes on keeping.
func (c *Conn) Close() error {
	c.ended.Store(true)
	err := c.gate.close()
	c.close()
	return err
}

func (c *Conn) close() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// SetReadDeadline makes a Read, also the one under way, return
// os.ErrDeadlineExceeded at t. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.gate.file.SetReadDeadline(t) }

// Read waits for frames and fills at most min(len(frames), Batch) of them. Their
// Data is valid until the next Read. An interface that goes down or away is no
// error: the others go on.
func (c *Conn) Read(frames []Frame) (int, error) {
	if len(frames) == 0 {
		return 0, nil
	}
	c.out, c.n, c.err = frames[:min(len(frames), Batch)], 0, nil
	c.begin()
	c.gate.pause()
	if err := c.gate.raw.Read(c.poll); err != nil {
		if c.ended.Load() { // the poller's own error is not exported
			err = os.ErrClosed
		}
		return 0, err
	}
	c.gate.opened(time.Now(), c.n)
	return c.n, c.err
}

// begin has the filter name the interfaces from now on.
func (c *Conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reading {
		c.reading = true
		c.list()
	}
}

// collect reads what the socket holds; it reports false if that is nothing, and the
// poller waits.
func (c *Conn) collect(uintptr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.fd >= 0 {
		for i := range c.out {
			c.rx.arm(i)
		}
		got, e := recvmmsg(c.fd, c.rx.msgs[:len(c.out)])
		if e == unix.EINTR {
			continue
		}
		if now := time.Now(); e == 0 {
			c.sift(now, got)
			c.police.Advance(now)
		}
		if e == unix.EAGAIN || e == 0 && got < len(c.out) {
			c.heir, c.full = false, 0
			c.police.CaughtUp()
		} else if c.full++; c.full%8 == 0 && c.behind() {
			c.police.Behind()
		}
		c.list()
		switch {
		case e == unix.EAGAIN:
			return c.n > 0
		case c.n > 0:
			return true
		}
		// An error is that of an interface that went down (ENETDOWN, packet(7)), and is
		// cleared by the call that reports it (sock_error).
	}
	c.err = os.ErrClosed
	return true
}

// sift makes frames of the first messages of the ring.
func (c *Conn) sift(now time.Time, got int) {
	for i := range got {
		link := int(c.rx.names[i].Ifindex)
		received := c.rx.received(i, now)
		if late := c.heir && now.Sub(received) > patience; !c.police.Take(now, link) || late {
			continue
		}
		// A frame that is dropped leaves a gap in the ring: swap its buffer behind.
		c.rx.bufs[c.n], c.rx.bufs[i] = c.rx.bufs[i], c.rx.bufs[c.n]
		length := min(int(c.rx.msgs[i].len), len(c.rx.bufs[c.n]))
		c.out[c.n] = Frame{Link: link, Data: c.rx.bufs[c.n][:length], Received: received}
		c.n++
	}
}

// behind reports whether a quarter of the receive buffer is taken, by SO_MEMINFO
// (sk_get_meminfo in net/core/sock.c), which unlike SIOCINQ counts all that waits.
func (c *Conn) behind() bool {
	size := uintptr(unsafe.Sizeof(c.memory))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(c.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&c.memory)), uintptr(unsafe.Pointer(&size)), 0)
	return e == 0 && c.memory[unix.SK_MEMINFO_RMEM_ALLOC] > c.memory[unix.SK_MEMINFO_RCVBUF]/4
}

// list has the filter say what the policer wants.
func (c *Conn) list() {
	if !c.reading || !c.bound || c.fd < 0 {
		return
	}
	if list, changed := c.police.Changed(); changed {
		c.listed = c.attach(list)
	}
	at := c.police.Deadline()
	switch {
	case at.IsZero():
	case c.timer == nil:
		c.timer = time.AfterFunc(time.Until(at), c.unsilence)
	default:
		c.timer.Reset(time.Until(at))
	}
}

func (c *Conn) unsilence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.police.Advance(time.Now())
	c.list()
}

// Silenced returns how often link was not heard for a while since it was added: it was over its
// limit, or more came from it than was read while the receive buffer filled.
func (c *Conn) Silenced(link int) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.police.Silenced(link)
}

// Dropped returns how many frames the kernel dropped since the last call because the
// receive buffer was full. To read PACKET_STATISTICS resets it (packet(7)).
func (c *Conn) Dropped() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return stats.Drops
}

// gate is where a Conn waits: Go's network poller, which has deadlines and costs no
// thread, waits for an epoll instance, which waits for the socket: an epoll descriptor can
// itself be polled (epoll(7), "Questions and answers"). The one between can be shut: then
// nothing wakes up for frames, not even the poller.
type gate struct {
	file *os.File        // the epoll instance, in Go's poller
	raw  syscall.RawConn // its descriptor

	shut, open func(efd uintptr) // made once: a closure a pause would allocate
	failed     error             // of them

	last  time.Time // when it last opened
	quick int       // how often it did so soon after the time before
	over  bool      // everything that waited has been read
}

const (
	// A reader that is woken busy times in a row with less than soon between is woken
	// for each frame, or nearly, which costs several times what the frame costs. It
	// then waits for nap and reads what has come meanwhile, until that is little. Go's
	// timers are no finer.
	soon = 100 * time.Microsecond
	busy = 16
	nap  = time.Millisecond
)

func (g *gate) make(fd int) error {
	efd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	_ = unix.SetNonblock(efd, true) // os.NewFile hands only such descriptors to the poller
	g.file = os.NewFile(uintptr(efd), "afpacket")
	if g.raw, err = g.file.SyscallConn(); err != nil {
		return err
	}
	control := func(op int, events uint32) func(efd uintptr) {
		event := &unix.EpollEvent{Events: events}
		return func(efd uintptr) { g.failed = os.NewSyscallError("epoll_ctl", unix.EpollCtl(int(efd), op, fd, event)) }
	}
	g.shut, g.open = control(unix.EPOLL_CTL_MOD, 0), control(unix.EPOLL_CTL_MOD, unix.EPOLLIN)
	return errors.Join(g.raw.Control(control(unix.EPOLL_CTL_ADD, unix.EPOLLIN)), g.failed)
}

func (g *gate) close() error {
	if g.file == nil {
		return nil
	}
	return g.file.Close()
}

// pause waits a little if the reader is woken too often.
func (g *gate) pause() {
	if g.quick < busy || !g.over {
		return
	}
	_ = g.raw.Control(g.shut) // closed: Read says so
	time.Sleep(nap)
	_ = g.raw.Control(g.open)
}

// opened notes that a Read returned n frames at now.
func (g *gate) opened(now time.Time, n int) {
	switch {
	case !g.over: // it had not to wait
	case g.quick >= busy: // it paused
		if n < busy/4 {
			g.quick = 0
		}
	case now.Sub(g.last) < soon:
		g.quick++
	default:
		g.quick = 0
	}
	g.last, g.over = now, n < Batch
}
