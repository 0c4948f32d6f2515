package station

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/ether"
)

// FuzzTracker plays random lives and checks what must hold at every moment: links
// within their bound, an event only about what was true before, and time that goes on.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0x00, 0x11, 0x21, 0x95, 0x12, 0x95, 0x95, 0x95, 0x95, 0x31, 0x95})
	f.Add([]byte("\x11\x51\x95\x95\x95\x95\x95\x01\x61\x11\x95\x95\x95\x95\x95"))
	f.Fuzz(func(t *testing.T, script []byte) {
		m := model{t: t, Tracker: New(Config{PerLink: 2}), known: map[netip.Addr]bool{}, seeded: map[netip.Addr]bool{}, at: map[netip.Addr]int{}}
		now := time.Unix(0, 0)
		for _, b := range script {
			link, mac := 1+int(b>>3&3), ether.MAC{2, 0, 0, 0, 0, b >> 1 & 3}
			ip := netip.AddrFrom4([4]byte{203, 0, 113, b & 3})
			switch b >> 5 {
			case 0:
				m.AddLink(link, ether.MAC{2, 0, 0, 0, 0, 9}, b&1 == 0)
			case 1, 2:
				m.took(m.Speaks(now, link, mac, ip, nil))
			case 3:
				m.took(m.Wants(now, link, mac, ip, nil))
			case 4:
				now = now.Add(time.Duration(b&31) * time.Second)
				_, events := m.Advance(now, nil, nil)
				m.took(events)
				if d := m.Deadline(); !d.IsZero() && !d.After(now) {
					t.Fatalf("due at %v, and it is %v", d, now)
				}
			case 5:
				if m.links[link] != nil && m.entries[ip] == nil && m.links[link].count < 2 {
					m.seeded[ip] = true
				}
				m.Seed(now, link, ip)
			case 6:
				m.took(m.RemoveLink(link))
			}
			m.check()
		}
	})
}

// model is what the events have said so far.
type model struct {
	*Tracker
	t             *testing.T
	known, seeded map[netip.Addr]bool
	at            map[netip.Addr]int
}

func (m *model) took(events []Event) {
	m.t.Helper()
	for _, e := range events {
		known := m.known[e.IP]
		switch e.Kind {
		case Seen:
			if known {
				m.t.Fatalf("%v, which was known", e)
			}
			m.known[e.IP], m.at[e.IP] = true, e.IfIndex
		case Moved:
			if !known || m.at[e.IP] != e.OldIfIndex || e.IfIndex == e.OldIfIndex {
				m.t.Fatalf("%v, and it was known %v on link %d", e, known, m.at[e.IP])
			}
			m.at[e.IP] = e.IfIndex
		case Conflict:
			if !known {
				m.t.Fatalf("%v about somebody unknown", e)
			}
		case Gone:
			if !known && !m.seeded[e.IP] || known && m.at[e.IP] != e.IfIndex {
				m.t.Fatalf("%v, and it was known %v on link %d", e, known, m.at[e.IP])
			}
			delete(m.known, e.IP)
			delete(m.seeded, e.IP)
		}
	}
}

func (m *model) check() {
	m.t.Helper()
	count := map[int]int{}
	for ip, s := range m.entries {
		count[s.link]++
		if m.queue[s.index] != s || s.ip != ip || s.reported != m.known[ip] {
			m.t.Fatalf("%v: %+v, known %v", ip, s, m.known[ip])
		}
	}
	if len(m.queue) != len(m.entries) {
		m.t.Fatalf("%d queued, %d entries", len(m.queue), len(m.entries))
	}
	for i, l := range m.links {
		if l.count != count[i] || l.count > 2 {
			m.t.Fatalf("link %d counts %d, has %d", i, l.count, count[i])
		}
		delete(count, i)
	}
	if len(count) > 0 {
		m.t.Fatalf("stations on links that are not watched: %v", count)
	}
}
