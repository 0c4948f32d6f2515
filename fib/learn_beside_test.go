package fib

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
)

// Of two routes under a key one goes, and the key stays, until the other one goes, too: also if they were there when learning
// began, and if one was put before the other (`ip route prepend`).
func TestLearnBeside(t *testing.T) {
	const first, second = "10.1.0.0/16 via 10.0.1.2 dev v1 proto 4", "10.1.0.0/16 via 10.0.0.2 dev v0 proto 4"
	for name, others := range map[string][]string{
		"appended before":  {"route add " + first, "route append " + second, "learn"},
		"appended":         {"learn", "route add " + first, "route append " + second},
		"prepended":        {"learn", "route add " + first, "route prepend " + second},
		"prepended before": {"route add " + first, "route prepend " + second, "learn"},
	} {
		t.Run(name, func(t *testing.T) { learnBeside(t, others, "route del "+first, "route del "+second) })
		t.Run(name+", other way round", func(t *testing.T) { learnBeside(t, others, "route del "+second, "route del "+first) })
	}
}

func learnBeside(t *testing.T, others []string, one, last string) {
	m := newFake()
	f := newFakeFIB(Config{}, m)
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	d, err := f.Drive(kernel.With(t.Context(), "", m), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	var l *Learner
	there := map[RouteKey]bool{}
	do := func(line string) {
		t.Helper()
		if line == "learn" {
			l = f.Learn(Filter{Tables: []uint32{90}})
		} else if b, err := somebody(strings.Fields(line), m); err != nil {
			t.Fatal(err)
		} else if errno := m.by(otherPort, b); errno != 0 {
			t.Fatal(line, errno)
		}
		for range 10 { // what is to be read again is read a little later
			for more := true; more; {
				if more, err = d.Step(); err != nil {
					t.Fatal(err)
				}
			}
			now = now.Add(time.Second)
		}
		if l == nil {
			return
		}
		done, cancel := context.WithCancel(t.Context())
		cancel()
		buf := make([]LearnChange, 16)
		n, _ := l.Next(done, buf)
		for _, c := range buf[:n] {
			if !c.Synced {
				there[c.RouteKey] = !c.Gone
			}
		}
	}
	is := func() (n int) {
		for _, yes := range there {
			if yes {
				n++
			}
		}
		return n
	}
	for _, line := range others {
		do(line)
	}
	if do(one); is() != 1 {
		t.Errorf("after %s: %v", one, there)
	}
	if do(last); is() != 0 {
		t.Errorf("after %s: %v", last, there)
	}
}
