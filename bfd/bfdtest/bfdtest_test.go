package bfdtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

var (
	key  = bfd.Key{Peer: netip.MustParseAddr("fe80::1%eth0")}
	fast = bfd.SessionConfig{DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond, Multiplier: 3}
)

// TestService: a Service is as strict as the real ones, counts what leaves Up, and ends as
// they do.
func TestService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Service{}
		var wrong *bfd.ConfigError
		if err := s.Add(bfd.SessionConfig{}); !errors.As(err, &wrong) {
			t.Errorf("no peer: %v", err)
		}
		for _, err := range []error{s.Up(key), s.Down(key, bfd.ReasonExpired), s.Failover(key), s.Remove(key)} {
			if err != bfd.ErrNoSession {
				t.Errorf("no session: %v", err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()

		hops := []bfd.NextHop{{ID: 7}}
		w := s.Watch()
		var got []string
		step := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			time.Sleep(time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // what is there is yielded all the same
			for e, err := range w.All(ctx) {
				if err == nil {
					got = append(got, fmt.Sprintf("%s: %v %v diag %d downs %d C %v removed %v failover %d", what, e.State, e.Reason, e.Diag, e.Downs, e.RemoteC, e.Removed, len(e.Failover)))
				}
			}
		}
		step("add", s.Add(bfd.SessionConfig{Key: key, Failover: hops}))
		hops[0].ID = 8
		step("up", s.Up(key.Normal()))
		step("again", s.Add(bfd.SessionConfig{Key: key, Failover: hops, Multiplier: 3}))
		step("C", s.Change(key, func(st *bfd.Status) { st.RemoteC, st.Downs, st.Since = true, 77, time.Time{} }))
		step("down", s.Down(key, bfd.ReasonExpired))
		step("failover", s.Failover(key, bfd.FailoverResult{ID: 8, Deleted: true}))
		all, err := s.Sessions()
		if err != nil || len(all) != 1 || all[0].State != bfd.StateDown || all[0].Multiplier != 3 || all[0].DesiredMinTx != bfd.DefaultInterval || time.Since(all[0].Since) != 2*time.Second {
			t.Errorf("%v, %v", all, err)
		}
		if c, ok := s.Config(key); !ok || c.Failover[0].ID != 8 || c.Interface != "eth0" {
			t.Errorf("%+v", c)
		}
		step("removed", s.Remove(key))
		want := []string{
			"add: Down  diag 0 downs 0 C false removed false failover 0",
			"up: Up  diag 0 downs 0 C false removed false failover 0",
			"C: Up  diag 0 downs 0 C true removed false failover 0",
			"down: Down expired diag 1 downs 1 C true removed false failover 0",
			"failover: Down expired diag 1 downs 1 C true removed false failover 1",
			"removed: AdminDown local admin down diag 1 downs 1 C true removed true failover 0",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q\nwant %q", got, want)
		}
		if _, ok := s.Config(key); ok {
			t.Error("it is still there")
		}

		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_, err = s.Sessions()
		for i, err := range []error{s.Add(bfd.SessionConfig{Key: key}), s.Remove(key), s.Up(key), s.Run(t.Context()), err} {
			if err != bfd.ErrClosed {
				t.Errorf("after the end, %d: %v", i, err)
			}
		}
		if _, err := w.Next(t.Context(), make([]bfd.Event, 1)); err != bfd.ErrClosed {
			t.Errorf("the watcher: %v", err)
		}
	})
}

// TestPair: equal seeds give equal runs, and what an end does by itself is carried out.
func TestPair(t *testing.T) {
	play := func(seed uint64) string {
		p, err := NewPair(fast, fast, seed)
		if err != nil {
			t.Fatal(err)
		}
		p.A.Link = Link{Loss: 0.3, Duplicate: 0.3, Delay: 20 * time.Millisecond}
		text := fmt.Sprintln(p.Run(10 * time.Second))
		p.B.SetAdminDown(true)
		text += fmt.Sprintln(p.Run(time.Second))
		p.B.SetAdminDown(false)
		if err := p.B.Configure(bfd.SessionConfig{Multiplier: 1, DesiredMinTx: time.Second}); err != nil {
			t.Fatal(err)
		}
		return text + fmt.Sprintln(p.Run(10*time.Second), p.Now(), p.A.Heard, p.B.Heard)
	}
	one := play(1)
	if again := play(1); again != one {
		t.Errorf("seed 1:\n%s\n%s", one, again)
	}
	if two := play(2); two == one {
		t.Error("seeds 1 and 2 are alike")
	}
	p, err := NewPair(fast, fast, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.Run(5 * time.Second)
	p.B.SetAdminDown(true)
	want := []string{"5s B AdminDown: local admin down", "5s A Down: remote admin down"}
	if got := fmt.Sprint(p.Run(time.Second)); got != fmt.Sprint(want) {
		t.Errorf("%s, want %s", got, want)
	}
	if p.Now() != 6*time.Second || p.A.Heard < 5*time.Second {
		t.Errorf("now %v, heard at %v", p.Now(), p.A.Heard)
	}
	var wrong *bfd.ConfigError
	if _, err := NewPair(fast, bfd.SessionConfig{DesiredMinTx: 1}, 1); !errors.As(err, &wrong) {
		t.Error(err)
	}
	if err := p.A.Configure(bfd.SessionConfig{DesiredMinTx: 1}); !errors.As(err, &wrong) {
		t.Error(err)
	}
}
