package vxlan

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// deaf is a socket for notifications that drops those that it receives while off is false.
type deaf struct {
	socket
	off atomic.Bool
}

func (d *deaf) Receive(b []byte) (int, error) {
	for {
		n, err := d.socket.Receive(b)
		if err != nil || d.off.Load() {
			return n, err
		}
		for m := range rtnl.Messages(b[:n]) {
			if m.Port == d.Port() { // an answer
				return n, err
			}
		}
	}
}

// deafHost is host, with an FDB that is notified of nothing while off is false.
func deafHost(t *testing.T, round time.Duration) (*nstest.NS, *FDB, *deaf) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a network namespace; not with -short")
	}
	ns := nstest.New(t, "vx")
	ns.IP("addr add 172.22.2.1/32 dev lo")
	f, err := New(Config{NetNS: ns.Path, AuditRound: round})
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{}
	d.off.Store(true)
	f.open = func(netns string, groups ...uint32) (socket, error) {
		s, err := openSocket(netns, groups...)
		if len(groups) > 0 && err == nil {
			d.socket = s
			return d, nil
		}
		return s, err
	}
	end := start(t, f)
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	flush(t, f, Result{})
	return ns, f, d
}

// entries returns what the kernel has on vx100, sorted.
func entries(ns *nstest.NS) string {
	return strings.Join(slices.Sorted(strings.Lines(bridge(ns, "fdb show dev vx100"))), "")
}

// TestAudit has the kernel's table changed while nothing is notified: each change is named and put
// back.
func TestAudit(t *testing.T) {
	ns, f, monitor := deafHost(t, 50*time.Millisecond)
	link := ensure(t, f, vx100)
	a, m := addrOf("172.22.2.2"), macOf(t, "50:54:33:00:00:0f")
	if err := f.SetFlood(link, []netip.Addr{a, addrOf("172.22.2.3")}); err != nil {
		t.Fatal(err)
	}
	if err := f.SetMAC(link, m, a); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 3})
	bridge(ns, "fdb add 02:00:00:00:00:99 dev vx100 dst 172.22.2.9")
	want := entries(ns)
	w := f.Watch()
	defer w.Close()
	var found []string
	named := func(want string) bool {
		for _, e := range events(t, w) {
			if e.Kind == EventDifference {
				found = append(found, e.String())
			}
		}
		return len(found) > 0 && strings.HasPrefix(found[len(found)-1], want) && len(found) == 1
	}
	for _, c := range []struct{ do, found string }{
		{"fdb del 50:54:33:00:00:0f dev vx100 dst 172.22.2.2", "50:54:33:00:00:0f dev INDEX dst 172.22.2.2 missing"},
		{"fdb del 00:00:00:00:00:00 dev vx100 dst 172.22.2.3", "00:00:00:00:00:00 dev INDEX dst 172.22.2.3 missing"},
		{"fdb replace 50:54:33:00:00:0f dev vx100 dst 172.22.2.7 extern_learn", "50:54:33:00:00:0f dev INDEX dst 172.22.2.2 changed"},
		{"fdb add 02:00:00:00:00:77 dev vx100 dst 172.22.2.7 extern_learn", "02:00:00:00:00:77 dev INDEX dst 172.22.2.7 extra"},
		{"fdb append 00:00:00:00:00:00 dev vx100 dst 172.22.2.7 extern_learn", "00:00:00:00:00:00 dev INDEX dst 172.22.2.7 extra"},
	} {
		found = nil
		monitor.off.Store(false)
		bridge(ns, c.do)
		says := strings.ReplaceAll(c.found, "INDEX", strconv.Itoa(link))
		if !nstest.Promptly(time.Minute, func() bool { return named(says) }) {
			t.Errorf("%s: found %q, want %q", c.do, found, says)
		}
		monitor.off.Store(true)
		if !nstest.Promptly(time.Minute, func() bool { return entries(ns) == want }) {
			t.Fatalf("%s: have\n%s\nwant\n%s", c.do, entries(ns), want)
		}
	}
	// Another program's entry in the place of ours is named, and left alone.
	found = nil
	monitor.off.Store(false)
	bridge(ns, "fdb replace 50:54:33:00:00:0f dev vx100 dst 172.22.2.7")
	if says := "50:54:33:00:00:0f dev " + strconv.Itoa(link) + " dst 172.22.2.2 changed"; !nstest.Promptly(time.Minute, func() bool { return named(says) }) {
		t.Errorf("found %q, want %q", found, says)
	}
	if s := f.Stats(); s.Differences != 6 || s.AuditRounds == 0 || s.AuditTime == 0 {
		t.Errorf("%+v", s)
	}
	t.Logf("%+v", f.Stats())
}

// TestAuditQuiet has ourselves and others change much while rounds follow each other: what is notified
// is no difference, and without a difference nothing is written.
func TestAuditQuiet(t *testing.T) {
	ns, f, _ := deafHost(t, time.Millisecond)
	link := ensure(t, f, vx100)
	mac := func(i int) MAC { return MAC{2, 1, 0, 0, byte(i >> 8), byte(i)} }
	for i := range 500 {
		if err := f.SetMAC(link, mac(i), addrOf("172.22.2.2")); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, f, Result{Added: 500})
	before := entries(ns)
	writes := ns.Command("bridge", "monitor", "fdb")
	var told strings.Builder
	writes.Stdout = &told
	if err := writes.Start(); err != nil {
		t.Fatal(err)
	}
	w := f.Watch()
	rounds := f.Stats().AuditRounds
	nstest.Wait(t, nstest.Patience, "rounds", func() bool { return f.Stats().AuditRounds > rounds+2 })
	if err := writes.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = writes.Wait()
	if told.Len() > 0 || entries(ns) != before {
		t.Errorf("something was written:\n%s", told.String())
	}
	for i := 0; i < 100 || f.Stats().AuditRounds < rounds+5; i++ {
		switch i % 4 {
		case 0:
			_ = f.DeleteMAC(link, mac(i))
		case 1:
			_ = f.SetMAC(link, mac(i-1), addrOf("172.22.2.3"))
		case 2:
			_, _ = f.Flush(t.Context())
		default:
			bridge(ns, "fdb replace 02:01:00:00:00:0"+string("01234567"[i/4%8])+" dev vx100 dst 172.22.2.7 extern_learn")
		}
	}
	if s := f.Stats(); s.Differences > 0 {
		t.Errorf("%+v", s)
		for _, e := range events(t, w) {
			if e.Kind == EventDifference {
				t.Error(e)
			}
		}
	}
	t.Logf("%+v", f.Stats())
}
