package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Port is where receivers listen.
const Port = 7000

const (
	magic  = 0x6c61622d // "lab-"
	octets = 64         // of UDP payload
)

// Path is one direction between two guests in one family.
type Path struct {
	Name       string // for people: "vm1>vm3 v4"
	FromNS     string // path of the sender's network namespace
	ToNS       string
	Src, Dst   netip.Addr
	SourcePort []uint16 // one flow each
}

// Traffic is a set of flows at a fixed rate, from [Start] to Stop.
type Traffic struct {
	interval time.Duration
	start    time.Time
	paths    []*pathRun
	stop     chan struct{}
	senders  sync.WaitGroup
	readers  sync.WaitGroup
}

// pathRun is the live state of one path. The sender alone writes sent, the
// receiver alone got.
type pathRun struct {
	Path
	id   uint32
	to   netip.AddrPort
	out  []*net.UDPConn
	in   *net.UDPConn
	sent [][]int64
	got  [][]uint8
}

// Result is one path and its flows, in the order of Path.SourcePort.
type Result struct {
	Path  Path
	Flows []Stats
}

// Start sends rate packets a second on each flow of each path until Stop. limit
// is the longest that this can go on; it sizes the records.
func Start(paths []Path, rate int, limit time.Duration) (*Traffic, error) {
	t := &Traffic{interval: time.Second / time.Duration(rate), stop: make(chan struct{})}
	size := int(limit/t.interval) + 1
	for i, p := range paths {
		r := &pathRun{Path: p, id: magic + uint32(i)}
		t.paths = append(t.paths, r)
		if err := r.open(size); err != nil {
			t.close()
			return nil, err
		}
	}
	t.start = time.Now()
	for _, r := range t.paths {
		t.readers.Add(1)
		go func() { defer t.readers.Done(); r.receive() }()
	}
	for _, r := range t.paths {
		t.senders.Add(1)
		go func() { defer t.senders.Done(); r.send(t) }()
	}
	return t, nil
}

// Elapsed is the time since the first packet.
func (t *Traffic) Elapsed() time.Duration { return time.Since(t.start) }

// Stop ends the traffic, waits a moment for packets on their way, and returns
// what became of all flows.
func (t *Traffic) Stop() []Result {
	close(t.stop)
	t.senders.Wait()
	time.Sleep(150 * time.Millisecond)
	t.close()
	t.readers.Wait()
	out := make([]Result, 0, len(t.paths))
	for _, r := range t.paths {
		res := Result{Path: r.Path}
		for i := range r.sent {
			res.Flows = append(res.Flows, Analyze(r.sent[i], r.got[i][:len(r.sent[i])], t.interval))
		}
		out = append(out, res)
	}
	return out
}

func (t *Traffic) close() {
	for _, r := range t.paths {
		for _, c := range append(r.out, r.in) {
			if c != nil {
				c.Close()
			}
		}
	}
}

func (r *pathRun) open(size int) error {
	r.to = netip.AddrPortFrom(r.Dst, Port+uint16(r.id-magic))
	err := netns.Do(r.ToNS, func() (err error) {
		r.in, err = open(r.to)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	_ = r.in.SetReadBuffer(4 << 20)
	return netns.Do(r.FromNS, func() error {
		for _, port := range r.SourcePort {
			c, err := open(netip.AddrPortFrom(r.Src, port))
			if err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			r.out = append(r.out, c)
			r.sent = append(r.sent, make([]int64, 0, size))
			r.got = append(r.got, make([]uint8, size))
		}
		return nil
	})
}

// open makes a socket that is bound and not connected. Linux gives a connected
// one a random hash that travels with its packets from namespace to namespace
// and would decide their path; without it, addresses and ports do, as they would
// for packets that come from a real guest.
func open(from netip.AddrPort) (*net.UDPConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(from))
}

// send writes one packet a flow every interval. A sender that is late skips
// what it missed instead of sending a burst.
func (r *pathRun) send(t *Traffic) {
	runtime.LockOSThread() // and never let go of: the thread ends with its goroutine
	urgent()
	b := make([]byte, octets)
	binary.BigEndian.PutUint32(b, r.id)
	for next := time.Now(); ; next = next.Add(t.interval) {
		if late := time.Since(next); late > t.interval {
			next = time.Now()
		} else if late < 0 {
			nap(-late)
		}
		select {
		case <-t.stop:
			return
		default:
		}
		for i, c := range r.out {
			if len(r.sent[i]) == cap(r.sent[i]) {
				return
			}
			binary.BigEndian.PutUint32(b[4:], uint32(i))
			binary.BigEndian.PutUint32(b[8:], uint32(len(r.sent[i])))
			r.sent[i] = append(r.sent[i], int64(time.Since(t.start)))
			_, _ = c.WriteToUDPAddrPort(b, r.to) // what cannot be sent is lost
		}
	}
}

func (r *pathRun) receive() {
	b := make([]byte, octets)
	for {
		n, err := r.in.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 12 || binary.BigEndian.Uint32(b) != r.id {
			continue
		}
		i, seq := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		if int(i) < len(r.got) && int(seq) < len(r.got[i]) && r.got[i][seq] < 255 {
			r.got[i][seq]++
		}
	}
}

// urgent puts the calling thread before ordinary ones, where that is permitted,
// so that a busy machine still sends at the rate asked for.
func urgent() {
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
}

// nap sleeps in the kernel and not in Go's scheduler, which knows no urgency.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}
