package arp

import (
	"container/heap"
	"net/netip"
	"slices"
	"time"
)

// WatchConfig says how long a Tracker believes what it heard. The zero value of each
// field is its default.
type WatchConfig struct {
	Idle          time.Duration // silence after which a station is asked whether it is still there; 60 s
	ProbeInterval time.Duration // between such questions; 1 s
	ProbeCount    int           // unanswered questions after which it is gone; 3
	PerLink       int           // addresses remembered on one link; 64
}

// Tracker learns from ARP traffic who is where. It is pure: time and frames come in,
// events and frames to send go out; [Watcher] drives one. Not safe for concurrent use.
//
// What a station says about itself is believed when nobody contradicts. A claim to a
// taken address is a Conflict; the holder keeps it, and is asked whether it is
// still there. A station that was silent for Idle is asked by unicast requests
// (RFC 1122, Section 2.3.2.1), and is Gone if ProbeCount of them stay unanswered.
type Tracker struct {
	cfg     WatchConfig
	links   map[int]*watched
	entries map[netip.Addr]*station
	queue   stations
	full    uint64
}

type watched struct {
	mac   MAC
	ip    netip.Addr
	count int
}

// NewTracker returns a Tracker without links.
func NewTracker(cfg WatchConfig) *Tracker {
	if cfg.Idle == 0 {
		cfg.Idle = 60 * time.Second
	}
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval = time.Second
	}
	if cfg.ProbeCount == 0 {
		cfg.ProbeCount = 3
	}
	if cfg.PerLink == 0 {
		cfg.PerLink = 64
	}
	return &Tracker{cfg: cfg, links: make(map[int]*watched), entries: make(map[netip.Addr]*station)}
}

// AddLink watches link. Questions are asked from mac and ip, the host's own addresses
// there; without a valid ip nobody is asked, and nobody is ever Gone for being silent.
func (w *Tracker) AddLink(link int, mac MAC, ip netip.Addr) {
	if l := w.links[link]; l != nil {
		l.mac, l.ip = mac, ip
		return
	}
	w.links[link] = &watched{mac: mac, ip: ip}
}

// RemoveLink forgets link. Its stations are Gone.
func (w *Tracker) RemoveLink(link int) (events []Event) {
	for _, s := range w.entries {
		if s.link == link {
			events = append(events, w.gone(s))
		}
	}
	delete(w.links, link)
	slices.SortFunc(events, func(a, b Event) int { return a.IP.Compare(b.IP) })
	return events
}

// Full returns how many stations were not remembered because their link had
// PerLink already.
func (w *Tracker) Full() uint64 { return w.full }

// Observe takes one received frame and appends what it means to events.
func (w *Tracker) Observe(now time.Time, f *Frame, events []Event) []Event {
	l := w.links[f.Link]
	if l == nil || f.Src != f.SenderMAC || !f.Src.IsUnicast() || f.Src == l.mac || !hostAddr(f.SenderIP.Addr()) {
		return events
	}
	s := w.entries[f.SenderIP.Addr()]
	switch {
	case s == nil:
		return w.learn(now, l, f, events)
	case s.mac != f.SenderMAC:
		return w.rivals(now, s, f, events)
	}
	s.heard, s.asked = now, 0
	if s.link == f.Link {
		return events
	}
	old := s.link
	if ol := w.links[old]; ol != nil {
		ol.count--
	}
	l.count++
	s.link = f.Link
	return append(events, Event{Kind: Moved, IP: s.ip, Link: f.Link, MAC: s.mac, OldLink: old, OldMAC: s.mac})
}

// hostAddr reports whether a can be a station's.
func hostAddr(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (w *Tracker) learn(now time.Time, l *watched, f *Frame, events []Event) []Event {
	if l.count >= w.cfg.PerLink {
		w.full++
		return events
	}
	l.count++
	s := &station{ip: f.SenderIP.Addr(), mac: f.SenderMAC, link: f.Link, heard: now, next: now.Add(w.cfg.Idle)}
	w.entries[s.ip] = s
	heap.Push(&w.queue, s)
	return append(events, Event{Kind: Seen, IP: s.ip, Link: s.link, MAC: s.mac})
}

// rivals handles a claim to a taken address: an event, not more often than every
// Idle for the same rival, and a question to the holder.
func (w *Tracker) rivals(now time.Time, s *station, f *Frame, events []Event) []Event {
	if s.rival == f.SenderMAC && now.Sub(s.rivalled) < w.cfg.Idle {
		return events
	}
	s.rival, s.rivalled = f.SenderMAC, now
	if s.asked == 0 {
		s.heard = now.Add(-w.cfg.Idle)
		s.next = now
		heap.Fix(&w.queue, s.index)
	}
	return append(events, Event{Kind: Conflict, IP: s.ip, Link: f.Link, MAC: f.SenderMAC, OldLink: s.link, OldMAC: s.mac})
}

// Deadline is when Advance has something to do; the zero time if never.
func (w *Tracker) Deadline() time.Time {
	if len(w.queue) == 0 {
		return time.Time{}
	}
	return w.queue[0].next
}

// Advance appends the questions due at now to send and what silence has shown to
// events.
func (w *Tracker) Advance(now time.Time, send []Frame, events []Event) ([]Frame, []Event) {
	for len(w.queue) > 0 && !w.queue[0].next.After(now) {
		s := w.queue[0]
		l := w.links[s.link]
		switch {
		case s.asked == 0 && now.Sub(s.heard) < w.cfg.Idle:
			s.next = s.heard.Add(w.cfg.Idle)
		case l == nil || !l.ip.IsValid():
			s.next = now.Add(w.cfg.Idle)
		case s.asked == w.cfg.ProbeCount:
			events = append(events, w.gone(s))
			continue
		default:
			s.asked++
			s.next = now.Add(w.cfg.ProbeInterval)
			f := NewRequest(l.mac, l.ip, s.ip).On(s.link)
			f.Dst = s.mac
			send = append(send, f)
		}
		heap.Fix(&w.queue, s.index)
	}
	return send, events
}

func (w *Tracker) gone(s *station) Event {
	heap.Remove(&w.queue, s.index)
	delete(w.entries, s.ip)
	if l := w.links[s.link]; l != nil {
		l.count--
	}
	return Event{Kind: Gone, IP: s.ip, Link: s.link, MAC: s.mac}
}
