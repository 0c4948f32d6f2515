package sessions

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Member is one domain's part of a speaker; most speakers have one. Where several domains
// share the sessions, each announces its paths with identifiers and a community of its own.
type Member struct {
	*speaker
	no int // of the domain among the speaker's
}

// ids yields the path identifiers of the member.
func (m Member) ids(yield func(uint32) bool) {
	for n := range m.members[m.no].NextHops {
		if !yield(peering.PathID(m.no, n)) {
			return
		}
	}
}

// originate announces a prefix over every next hop.
func (m Member) originate(p netip.Prefix, pref uint32, more ...wire.Community) error {
	list := more
	if c := m.members[m.no].Community; c != 0 {
		list = append(slices.Clip(more), c)
	}
	for id := range m.ids {
		err := m.bgp.Table().Originate(rib.LocalPath{Prefix: p, PathID: id, Attrs: wire.PathAttrs{LocalPref: &pref, Communities: list}})
		if err != nil {
			return err
		}
	}
	return nil
}

// LinkDown has the speaker begin without the sessions over an interface that has no carrier.
func (m Member) LinkDown(name string) { m.linkDown(name) }

// Announce announces prefixes to all peers.
func (m Member) Announce(list []domain.Announcement) {
	for _, a := range list {
		var more []wire.Community
		if a.GracefulShutdown {
			more = append(more, peering.GracefulShutdown)
		}
		if err := m.originate(a.Prefix, a.LocalPref, more...); err != nil {
			m.log.Error("announcement", "event", "bgp-error", "domain", m.members[m.no].Domain, "prefix", a.Prefix, "err", err)
		}
	}
}

// Withdraw withdraws prefixes from all peers.
func (m Member) Withdraw(list []netip.Prefix) {
	for _, p := range list {
		for id := range m.ids {
			m.bgp.Table().Withdraw(p, id)
		}
	}
}

// SetEVPN originates, replaces or withdraws EVPN routes. Domains that share sessions share them: who
// does it for one of them has done it for all.
func (m Member) SetEVPN(list []overlay.Change) {
	for _, c := range list {
		if c.Origin == nil {
			m.bgp.Table().WithdrawEVPN([]byte(c.Key), 0)
			continue
		}
		p, err := c.Origin.Path()
		if err == nil {
			err = m.bgp.Table().Originate(p)
		}
		if err != nil {
			m.log.Error("EVPN announcement", "event", "bgp-error", "domain", m.members[m.no].Domain, "route", c.Origin.String(), "err", err)
		}
	}
}

// InventoryComplete says that everything of the domain has been announced once. The speaker
// sends End-of-RIB when that is so of all of its members.
func (m Member) InventoryComplete() {
	m.mu.Lock()
	m.complete[m.no] = true
	all := !slices.Contains(m.complete, false)
	m.mu.Unlock()
	if all {
		m.bgp.InventoryComplete()
	}
}

// Configure brings the sessions in line with the domain's configuration; sessions that did not
// change are left alone.
func (m Member) Configure(c *config.Config, d config.Domain) { m.configure(c, d) }
