package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// member is one domain's share of a speaker: most speakers have one. Where several
// domains share the sessions, each announces its paths with identifiers and a
// community of its own.
type member struct {
	*speaker
	no int
}

var _ announcer = member{}

// ids yields the path identifiers of the member.
func (m member) ids(yield func(uint32) bool) {
	for n := range m.members[m.no].NextHops {
		if !yield(peering.PathID(m.no, n)) {
			return
		}
	}
}

// originate announces a prefix over every next hop.
func (m member) originate(p netip.Prefix, pref uint32, more ...wire.Community) error {
	list := more
	if c := m.members[m.no].Community; c != 0 {
		list = append(slices.Clip(more), c)
	}
	for id := range m.ids {
		err := m.Table().Originate(rib.LocalPath{Prefix: p, PathID: id, Attrs: wire.PathAttrs{LocalPref: &pref, Communities: list}})
		if err != nil {
			return err
		}
	}
	return nil
}

// Announce implements announcer.
func (m member) Announce(list []domain.Announcement) {
	for _, a := range list {
		if err := m.originate(a.Prefix, a.LocalPref); err != nil {
			m.log.Error("announcement", "event", "bgp-error", "domain", m.members[m.no].Domain, "prefix", a.Prefix, "err", err)
		}
	}
}

// Withdraw implements announcer.
func (m member) Withdraw(list []netip.Prefix) {
	for _, p := range list {
		for id := range m.ids {
			m.Table().Withdraw(p, id)
		}
	}
}

// InventoryComplete implements announcer: the speaker's inventory is complete when
// those of all its members are.
func (m member) InventoryComplete() {
	m.mu.Lock()
	m.complete[m.no] = true
	all := !slices.Contains(m.complete, false)
	m.mu.Unlock()
	if all {
		m.Speaker.InventoryComplete()
	}
}

// Configure implements announcer.
func (m member) Configure(c *config.Config, d config.Domain) { m.speaker.configure(c, d) }

// gracefulShutdown is the community GRACEFUL_SHUTDOWN of RFC 8326, 65535:0.
const gracefulShutdown = wire.Community(0xffff0000)

// drain announces everything once more, to be used only if there is nothing else
// (RFC 8326).
func (m member) drain(list []domain.Announcement) {
	for _, a := range list {
		_ = m.originate(a.Prefix, 0, gracefulShutdown)
	}
}

// member makes the share of a domain in the speaker of its sessions, and the speaker
// itself for the first domain of it.
func (d *Daemon) member(c *config.Config, dom config.Domain) (member, error) {
	for no, m := range peering.Members(c, dom) {
		if first, ok := d.speaker[m.Domain]; ok {
			at := slices.IndexFunc(first.members, func(m peering.Member) bool { return m.Domain == dom.Name })
			return member{first.speaker, at}, nil
		} else if m.Domain == dom.Name {
			s, err := newSpeaker(d.log, c, dom, d.router.at(dom.NetNS))
			return member{s, no}, err
		}
	}
	return member{}, fmt.Errorf("domain %s has no speaker", dom.Name)
}

// follows returns the domains that a speaker serves.
func (r *router) follows(s *speaker) (list []*routing) {
	for _, m := range s.members {
		list = append(list, r.domains[m.Domain])
	}
	return list
}
