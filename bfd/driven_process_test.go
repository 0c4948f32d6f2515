package bfd

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// mapHops are next-hop objects in memory.
type mapHops map[uint32]bfdcore.NextHop

func (h mapHops) NextHop(id uint32) (bfdcore.NextHop, error) {
	if n, ok := h[id]; ok {
		return n, nil
	}
	return bfdcore.NextHop{}, bfdcore.ErrNoNextHop
}

func (h mapHops) Groups() (list []bfdcore.NextHop, err error) {
	for _, id := range slices.Sorted(maps.Keys(h)) {
		if h[id].Group != nil {
			list = append(list, h[id])
		}
	}
	return list, nil
}

func (h mapHops) Delete(id uint32) error {
	delete(h, id)
	for k, g := range h {
		g.Group = slices.DeleteFunc(slices.Clone(g.Group), func(m bfdcore.Member) bool { return m.ID == id })
		h[k] = g
	}
	return nil
}

func (h mapHops) Replace(g bfdcore.NextHop) error { h[g.ID] = g; return nil }

// process makes the node a separate process, with a client that has one session.
func (n *wireNode) process(t testing.TB, client string, c SessionConfig) (*DrivenProcess, *DrivenConn) {
	p, err := NewDrivenProcess(n.config(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	n.d, n.watcher = p, p.Watch()
	return p, n.client(t, p, client, c)
}

func (n *wireNode) client(t testing.TB, p *DrivenProcess, name string, c SessionConfig) *DrivenConn {
	conn, err := p.Connect(name)
	if err != nil {
		t.Fatal(err)
	}
	c.Key = Key{Peer: n.far.addr, Local: n.addr, Interface: "e0"}
	if err := conn.Add(c); err != nil {
		t.Fatal(err)
	}
	if err := conn.Synced(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestDrivenProcess: the sessions of a process outlive its client and its process, next hops go
// when a session dies and nobody else is there, and what nobody comes back for ends.
func TestDrivenProcess(t *testing.T) {
	w := newWire(1)
	w.quiet, w.delay = true, ms(2)
	a, b := w.pair(t, hundred)
	c := hundred()
	a.hops = mapHops{
		1: {ID: 1, Link: 7, Gateway: b.addr}, 2: {ID: 2, Link: 8, Gateway: b.addr},
		9: {ID: 9, Group: []bfdcore.Member{{ID: 1}, {ID: 2}}},
	}
	c.Failover = []NextHop{{ID: 1, IfIndex: 7, Gateway: b.addr}}
	p, conn := a.process(t, "router", c)
	w.run(5 * time.Second)
	if s := b.session(t); s.State != StateUp || !s.RemoteC {
		t.Fatal(s, w.trace.String())
	}
	if _, err := p.Connect("router"); err == nil {
		t.Error("two clients of one name")
	}
	conn.Close()
	if err := conn.Synced(); err != ErrClosed {
		t.Error(err)
	}
	w.run(30 * time.Second)
	conn = a.client(t, p, "router", c)

	// A successor that dies, and one that does not.
	if _, err := p.Export(); err != nil {
		t.Fatal(err)
	}
	w.run(ms(100))
	p.Resume()
	w.run(time.Second)
	state, err := p.Export()
	if err != nil {
		t.Fatal(err)
	}
	next, err := ImportDrivenProcess(a.config(), time.Minute, state)
	if err != nil {
		t.Fatal(err)
	}
	w.run(ms(100))
	p.Leave()
	if _, err := conn.Sessions(); err != ErrClosed {
		t.Error(err)
	}
	next.Resume()
	a.d, a.watcher = next, next.Watch()
	w.run(time.Second)
	for _, n := range w.nodes {
		if s := n.session(t); s.State != StateUp || s.Downs != 0 && n == b {
			t.Fatal(s, w.trace.String())
		}
	}

	b.cut = true
	w.run(ms(310))
	if _, there := a.hops[1]; there || len(a.hops[9].Group) != 1 {
		t.Fatal(a.hops, w.trace.String())
	}
	w.run(2 * time.Minute)
	if !next.Ended() {
		t.Error("goes on without clients")
	}
	if s := b.session(t); s.State != StateDown || s.Reason != ReasonRemoteAdminDown {
		t.Error(s, w.trace.String())
	}
}
