package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestUnnumberedSolicited: a host floods a link with neighbour solicitations for the hypervisor, from an address each.
// They do not fill the kernel's table of neighbours: a router that comes back meanwhile, with another MAC and another address,
// has its session, and the session with the other router stays what it is.
func TestUnnumberedSolicited(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	for _, answers := range []bool{false, true} {
		t.Run(map[bool]string{false: "silent", true: "answers"}[answers], func(t *testing.T) {
			k, other := newSharedLink(t)
			k.write("hv.yaml", strings.Replace(unnumberedNeighbors, "as: external", "as: external, families: [ipv4]", 1))
			k.run()
			k.sessionsUp(2)
			with := func(a netip.Addr) (s api.Session, ok bool) {
				var all []api.Session
				_ = k.ask("/v1/sessions", &all)
				i := slices.IndexFunc(all, func(s api.Session) bool { return s.Peer.WithZone("") == a && s.State == "Established" })
				if i < 0 {
					return s, false
				}
				return all[i], true
			}
			neighbours := func() int { return strings.Count(k.hv.IP("-6 neigh show dev a.public nud all"), "fe80::f:") }
			stays := linkLocal(t, k.tors[1].ns, "hv")
			before, ok := with(stays)
			if !ok {
				t.Fatalf("no session with %v", stays)
			}
			used, flooded := k.cpuTime(), time.Now()
			f := newForger(t, other, "x", 300, answers, linkLocal(t, k.hv, "a.public"))
			// It ends before it fills the table of everybody else, should nothing bound it.
			nstest.Wait(t, 20*time.Second, "1500 solicitations, of which 1024 fill any table", func() bool {
				if n := neighbours(); n > 300 {
					f.stop()
					t.Fatalf("%d neighbours after %d solicitations", n, f.sent.Load())
				}
				return f.sent.Load() >= 1500
			})
			now, began := k.tors[0].reboot("02:00:5e:00:00:77", "")
			nstest.Wait(t, 20*time.Second, "a session with the router that came back", func() bool { _, ok := with(now); return ok })
			t.Logf("%.2f s until the session; %d neighbours of the flood", time.Since(began).Seconds(), neighbours())
			out := k.hv.Command("ping", "-6", "-c1", "-W2", now.String()+"%a.public")
			if err := out.Run(); err != nil {
				t.Errorf("ping: %v", err)
			}
			f.stop()
			t.Logf("processor time of the daemon: %.1f %%", 100*(k.cpuTime()-used).Seconds()/time.Since(flooded).Seconds())
			if after, ok := with(stays); !ok || after.Since != before.Since || after.Ups != before.Ups {
				t.Errorf("the session with the other router was %+v, is %+v", before, after)
			}
		})
	}
}
