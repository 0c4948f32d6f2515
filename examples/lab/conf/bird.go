package conf

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// BirdHypervisor is the published design: kernel tables 90, 20 and 100, routes
// learned from the kernel, a pipe that builds local-out, ADD-PATH, BFD and GTSM.
// BIRD waits 60 s after an error and 5 s before it dials unless told otherwise;
// the lab does not want to.
func BirdHypervisor(n int, t Timing) string {
	var w writer
	birdHead(&w, plan.RouterID(n), t)
	w.line("ipv4 table public4; ipv6 table public6; ipv4 table private4; ipv4 table localout4;")
	birdClient(&w)
	for _, f := range plan.Fabrics {
		for _, fam := range t.families(f) {
			birdSession(&w, session{fmt.Sprintf("%s_public%d", plan.RRName(f), fam), f.Public(),
				localPublic(n, f, fam), reflectorPublic(f, fam), fam, fmt.Sprintf("public%d", fam), t.SpeaksBFD(f)})
		}
		birdSession(&w, session{plan.RRName(f) + "_private4", f.Private(), plan.HVPrivate4(n, f), plan.RRPrivate4(f), 4, "private4", t.SpeaksBFD(f)})
	}
	src := fmt.Sprintf("krt_prefsrc = %s; ", plan.Loopback(n))
	birdKernel(&w, "public4", 4, plan.TablePublic, true, "accept;")
	birdKernel(&w, "public6", 6, plan.TablePublic, true, "accept;")
	birdKernel(&w, "private4", 4, plan.TablePrivate, true, src+"accept;")
	birdKernel(&w, "localout4", 4, plan.TableLocal, false, src+"accept;")
	w.line(`protocol pipe private_localout { table localout4; peer table private4; import all; export none; }`)
	w.line(`protocol pipe public_localout { table localout4; peer table public4; import where proto = "kernel_public4"; export none; }`)
	return w.String()
}

// BirdEdge is the edge router: it announces both defaults (and bulk prefixes more)
// and installs what it hears into table 90.
func BirdEdge(t Timing, bulk int) string {
	var w writer
	birdHead(&w, plan.EdgeRouterID(), t)
	w.line("ipv4 table public4; ipv6 table public6;")
	birdClient(&w)
	for _, f := range plan.Fabrics {
		for _, fam := range t.families(f) {
			birdSession(&w, session{fmt.Sprintf("%s_public%d", plan.RRName(f), fam), f.Public(),
				edgePublic(f, fam), reflectorPublic(f, fam), fam, fmt.Sprintf("public%d", fam), t.SpeaksBFD(f)})
		}
	}
	for _, fam := range families {
		w.line("protocol static default%d { ipv%d { table public%d; }; route %s blackhole; }", fam, fam, fam, defaultRoute(fam))
		birdKernel(&w, fmt.Sprintf("public%d", fam), fam, plan.TablePublic, false, "if source = RTS_STATIC then reject; accept;")
	}
	if bulk > 0 {
		w.line("protocol static bulk { ipv4 { table public4; };")
		for i := range bulk {
			w.line("route %s blackhole;", plan.Bulk(i))
		}
		w.line("}")
	}
	return w.String()
}

// BirdReflector is one process of a reflector: the public domain (IPv4 and IPv6)
// or the private one. The two share the ports of BGP and BFD in one namespace, so
// each binds to its own addresses.
//
// Private clients are accepted by range. Public ones are configured one by one:
// BIRD never claims for clients by range that it kept its state over a restart
// (the F bit), so they drop what they have of it when it is back.
func BirdReflector(f plan.Fabric, private bool, t Timing) string {
	var w writer
	id := plan.RRPublic4(f)
	if private {
		id = plan.RRPrivate4(f)
	}
	w.comment("#", flushes)
	birdHead(&w, id, t, birdProbes(f, private, t)...)
	w.line(`template bgp lab {
  direct; ttl security on; bfd on; hold time 90; passive on; strict bind on;
  rr client; rr cluster id %s; error wait time 1, 2; graceful restart on;
}`, id)
	for i, g := range t.Serves(f) {
		suffix := ""
		if i > 0 {
			suffix = "_" + g.String()
		}
		birdServes(&w, g, suffix, private, t)
	}
	return w.String()
}

// birdServes writes the clients of one fabric.
func birdServes(w *writer, f plan.Fabric, suffix string, private bool, t Timing) {
	if private {
		birdClients(w, "clients"+suffix, plan.RRPrivate4(f), "range "+plan.Private4(f).String(), 4, t, 4)
		return
	}
	for _, n := range t.Reflected() {
		birdClients(w, plan.HVName(n)+suffix, plan.RRPublic4(f), plan.HVPublic4(n, f).String(), 4, t, hvCarries(t)...)
		birdClients(w, plan.HVName(n)+suffix, plan.RRPublic6(f), plan.HVPublic6(n, f).String(), 6, t, 6)
	}
	exit := plan.EdgeName
	if t.Mixed() {
		exit = plan.SpineName(f, false)
	}
	birdClients(w, exit+suffix, plan.RRPublic4(f), t.Exit(f, 4).String(), 4, t, 4)
	birdClients(w, exit+suffix, plan.RRPublic6(f), t.Exit(f, 6).String(), 6, t, 6)
}

func birdHead(w *writer, id netip.Addr, t Timing, more ...string) {
	w.line(`log stderr { info, remote, warning, error, auth, fatal, bug };`)
	w.line(`router id %s;`, id)
	w.line(`protocol device { scan time 10; }`)
	w.line(`protocol bfd { strict bind on; interface "*" { interval %s; multiplier %d; };%s }`, milliseconds(t.BFD), t.Multiplier, strings.Join(more, ""))
}

func birdClient(w *writer) {
	w.line(`template bgp lab {
  direct; ttl security on; bfd on; hold time 90;
  connect delay time 1; connect retry time 2; error wait time 1, 2;
}`)
}

type session struct {
	name, device string
	local, peer  fmt.Stringer
	family       int
	table        string
	bfd          bool
}

func birdSession(w *writer, s session) {
	w.line(`protocol bgp %s from lab {
  local %s as %d; neighbor %s as %d; interface "%s"; bfd %s;
  ipv%d { table %s; import all; export all; next hop self; add paths rx; };
}`, s.name, s.local, plan.AS, s.peer, plan.AS, s.device, onOff(s.bfd), s.family, s.table)
}

func birdClients(w *writer, name string, local netip.Addr, neighbor string, family int, t Timing, carries ...int) {
	w.line(`protocol bgp %s_%d from lab {
  local %s as %d; neighbor %s as %d;`, name, family, local, plan.AS, neighbor, plan.AS)
	for _, f := range carries {
		w.line(`  ipv%d { import all; export all; add paths %s; };`, f, birdAddPaths(t))
	}
	w.line("}")
}

// birdKernel couples a BIRD table with a kernel table. Learned routes must beat
// those from BGP in BIRD too, or the node would not announce its own copy of an
// anycast prefix: hence the preference.
func birdKernel(w *writer, table string, family int, kernel uint32, learn bool, filter string) {
	imports, verb := "none", ""
	if learn {
		imports, verb = "where dest = RTD_UNICAST", " learn;"
	}
	w.line(`protocol kernel kernel_%s {
  persist;%s scan time 10; merge paths on; kernel table %d;
  ipv%d { table %s; preference 200; import %s; export filter { %s }; };
}`, table, verb, kernel, family, table, imports, filter)
}

func defaultRoute(family int) string {
	if family == 4 {
		return "0.0.0.0/0"
	}
	return "::/0"
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
