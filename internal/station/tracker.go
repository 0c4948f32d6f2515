// Package station learns which station has which address, and on which link. It is
// the logic behind the watchers of arp and ndp, which translate packets into
// [Tracker.Speaks] and [Tracker.Wants], and questions into packets.
package station

import (
	"cmp"
	"container/heap"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/ether"
)

// Config says how long a Tracker believes what it heard. The zero value of each
// field is its default.
type Config struct {
	Idle          time.Duration // silence after which a station is asked whether it is still there; 60 s
	ProbeInterval time.Duration // between such questions; 1 s
	ProbeCount    int           // unanswered questions after which it is gone; 3
	PerLink       int           // addresses remembered on one link; 64
}

func (c Config) filled() Config {
	if c.Idle == 0 {
		c.Idle = 60 * time.Second
	}
	if c.ProbeInterval == 0 {
		c.ProbeInterval = time.Second
	}
	if c.ProbeCount == 0 {
		c.ProbeCount = 3
	}
	if c.PerLink == 0 {
		c.PerLink = 64
	}
	return c
}

// Question is to be put to a station: is it still there?
type Question struct {
	Link int        // index of the interface
	To   ether.MAC  // of the station asked; zero: unknown, so all of the link are asked
	IP   netip.Addr // the address asked for
}

// Tracker is pure: time and claims come in, events and questions come out. Not safe
// for concurrent use. The first station has an address, as in RFC 6620, Section 3: a claim by
// another one, or with the same MAC on another link, is a Conflict. The first station is asked
// where it was, and loses the address only if it does not answer.
type Tracker struct {
	cfg     Config                  // with defaults
	links   map[int]*link           // by interface index
	entries map[netip.Addr]*station // by address
	queue   queue                   // of entries, by next
	full    uint64                  // claims that were dropped: their link had PerLink
}

type link struct {
	own   ether.MAC // our own address on the link
	asks  bool      // stations of the link are asked
	count int       // stations on the link
}

// New returns a Tracker without links.
func New(cfg Config) *Tracker {
	return &Tracker{cfg: cfg.filled(), links: make(map[int]*link), entries: make(map[netip.Addr]*station)}
}

// AddLink watches a link, or changes how: own is the host's address there, which claims
// nothing; asks is whether questions can be put.
func (t *Tracker) AddLink(index int, own ether.MAC, asks bool) {
	if l := t.links[index]; l != nil {
		l.own, l.asks = own, asks
		return
	}
	t.links[index] = &link{own: own, asks: asks}
}

// RemoveLink forgets a link. Its stations are Gone, in the order of their addresses.
func (t *Tracker) RemoveLink(index int) (events []Event) {
	var gone []*station
	for _, s := range t.entries {
		if s.link == index {
			events = t.drop(s, events)
			gone = append(gone, s)
		}
	}
	delete(t.links, index)
	for _, s := range gone {
		t.askClaimant(s)
	}
	slices.SortFunc(events, func(a, b Event) int { return a.IP.Compare(b.IP) })
	return events
}

// Stations returns the stations that were reported, each as Seen, in the order of their
// addresses.
func (t *Tracker) Stations() (list []Event) {
	for _, s := range t.entries {
		if s.reported {
			list = append(list, Event{Kind: Seen, IP: s.ip, IfIndex: cmp.Or(s.from, s.link), MAC: s.mac})
		}
	}
	slices.SortFunc(list, func(a, b Event) int { return a.IP.Compare(b.IP) })
	return list
}

// Seeded returns the addresses that stations are believed to have since Seed.
func (t *Tracker) Seeded() (list []netip.Addr) {
	for _, s := range t.entries {
		if s.seeded {
			list = append(list, s.ip)
		}
	}
	return list
}

// Full returns how many stations were not remembered because their link had
// PerLink already.
func (t *Tracker) Full() uint64 { return t.full }

// Speaks takes a claim: the station mac on link uses ip.
func (t *Tracker) Speaks(now time.Time, link int, mac ether.MAC, ip netip.Addr, events []Event) []Event {
	if !t.claims(link, mac) {
		return events
	}
	s := t.entries[ip]
	switch {
	case s == nil:
		if s = t.add(link, ip); s == nil {
			return events
		}
		s.next = now.Add(t.cfg.Idle)
		heap.Fix(&t.queue, s.index)
	case s.mac == mac && s.link == link, s.mac.IsZero() && s.link == link:
	case s.reported:
		return t.conflict(now, s, claim{mac, link, now}, events)
	case s.link != link && t.links[link].count >= t.cfg.PerLink:
		t.full++
		return events
	default: // the station that was asked does not have it; this one does
		t.shift(s, link)
	}
	s.mac, s.heard, s.asked = mac, now, 0
	switch old := s.from; {
	case old != 0:
		s.from = 0
		return append(events, Event{Kind: Moved, IP: ip, IfIndex: link, MAC: mac, OldIfIndex: old, OldMAC: mac})
	case s.reported:
		return events
	}
	s.reported = true
	return append(events, Event{Kind: Seen, IP: ip, IfIndex: link, MAC: mac})
}

// Wants takes a question that announces a claim: mac on link is about to use ip
// unless another station objects. It is asked a moment later whether it does.
func (t *Tracker) Wants(now time.Time, link int, mac ether.MAC, ip netip.Addr, events []Event) []Event {
	if !t.claims(link, mac) {
		return events
	}
	s := t.entries[ip]
	switch {
	case s == nil:
		t.suspect(now, link, mac, ip)
	case s.reported && (s.mac != mac || s.link != link):
		return t.conflict(now, s, claim{mac, link, now}, events)
	case s.reported:
	case s.link == link:
		s.mac, s.asked, s.next = mac, 0, now.Add(detection)
		heap.Fix(&t.queue, s.index)
	}
	return events
}

