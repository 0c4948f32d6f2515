package world

import (
	"errors"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
	"golang.org/x/sys/unix"
)

// foreignPort is the netlink port of other programs.
const foreignPort = 0xf0000000

// foreign is another program that changes what is ours: "foreign h1 delete-route 17", where the
// number chooses one of those that there are.
func (w *World) foreign(words []string) error {
	h, err := w.hostNamed(words, 0)
	if err != nil || len(words) < 3 {
		return errors.Join(err, errWords)
	}
	if !h.alive {
		return nil
	}
	h.meddled = w.now
	h.kernelTrouble("another program changes the kernel: 35 s", foreignTime)
	if words[1] == "replace-route" && (h.daemon.state != running || h.daemon.slow > 0 || h.troubled() || !h.core.Converged()) {
		// It cannot be repaired at once, or is perhaps what the daemon before has left and this one
		// does not want yet, so that it is the other program's from then on: it is learned, and stays
		// until that deletes it.
		w.leave(&h.away[foreignAway], "another program has a route of its own under a key of ours: until it is gone")
	}
	k, n := h.kernel, number(words[2])
	var ours []*fakekernel.Route
	for _, r := range k.Routes() {
		if r.Protocol == protocol {
			ours = append(ours, r)
		}
	}
	var requests [][]byte
	switch words[1] {
	case "delete-route", "replace-route":
		if len(ours) == 0 {
			return nil
		}
		m := ours[n%len(ours)].RouteMessage
		if words[1] == "delete-route" {
			requests = append(requests, wire.AppendRoute(nil, unix.RTM_DELROUTE, unix.NLM_F_REQUEST, 1, &m, false))
			break
		}
		m.Protocol, m.NextHopID, m.Type = unix.RTPROT_STATIC, 0, wire.RouteUnicast
		m.NextHops = []wire.NextHop{{Gateway: address(0, 0), IfIndex: firstUplink, Weight: 1}}
		requests = append(requests, wire.AppendRoute(nil, unix.RTM_NEWROUTE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE, 1, &m, true))
	case "replace-nexthop", "shrink-group":
		requests = h.replaceNextHop(words[1] == "shrink-group", n)
	case "delete-nexthop":
		if list := k.NextHops(); len(list) > 0 {
			requests = append(requests, wire.AppendDelNextHop(nil, 1, list[n%len(list)].ID))
		}
	case "delete-rule":
		if list := k.Rules(); len(list) > 0 {
			r := list[n%len(list)]
			requests = append(requests, wire.AppendRule(nil, unix.RTM_DELRULE, unix.NLM_F_REQUEST, 1, r.Rule, r.Protocol))
		}
	case "flush":
		for _, r := range ours {
			requests = append(requests, wire.AppendRoute(nil, unix.RTM_DELROUTE, unix.NLM_F_REQUEST, 1, &r.RouteMessage, false))
		}
	default:
		return errWords
	}
	for _, b := range requests {
		if errno := k.Do(foreignPort, b); errno != 0 {
			w.note("%s: the other program is refused: %v", h.name, errno)
		}
	}
	h.kick()
	return nil
}

// dropForeign takes away what other programs have put into the kernel.
func (h *hypervisor) dropForeign() {
	for _, r := range h.kernel.Routes() {
		if r.Protocol == unix.RTPROT_STATIC {
			h.kernel.Do(foreignPort, wire.AppendRoute(nil, unix.RTM_DELROUTE, unix.NLM_F_REQUEST, 1, &r.RouteMessage, false))
		}
	}
}

// replaceNextHop makes another object of a next-hop object of ours, with a gateway that does not
// forward, or takes all members but one out of a group.
func (h *hypervisor) replaceNextHop(group bool, n int) (requests [][]byte) {
	var list []*fakekernel.NextHop
	for _, o := range h.kernel.NextHops() {
		if group && len(o.Members) > 1 || !group && o.Members == nil && o.Gateway.IsValid() {
			list = append(list, o)
		}
	}
	if len(list) == 0 {
		return nil
	}
	m := list[n%len(list)].NextHopMessage
	if group {
		m.Members = m.Members[n/len(list)%len(m.Members):][:1:1]
	} else {
		m.Gateway, m.Protocol = address(int(m.IfIndex)-firstUplink, 0), unix.RTPROT_UNSPEC
	}
	return append(requests, wire.AppendNextHop(nil, unix.NLM_F_REPLACE, 1, &m))
}
