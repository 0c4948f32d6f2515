package bfd

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestDrivenClient: what a client wants outlives its processes, what is refused is asked for
// again, and its watcher sees nothing of a handover.
func TestDrivenClient(t *testing.T) {
	play := func() string {
		w := newWire(1)
		w.quiet, w.delay = true, ms(2)
		a, b := w.pair(t, hundred)
		p, other := a.process(t, "other", SessionConfig{Auth: Auth{Type: AuthMD5, Keys: []AuthKey{{1, "x"}}}})
		a.watcher = nil
		c, err := NewDrivenClient(DrivenClientConfig{
			Name: "router", Now: a.config().Now,
			Notice: func(err error) { w.say("the client notices: %v", err) },
			Dial: func() (*DrivenProcess, error) {
				if p == nil {
					return nil, errors.New("connection refused")
				}
				return p, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		watcher := c.Watch()
		run := func(d time.Duration) {
			for until := w.now + d; w.now < until; {
				at := min(until, c.Deadline(), w.now+ms(5))
				w.run(max(0, at-w.now))
				c.Advance(w.now)
				buf := make([]Event, 1)
				for _, err := watcher.Next(done, buf); err == nil; _, err = watcher.Next(done, buf) {
					w.say("the client has %s", brief(buf[0]))
				}
			}
		}
		cfg := hundred()
		cfg.Key = Key{Peer: b.addr, Local: a.addr, Interface: "e0"}
		if err := errors.Join(c.Add(cfg), c.Synced()); err != nil {
			t.Fatal(err)
		}
		run(time.Second)
		if err := other.Remove(cfg.Key); err != nil {
			t.Fatal(err)
		}
		run(5 * time.Second)

		w.say("handover")
		state, err := p.Export()
		if err != nil {
			t.Fatal(err)
		}
		run(ms(20))
		next, err := ImportDrivenProcess(a.config(), time.Minute, state)
		if err != nil {
			t.Fatal(err)
		}
		p.Leave()
		next.Resume()
		p, a.d = next, next
		run(2 * time.Second)
		if !c.Connected() {
			t.Error("not connected")
		}

		w.say("kill")
		p, a.d = nil, nil
		c.Disconnect()
		run(2 * time.Second)
		if _, err := c.Sessions(); err != ErrNotConnected {
			t.Error(err)
		}
		p, err = NewDrivenProcess(a.config(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		a.d = p
		run(5 * time.Second)
		if err := c.Remove(cfg.Key); err != nil {
			t.Fatal(err)
		}
		run(time.Second)
		c.Close()
		if _, err := watcher.Next(done, make([]Event, 1)); err != ErrClosed {
			t.Error(err)
		}
		return w.trace.String()
	}
	out := play()
	var got []string
	for line := range strings.Lines(out) {
		if _, line, _ := strings.Cut(line, " "); !strings.HasPrefix(line, "b:") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := `
the client notices: bfd: 192.0.2.1 -> 192.0.2.2%e0: bfd: another client uses this session with other authentication
the client has 192.0.2.1 -> 192.0.2.2%e0 Down
the client notices: bfd: 192.0.2.1 -> 192.0.2.2%e0: bfd: another client uses this session with other authentication
the client notices: bfd: 192.0.2.1 -> 192.0.2.2%e0: bfd: another client uses this session with other authentication
the client has 192.0.2.1 -> 192.0.2.2%e0 AdminDown (local admin down) removed
the client has 192.0.2.1 -> 192.0.2.2%e0 Down
the client has 192.0.2.1 -> 192.0.2.2%e0 Up
handover
the client notices: bfd: driven: bfd: not connected to the BFD process
the client has 192.0.2.1 -> 192.0.2.2%e0 Up
kill
the client notices: bfd: driven: connection refused
the client has 192.0.2.1 -> 192.0.2.2%e0 Down
the client has 192.0.2.1 -> 192.0.2.2%e0 Up
the client has 192.0.2.1 -> 192.0.2.2%e0 AdminDown (local admin down) removed`
	if text := "\n" + strings.Join(got, "\n"); text != want {
		t.Errorf("%s", text)
	}
	if again := play(); again != out {
		t.Errorf("and again\n%s", again)
	}
}
