package fib

import (
	"context"
	"fmt"
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

// A route that the filter lets through stays known while others, which it does not let through, come before it and go, and
// is gone when it was replaced by one of those.
func TestLearnBesideOthers(t *testing.T) {
	const known = "10.1.0.0/16 via 10.0.1.2 dev v1 proto 4"
	other := func(proto int) string { return fmt.Sprintf("10.1.0.0/16 via 10.0.0.2 dev v0 proto %d", proto) }
	for name, c := range map[string]struct {
		lines []string
		is    int
	}{
		"one before it is replaced":                {[]string{"learn", "route add " + other(12), "route append " + known, "route replace " + other(186)}, 1},
		"the same, as learning begins":             {[]string{"route add " + other(12), "route append " + known, "learn", "route replace " + other(186)}, 1},
		"two before it, one deleted, one replaced": {[]string{"learn", "route add " + other(12), "route append " + known, "route prepend " + other(186), "route del " + other(186), "route replace " + other(186)}, 1},
		"one before it is deleted":                 {[]string{"learn", "route add " + known, "route prepend " + other(186), "route del " + other(186)}, 1},
		"one behind it is deleted":                 {[]string{"learn", "route add " + known, "route append " + other(186), "route del " + other(186)}, 1},
		"ours before it goes":                      {[]string{"learn", "route add " + known, "route prepend " + other(201)}, 1},
		"replaced, another behind it":              {[]string{"learn", "route add " + other(186), "route prepend " + known, "route replace 10.1.0.0/16 blackhole proto 201"}, 0},
		"replaced, another behind it from before":  {[]string{"route add " + other(186), "route prepend " + known, "learn", "route replace " + other(12)}, 0},
		"replaced alone":                           {[]string{"learn", "route add " + known, "route replace " + other(12)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := startLearning(t, Filter{Tables: []uint32{90}, Accept: func(r Learned) bool { return r.Protocol == 4 }})
			for _, line := range c.lines {
				l.do(line)
			}
			if l.is() != c.is {
				t.Errorf("%v, want %d", l.there, c.is)
			}
		})
	}
}

// learning is a FIB with a Learner, and what that has told so far.
type learning struct {
	*testing.T
	f      *FIB
	m      *fake
	d      *Driver
	filter Filter
	l      *Learner
	now    time.Time
	there  map[RouteKey]bool
}

func startLearning(t *testing.T, filter Filter) *learning {
	m := newFake()
	l := &learning{T: t, f: newFakeFIB(Config{}, m), m: m, filter: filter, now: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), there: map[RouteKey]bool{}}
	d, err := l.f.Drive(kernel.With(t.Context(), "", m), func() time.Time { return l.now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	l.d = d
	return l
}

// do begins to learn, or has somebody do something to the kernel, and lets 10 s pass: what
// is to be read again is read a little later.
func (l *learning) do(line string) {
	l.Helper()
	if line == "learn" {
		l.l = l.f.Learn(l.filter)
	} else if b, err := somebody(strings.Fields(line), l.m); err != nil {
		l.Fatal(err)
	} else if errno := l.m.by(otherPort, b); errno != 0 {
		l.Fatal(line, errno)
	}
	for range 10 {
		for more := true; more; {
			var err error
			if more, err = l.d.Step(); err != nil {
				l.Fatal(err)
			}
		}
		l.now = l.now.Add(time.Second)
	}
	if l.l == nil {
		return
	}
	done, cancel := context.WithCancel(l.Context())
	cancel()
	buf := make([]LearnChange, 16)
	n, _ := l.l.Next(done, buf)
	for _, c := range buf[:n] {
		if !c.Synced {
			l.there[c.RouteKey] = !c.Gone
		}
	}
}

// is returns how many keys are there.
func (l *learning) is() (n int) {
	for _, yes := range l.there {
		if yes {
			n++
		}
	}
	return n
}

func learnBeside(t *testing.T, others []string, one, last string) {
	l := startLearning(t, Filter{Tables: []uint32{90}})
	for _, line := range others {
		l.do(line)
	}
	if l.do(one); l.is() != 1 {
		t.Errorf("after %s: %v", one, l.there)
	}
	if l.do(last); l.is() != 0 {
		t.Errorf("after %s: %v", last, l.there)
	}
}
