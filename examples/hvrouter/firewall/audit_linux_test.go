package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

func (l lab) generation(t *testing.T) uint32 {
	t.Helper()
	r, err := l.firewall.reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.conn.Close()
	g, err := r.generation()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (l lab) audit(t *testing.T) (list []string) {
	t.Helper()
	differences, err := l.firewall.Audit()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		list = append(list, d.Op+" "+d.What)
	}
	return list
}

// handle returns the handle of the first rule of a chain that has a text.
func (l lab) handle(t *testing.T, chain, text string) string {
	t.Helper()
	for line := range strings.Lines(l.hv.Exec("nft", "-a", "list", "chain", "inet", "hvrouter", chain)) {
		if rule, handle, ok := strings.Cut(strings.TrimSpace(line), " # handle "); ok && strings.Contains(rule, text) && !strings.HasPrefix(rule, "chain") {
			return handle
		}
	}
	t.Fatalf("chain %s has no rule with %q", chain, text)
	return ""
}

// unremembered returns a ruleset as nft prints it without what packets have put into sets.
func unremembered(ruleset string) string {
	var b strings.Builder
	dynamic, inside := false, false
	for line := range strings.Lines(ruleset) {
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(text, "set "):
			dynamic = false
		case strings.HasPrefix(text, "flags ") && strings.Contains(text, "dynamic"):
			dynamic = true
		case strings.HasPrefix(text, "elements = "):
			inside = dynamic
		}
		if !inside {
			b.WriteString(line)
		}
		inside = inside && !strings.HasSuffix(text, "}")
	}
	return b.String()
}

// TestAudit has the tables changed while nobody listens: each change is named, and put back by the next
// Apply.
func TestAudit(t *testing.T) {
	l := newLab(t)
	s := spec()
	s.Marks, s.MarkMask = []Mark{{Value: 0x100, Interfaces: []string{"vm1"}}}, 0xff00
	s.Guests[0].Translations = append(s.Guests[0].Translations, Translation{netip.MustParseAddr("2001:db8:7100::11"), netip.MustParseAddr("2001:db8:7100::1")})
	l.apply(t, s)
	ruleset := func() string {
		return unremembered(l.hv.Exec("sh", "-c", "nft -s list ruleset | grep -v '^[[:space:]]*# '"))
	}
	want := ruleset()
	if found := l.audit(t); found != nil || l.firewall.audited.manner != nil {
		t.Fatalf("as it was written: %q, %v", found, l.firewall.audited.manner)
	}
	for _, c := range []struct{ do, found string }{
		{"delete rule inet hvrouter raw handle " + l.handle(t, "raw", "not-attached"), "changed chain raw of inet hvrouter"},
		{"insert rule inet hvrouter input accept", "changed chain input of inet hvrouter"},
		{"insert rule inet hvrouter input socket transparent 1 accept", "changed chain input of inet hvrouter"},
		{"replace rule inet hvrouter forward handle HANDLE iifname \"vm1\" accept", "changed chain forward of inet hvrouter"},
		{"flush chain inet hvrouter from_guest", "changed chain from_guest of inet hvrouter"},
		{"flush chain inet hvrouter output; delete chain inet hvrouter output", "missing chain output of inet hvrouter"},
		{"add chain inet hvrouter other { type filter hook input priority -1; }", "extra chain other of inet hvrouter"},
		{"chain inet hvrouter forward { policy drop; }", "changed chain forward of inet hvrouter"},
		{"add element inet hvrouter guests { \"tap9\" }", "changed set guests of inet hvrouter"},
		{"delete element inet hvrouter prefixes4_28 { \"vm1\" . 203.0.113.16 }", "changed set prefixes4_28 of inet hvrouter"},
		{"delete element inet hvrouter transparent4 { 203.0.113.11 : 203.0.113.1 }; add element inet hvrouter transparent4 { 203.0.113.11 : 203.0.113.9 }", "changed set transparent4 of inet hvrouter"},
		{"flush set inet hvrouter marked0", "changed set marked0 of inet hvrouter"},
		{"add set inet hvrouter other { typeof meta day; }", "extra set other of inet hvrouter"},
		{"add table inet hvrouter { flags dormant; }", "changed table inet hvrouter"},
		{"flush set arp hvrouter neighbors", "changed set neighbors of arp hvrouter"},
		{"flush chain arp hvrouter input", "changed chain input of arp hvrouter"},
		{"delete table arp hvrouter", "missing table arp hvrouter"},
		{"flush ruleset", "missing table arp hvrouter, missing table inet hvrouter"},
	} {
		do := c.do
		if strings.Contains(do, "HANDLE") {
			do = strings.ReplaceAll(do, "HANDLE", l.handle(t, "forward", "to-not-attached"))
		}
		l.hv.Exec("nft", do)
		found := l.audit(t)
		slices.Sort(found)
		if strings.Join(found, ", ") != c.found {
			t.Errorf("%s: found %q, want %q", c.do, found, c.found)
		}
		l.apply(t, s)
		if have := ruleset(); have != want {
			t.Fatalf("%s: have\n%s\nwant\n%s", c.do, have, want)
		}
		if found := l.audit(t); found != nil {
			t.Errorf("%s: found %q after the repair", c.do, found)
		}
	}
	if l.firewall.audited.manner != nil {
		t.Errorf("not looked after: %v", l.firewall.audited.manner)
	}
}

