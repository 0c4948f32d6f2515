package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/hostile"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/ndp"
)

// TestUplinkFlood: a host on the link with the routers floods us with neighbour solicitations, each from another address and
// MAC. Sessions and BFD stay, and the operator sees which uplink it is.
func TestUplinkFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	k, other := newSharedLink(t)
	k.write("hv.yaml", strings.Replace(unnumberedNeighbors, "as: external", "as: external, families: [ipv4]", 1))
	k.run()
	before := k.sessionsUp(2)
	ours := linkLocal(t, k.hv, "a.public")
	nstest.Wait(t, 5*time.Second, "the routers to be peers of the firewall", func() bool {
		set := k.hv.Exec("nft", "list", "set", "inet", "hvrouter", "peers6")
		return strings.Contains(set, linkLocal(t, k.tors[0].ns, "hv").String()) && strings.Contains(set, linkLocal(t, k.tors[1].ns, "hv").String())
	})

	sender, err := hostile.Open(other.Path, "x")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		n := sender.Flood(hostile.Flood{Frame: func(_ *hostile.Scene, n uint32) []byte {
			mac := ndp.MAC(hostile.Station(n))
			to := ndp.SolicitedNode(ours)
			body, err := ndp.NeighborSolicitation{Target: ours, SourceLinkAddr: mac}.AppendBinary(nil)
			if err != nil {
				t.Error(err)
			}
			frame, err := (&ndp.Packet{SrcMAC: mac, DstMAC: ndp.GroupMAC(to), Src: hostile.LinkLocal(n), Dst: to, HopLimit: 255, Body: body}).AppendBinary(nil)
			if err != nil {
				t.Error(err)
			}
			return frame
		}}, nil, 1000, end)
		t.Logf("%d solicitations", n)
	})
	stop := sync.OnceFunc(func() { close(end); flood.Wait(); sender.Close() })
	defer stop()
	began := time.Now()
	nstest.Wait(t, 40*time.Second, "the event", func() bool {
		out, err := k.command("show", "events", "-api", k.path("api.sock"), "-event", "uplink-flooded").CombinedOutput()
		return err == nil && strings.Contains(string(out), "a.public")
	})
	nstest.Wait(t, 10*time.Second, "a router to be answered during the flood", func() bool {
		return k.tors[0].ns.Command("ping", "-n", "-c1", "-W3", "-I", "hv", ours.String()).Run() == nil
	})
	n := strings.Count(k.hv.IP("-6 neigh show dev a.public"), "\n")
	var drops []api.Drop
	if err := k.ask("/v1/firewall", &drops); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(drops, func(d api.Drop) bool { return d.Kind == "neighbour-flood" })
	if i < 0 || drops[i].Interfaces["a.public"] < 1024 || len(drops[i].Interfaces) != 1 {
		t.Errorf("drops: %+v", drops)
	}
	stop()
	if n > 600 {
		t.Errorf("%d neighbours", n)
	}
	t.Logf("%d neighbours after %v", n, time.Since(began))
	after := k.sessionsUp(2)
	state := func(list []api.Session) (out []string) {
		for _, s := range list {
			out = append(out, fmt.Sprint(s.Peer, s.Since, s.Ups))
		}
		slices.Sort(out)
		return out
	}
	if a, b := state(before), state(after); !slices.Equal(a, b) {
		t.Errorf("sessions were %q, are %q", a, b)
	}
	var bfds []api.BFD
	if err := k.ask("/v1/bfd", &bfds); err != nil || slices.ContainsFunc(bfds, func(s api.BFD) bool { return s.Downs > 0 }) {
		t.Errorf("BFD: %+v %v", bfds, err)
	}
}