// Seed says that a station on link was known to have ip. It is asked for at once,
// and reported as Seen only if it answers, as Gone if it does not.
func (t *Tracker) Seed(now time.Time, link int, ip netip.Addr) {
	if t.links[link] == nil || t.entries[ip] != nil {
		return
	}
	if s := t.add(link, ip); s != nil {
		s.seeded, s.next = true, now
		heap.Fix(&t.queue, s.index)
	}
}

// claims reports whether mac on link can be a station's.
func (t *Tracker) claims(link int, mac ether.MAC) bool {
	l := t.links[link]
	return l != nil && mac.IsUnicast() && mac != l.own
}

// add makes an entry that is due at the zero time; nil if the link is full.
func (t *Tracker) add(link int, ip netip.Addr) *station {
	l := t.links[link]
	if l.count >= t.cfg.PerLink {
		t.full++
		return nil
	}
	l.count++
	s := &station{ip: ip, link: link}
	t.entries[ip] = s
	heap.Push(&t.queue, s)
	return s
}

// detection is how long duplicate address detection takes: RetransTimer after one
// solicitation (RFC 4862, Section 5.1), and a little for the host to believe it. ARP's takes
// longer, but ends with an announcement (RFC 5227, Section 2.3).
const detection = 1100 * time.Millisecond

// suspect makes an entry that is asked for when duplicate address detection is over.
func (t *Tracker) suspect(now time.Time, link int, mac ether.MAC, ip netip.Addr) {
	if s := t.add(link, ip); s != nil {
		s.mac, s.next = mac, now.Add(detection)
		heap.Fix(&t.queue, s.index)
	}
}

// shift moves an entry to another link.
func (t *Tracker) shift(s *station, link int) {
	if old := t.links[s.link]; old != nil {
		old.count--
	}
	t.links[link].count++
	s.link = link
}

// conflict takes a claim to an address that s has. It appends an event, at most one in
// Idle for the same claim, and has s asked.
func (t *Tracker) conflict(now time.Time, s *station, r claim, events []Event) []Event {
	if s.claim.mac == r.mac && s.claim.link == r.link && now.Sub(s.claim.at) < t.cfg.Idle {
		return events
	}
	s.claim = r
	if s.asked == 0 {
		s.heard = now.Add(-t.cfg.Idle)
		s.next = now
		heap.Fix(&t.queue, s.index)
	}
	return append(events, Event{Kind: Conflict, IP: s.ip, IfIndex: r.link, MAC: r.mac, OldIfIndex: s.link, OldMAC: s.mac})
}

// Deadline is when Advance has something to do; the zero time if never.
func (t *Tracker) Deadline() time.Time {
	if len(t.queue) == 0 {
		return time.Time{}
	}
	return t.queue[0].next
}

// Advance appends the questions due at now to ask and what silence has shown to
// events.
func (t *Tracker) Advance(now time.Time, ask []Question, events []Event) ([]Question, []Event) {
	for len(t.queue) > 0 && !t.queue[0].next.After(now) {
		s := t.queue[0]
		switch {
		case s.reported && s.asked == 0 && now.Sub(s.heard) < t.cfg.Idle:
			s.next = s.heard.Add(t.cfg.Idle)
		case !t.links[s.link].asks && s.reported:
			s.next = now.Add(t.cfg.Idle)
		case s.asked == t.cfg.ProbeCount || !t.links[s.link].asks:
			events = t.silent(now, s, events)
			continue
		default:
			s.asked++
			s.next = now.Add(t.cfg.ProbeInterval)
			ask = append(ask, Question{Link: s.link, To: s.mac, IP: s.ip})
		}
		heap.Fix(&t.queue, s.index)
	}
	return ask, events
}

// silent ends a station that does not answer. If the last claim came with its MAC from
// another link, the station is asked there: it has moved if it answers.
func (t *Tracker) silent(now time.Time, s *station, events []Event) []Event {
	r := s.claim
	l := t.links[r.link]
	if s.reported && l != nil && r.mac == s.mac && r.link != s.link && l.count < t.cfg.PerLink {
		s.from = cmp.Or(s.from, s.link)
		t.shift(s, r.link)
		s.asked, s.claim, s.next = 0, claim{}, now
		s.heard = now.Add(-t.cfg.Idle)
		heap.Fix(&t.queue, s.index)
		return events
	}
	events = t.drop(s, events)
	t.askClaimant(s)
	return events
}

// askClaimant has the station asked that last claimed the address of one that is gone.
func (t *Tracker) askClaimant(gone *station) {
	if r := gone.claim; !r.at.IsZero() && t.links[r.link] != nil {
		if s := t.add(r.link, gone.ip); s != nil {
			s.mac, s.next = r.mac, r.at
			heap.Fix(&t.queue, s.index)
		}
	}
}

// drop removes a station, and reports it as Gone if the user knows of it.
func (t *Tracker) drop(s *station, events []Event) []Event {
	heap.Remove(&t.queue, s.index)
	delete(t.entries, s.ip)
	if l := t.links[s.link]; l != nil {
		l.count--
	}
	if !s.reported && !s.seeded {
		return events // it only wanted the address
	}
	return append(events, Event{Kind: Gone, IP: s.ip, IfIndex: cmp.Or(s.from, s.link), MAC: s.mac})
}