// TestAuditAmidChanges has a table changed, while nobody listens, before we change another part of it: the
// change is somebody else's, and not what this kernel makes of ours.
func TestAuditAmidChanges(t *testing.T) {
	l := newLab(t)
	s := spec()
	l.apply(t, s)
	l.hv.Exec("nft", "insert rule inet hvrouter input accept")
	s.Guests = s.Guests[:1]
	l.apply(t, s) // elements of sets, but not the chain
	if found := l.audit(t); strings.Join(found, ", ") != "changed chain input of inet hvrouter" {
		t.Errorf("found %q", found)
	}
	l.apply(t, s)
	if found := l.audit(t); found != nil || l.firewall.audited.manner != nil || l.firewall.audited.left == 0 {
		t.Errorf("after the repair: %q, %+v", found, l.firewall.audited)
	}
}

// TestAuditQuiet has ourselves and others change much, and others change our table with a
// notification: neither is a difference, and the audit writes nothing.
func TestAuditQuiet(t *testing.T) {
	l := newLab(t)
	l.apply(t, blocked(1000))
	send(t, l.guest, "203.0.113.254:99")
	l.dropped(t, "guest-to-hypervisor", 1)
	quiet := func(when string) {
		t.Helper()
		before, start := l.generation(t), time.Now()
		if found := l.audit(t); found != nil {
			t.Errorf("%s: found %q", when, found)
		}
		t.Logf("%s: %v", when, time.Since(start))
		if after := l.generation(t); after != before {
			t.Errorf("%s: something was written: generation %d, then %d", when, before, after)
		}
	}
	quiet("1,000 guests, first")
	quiet("nothing has changed")
	l.hv.Exec("nft", "add table inet other; add chain inet other c { type filter hook input priority 0; }; add rule inet other c counter")
	quiet("another table")
	l.hv.Exec("nft", "reset", "counters", "table", "inet", "hvrouter")
	l.hv.Do(func() error { return l.firewall.holdBack(map[netip.Addr]int{netip.MustParseAddr("203.0.113.11"): 1}) })
	quiet("an address that is held back")
	for i := range 30 {
		l.apply(t, blocked(i*7%40))
		quiet(fmt.Sprint("our own change ", i))
	}
	l.apply(t, blocked(40))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var changes, repaired atomic.Int64
	watching := make(chan error, 1)
	go func() {
		watching <- l.firewall.Watch(ctx, func() {
			changes.Add(1)
			if err := l.firewall.Apply(blocked(40)); err != nil {
				t.Error(err)
			}
			repaired.Add(1)
		})
	}()
	nstest.Wait(t, nstest.Patience, "a notification", func() bool {
		l.hv.Exec("nft", "add", "element", "inet", "hvrouter", "guests", "{ first }")
		return changes.Load() > 0
	})
	for i := range 30 {
		before := repaired.Load()
		l.hv.Exec("nft", fmt.Sprintf("add element inet hvrouter guests { %q }", fmt.Sprint("x", i)))
		if found := l.audit(t); found != nil {
			t.Errorf("a change that was notified is found: %q", found)
		}
		nstest.Wait(t, nstest.Patience, "its repair", func() bool { return repaired.Load() > before })
	}
	cancel()
	if err := <-watching; err != nil {
		t.Error(err)
	}
}
