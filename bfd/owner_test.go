package bfd

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nullPoller is a kernel that takes every packet and has none.
type nullPoller struct{}

func (nullPoller) begin(*Config) ([]error, error)            { return nil, nil }
func (nullPoller) quiet()                                    {}
func (nullPoller) watch(int) error                           { return nil }
func (nullPoller) poll([]int, time.Duration) (int, error)    { return 0, nil }
func (nullPoller) rest(time.Duration)                        {}
func (nullPoller) receive(int, []mmsghdr) (int, unix.Errno)  { return 0, 0 }
func (nullPoller) send(_ int, m []mmsghdr) (int, unix.Errno) { return len(m), 0 }
func (nullPoller) wake()                                     {}
func (nullPoller) close()                                    {}

// setClock is a clock that is set.
type setClock struct{ mono time.Duration }

func (c *setClock) now() time.Duration              { return c.mono }
func (c *setClock) both() (time.Duration, int64)    { return c.mono, int64(c.mono) }
func (c *setClock) wall(at time.Duration) time.Time { return time.Unix(0, int64(at)) }
func (c *setClock) time() time.Time                 { return time.Unix(0, int64(c.mono)) }

// newQuietOwner returns an owner with sessions that are Up, and what is a turn of its loop in
// which they all send.
func newQuietOwner(tb testing.TB, sessions int) (o *owner, turn func()) {
	clock := &setClock{time.Hour}
	o = newOwner(newCore(5, newMarks(maxSessions)), clock)
	o.poller = nullPoller{}
	sp := newNetNSSockets("", nil)
	tx := sp.addSender(txKey{}, 3)
	rx := sp.addReceiver(rxKey{port: Port}, 4)
	var list []*entry
	for i := range sessions {
		c := SessionConfig{Key: Key{Peer: netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), Local: netip.MustParseAddr("10.0.0.1")}}
		if err := c.check(); err != nil {
			tb.Fatal(err)
		}
		s, err := NewSession(c, uint32(i+1), uint32(i+1), o.core.now)
		if err != nil {
			tb.Fatal(err)
		}
		e := &entry{slot: i, kept: c, place: -1, key: c.Key, sport: uint16(50000 + i), Session: *s}
		at := &attachment{space: sp, tx: tx, rx: rx, local: c.Local}
		o.core.insert(e)
		o.core.attach(e, at, at.newFrame(&c, e.sport))
		p := Packet{State: StateInit, Multiplier: 5, MyDiscr: 9, YourDiscr: e.discr, DesiredMinTx: ms(100), RequiredMinRx: ms(100), Final: true}
		e.Receive(o.core.now, &p)
		p.State = StateUp
		e.Receive(o.core.now, &p)
		list = append(list, e)
	}
	return o, func() {
		clock.mono = max(o.core.timers[0].at, clock.mono)
		o.tick()
		for _, e := range list {
			e.lastRx = clock.mono // the remote system is there
		}
		o.expire()
		o.flush()
	}
}

func (o *owner) sent() (n uint64) {
	o.core.demux.All(func(e *entry) { n += e.Session.sent })
	return n
}

// TestOwnerAllocations: a turn of the thread allocates nothing.
func TestOwnerAllocations(t *testing.T) {
	o, turn := newQuietOwner(t, 100)
	if n := testing.AllocsPerRun(50, turn); n != 0 {
		t.Errorf("%v allocations a turn", n)
	}
	if n := o.sent(); n < 5000 {
		t.Errorf("only %d packets", n)
	}
}

// BenchmarkOwner is what a packet costs the thread, but for the system call.
func BenchmarkOwner(b *testing.B) {
	for _, sessions := range []string{"8", "1000"} {
		b.Run(sessions, func(b *testing.B) {
			o, turn := newQuietOwner(b, map[string]int{"8": 8, "1000": 1000}[sessions])
			b.ReportAllocs()
			for b.Loop() {
				turn()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(o.sent()), "ns/packet")
		})
	}
}
