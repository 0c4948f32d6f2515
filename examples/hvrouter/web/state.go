package web

import (
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overview"
)

// maxGuests bounds the rows of a page: a browser draws them all again each second. The counts are of all.
const maxGuests = 500

// state is what the page shows. Times are absolute, so that what does not change is the same text.
type state struct {
	Host     string          `json:"host"`
	Error    string          `json:"error,omitempty"` // the daemon does not answer: what follows is of before
	Health   api.Health      `json:"health"`
	Started  time.Time       `json:"started"`
	Writes   uint64          `json:"kernel-writes"`
	Sessions []session       `json:"sessions"`
	BFD      []bfd           `json:"bfd"`
	Guests   []guest         `json:"guests"` // those refused first, then those absent, at most maxGuests
	Present  int             `json:"guests-present"`
	Total    int             `json:"guests-total"`
	Events   []journal.Event `json:"events"` // the newest first
}

type session struct {
	Domain     string    `json:"domain"`
	Name       string    `json:"name"` // the address of the peer, unless it has another
	Fabric     string    `json:"fabric"`
	Interface  string    `json:"interface"`
	Peer       string    `json:"peer"`
	State      string    `json:"state"`
	Since      time.Time `json:"since"`
	BFD        string    `json:"bfd"`
	Received   int       `json:"received"`
	Advertised int       `json:"advertised"`
	Stale      int       `json:"stale,omitempty"`
	Error      string    `json:"error,omitempty"`
}

type bfd struct {
	Interface string    `json:"interface"`
	Peer      string    `json:"peer"`
	State     string    `json:"state"`
	Since     time.Time `json:"since"`
	Detect    string    `json:"detect"`
	Downs     uint64    `json:"downs"`
	Reason    string    `json:"reason,omitempty"`
}

type guest struct {
	Name      string   `json:"name"`
	Interface string   `json:"interface"`
	Addresses []string `json:"addresses"`
	State     string   `json:"state"` // present, absent or refused
	Why       string   `json:"why,omitempty"`
}

// show makes what the page shows of a moment.
func show(hostname string, m overview.Moment) state {
	s := state{Host: hostname, Health: m.Health, Started: m.Status.Started, Writes: m.Status.Writes, Total: len(m.Guests),
		Sessions: []session{}, BFD: []bfd{}, Guests: []guest{}, Events: append([]journal.Event{}, m.Events...)}
	if m.Err != nil {
		s.Error = m.Err.Error()
	}
	for _, x := range m.Sessions {
		one := session{Domain: x.Domain, Name: x.Name, Fabric: x.Fabric, Interface: x.Interface, Peer: x.Peer.String(), State: x.State, Since: x.Since, BFD: x.BFD, Error: x.Error}
		for _, f := range x.Families {
			one.Received += f.Received
			one.Advertised += f.Advertised
			one.Stale += f.Stale
		}
		s.Sessions = append(s.Sessions, one)
	}
	for _, x := range m.BFD {
		s.BFD = append(s.BFD, bfd{Interface: x.Interface, Peer: x.Peer.String(), State: x.State, Since: x.Since, Detect: x.Detect, Downs: x.Downs, Reason: x.LastDownReason})
	}
	for _, x := range m.Guests {
		one := guest{Name: x.Name, Interface: x.Interface, Addresses: []string{}, State: "absent", Why: x.Refused}
		switch {
		case x.Refused != "":
			one.State = "refused"
		case x.Here():
			one.State = "present"
			s.Present++
		}
		for _, a := range x.IPv4 {
			one.Addresses = append(one.Addresses, a.String())
		}
		for _, p := range slices.Concat(x.IPv6, x.Routed) {
			one.Addresses = append(one.Addresses, p.String())
		}
		s.Guests = append(s.Guests, one)
	}
	order := []string{"refused", "absent", "present"}
	slices.SortStableFunc(s.Guests, func(a, b guest) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
	s.Guests = s.Guests[:min(len(s.Guests), maxGuests)]
	slices.Reverse(s.Events)
	return s
}
