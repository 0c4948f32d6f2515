package bfd

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
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
