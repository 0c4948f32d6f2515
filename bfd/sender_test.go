package bfd

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestUnsentReport: packets that found a send buffer full are reported with their number, also if there are no more of
// them after a burst, and once a minute at most.
func TestUnsentReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var got []string
		cfg := Config{Notice: func(err error) {
			var n int
			fmt.Sscanf(err.Error(), "bfd: %d packets not sent", &n)
			got = append(got, fmt.Sprintf("%v %d", time.Since(begin), n))
		}}
		s, err := newServerOn(cfg, newFakeNet().process("home", 1))
		if err != nil {
			t.Fatal(err)
		}
		go s.attacher.run()
		burst := func(n int) {
			for range n {
				s.owner.bufferFull()
			}
		}
		burst(100)
		time.Sleep(time.Second)
		burst(20)
		time.Sleep(9 * time.Second)
		burst(3)
		time.Sleep(3 * time.Minute)
		burst(7)
		time.Sleep(time.Minute)
		close(s.owner.ended)
		synctest.Wait()
		if want := []string{"5s 120", "1m5s 3", "3m15s 7"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestSendersClosed: the socket of sessions that hear nothing is closed with the last of its sessions, although
// others of the namespace stay.
func TestSendersClosed(t *testing.T) {
	const first = 64
	text := "cable home far v0\naddr home v0 10.0.0.1\nprocess p0\nclient c\n"
	text = "netns far\n" + text
	for i := range first + 1 {
		text += fmt.Sprintf("add c 10.0.1.%d local=10.0.0.1 dev=v0\n", 1+i)
	}
	text += "+1s synced c\n"
	count := func(w *world) (n int) {
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		return len(w.procs["p0"].proc.fds)
	}
	out, err := inBubble(t, text, func(w *world) error {
		time.Sleep(3 * time.Second)
		const both = 5 // listener, receiver, sender, and those of two groups
		if n := count(w); n != both {
			return fmt.Errorf("%d descriptors, want %d", n, both)
		}
		for i := range first {
			if err := w.do("remove", []string{"c", fmt.Sprintf("10.0.1.%d", 1+i), "local=10.0.0.1", "dev=v0"}); err != nil {
				return err
			}
		}
		time.Sleep(30 * time.Second)
		if n := count(w); n != both-1 {
			return fmt.Errorf("%d descriptors when the sessions of a group are gone, want %d", n, both-1)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v, in\n%s", err, out)
	}
}

// TestSendersEnlarged: a successor enlarges the send buffers of a predecessor whose version has small ones.
func TestSendersEnlarged(t *testing.T) {
	out, err := inBubble(t, handoverStart, func(w *world) error {
		time.Sleep(3 * time.Second)
		small := func(set bool) (n int) {
			w.net.mu.Lock()
			defer w.net.mu.Unlock()
			for _, p := range w.procs {
				for _, object := range p.proc.fds {
					if s, ok := object.(*fakeSocket); ok && s.sender {
						if s.large = s.large && !set; !s.large {
							n++
						}
					}
				}
			}
			return n
		}
		if small(true) == 0 {
			return fmt.Errorf("there are no senders")
		}
		if err := w.do("takeover", []string{"p1"}); err != nil {
			return err
		}
		time.Sleep(3 * time.Second)
		if n := small(false); n > 0 {
			return fmt.Errorf("%d senders are small", n)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v, in\n%s", err, out)
	}
}

// scriptPoller is a kernel whose sendmmsg takes packets, and returns errors, as told.
type scriptPoller struct {
	nullPoller
	says []any    // int: so many are taken; unix.Errno: none, for this reason. Then all are taken.
	took []uint32 // the discriminators of the packets, in order
}

func (p *scriptPoller) send(_ int, m []mmsghdr) (int, unix.Errno) {
	n := len(m)
	if len(p.says) > 0 {
		say := p.says[0]
		p.says = p.says[1:]
		if errno, ok := say.(unix.Errno); ok {
			return 0, errno
		}
		n = say.(int)
	}
	for i := range m[:n] {
		ip := unsafe.Slice(m[i].hdr.Iov.Base, int(m[i].hdr.Iov.Len))
		p.took = append(p.took, binary.BigEndian.Uint32(ip[20+8+4:])) // My Discriminator, behind IPv4 and UDP
	}
	return n, 0
}

// TestSendRefused: the kernel refuses packets in the middle of a batch. Each is tried once and is not counted as sent; the
// others go out in order. Only a packet that found no room counts as such, and then its session is not looked at.
func TestSendRefused(t *testing.T) {
	o, turn := newQuietOwner(t, 6)
	for range 10 { // until all send in one turn
		turn()
	}
	var all []*entry
	o.core.demux.All(func(e *entry) { all = append(all, e) })
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.discr, b.discr) })
	before := make([]uint64, len(all))
	for i, e := range all {
		before[i] = e.Session.sent
		o.core.send(e)
	}
	p := &scriptPoller{says: []any{2, unix.EAGAIN, unix.EINTR, unix.ENODEV, 1}}
	o.poller = p
	o.flush()
	if want := []uint32{1, 2, 5, 6}; !slices.Equal(p.took, want) {
		t.Errorf("sent for %v, want %v", p.took, want)
	}
	for i, e := range all {
		sent, unsent := uint64(1), uint64(0)
		switch i {
		case 2:
			sent, unsent = 0, 1
		case 3:
			sent = 0
		}
		if got := e.Session.sent - before[i]; got != sent || e.unsent != unsent || e.status(o.clock).Unsent != unsent {
			t.Errorf("session %d: %d sent, %d unsent; want %d and %d", e.discr, got, e.unsent, sent, unsent)
		}
		if e.queued != nil {
			t.Errorf("session %d is still in a batch", e.discr)
		}
		if marked := o.core.failing.words[0].Load()&(1<<e.slot) != 0; marked != (i == 3) {
			t.Errorf("session %d: marked %v", e.discr, marked)
		}
	}
	if n := o.unsent.Load(); n != 1 || len(o.full) != 1 {
		t.Errorf("%d to report, %d tokens; want 1 and 1", n, len(o.full))
	}
	if tx := o.senders[0]; len(tx.batch)+len(tx.who) > 0 {
		t.Errorf("%d and %d left in the batch", len(tx.batch), len(tx.who))
	}
}

// TestUnsentOverSocket: a client of the process hears which sessions' packets found no room, and how many.
func TestUnsentOverSocket(t *testing.T) {
	text := "cable home far v0\naddr home v0 10.0.0.1\nprocess p0\nclient c\nadd c 10.0.0.2 local=10.0.0.1 dev=v0\nadd c 10.0.0.3 local=10.0.0.1 dev=v0\n"
	out, err := inBubble(t, "netns far\n"+text, func(w *world) error {
		time.Sleep(3 * time.Second)
		w.net.mu.Lock()
		w.net.fail["send"] = &fault{unix.EAGAIN, 5}
		w.net.mu.Unlock()
		time.Sleep(10 * time.Second)
		list, err := w.clients["c"].Sessions()
		if err != nil {
			return err
		}
		n := uint64(0)
		for _, s := range list {
			n += s.Unsent
			if s.Unsent == 0 || s.Sent == 0 {
				return fmt.Errorf("%v", s)
			}
		}
		if len(list) != 2 || n != 5 {
			return fmt.Errorf("%d sessions, %d unsent; want 2 and 5", len(list), n)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v, in\n%s", err, out)
	}
}
