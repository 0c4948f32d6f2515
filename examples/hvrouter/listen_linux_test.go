package main

import (
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// dials are two routers that dial addresses of ours, in the BIRD of newHost.
const dials = `
template bgp dials { connect delay time 1; connect retry time 1; error wait time 1, 2; ipv4 { import all; export all; }; }
protocol bgp two from dials { local 198.51.100.124 as 65009; neighbor 198.51.100.102 as 65000; }
protocol bgp three from dials { local 198.51.100.125 as 65009; neighbor 198.51.100.103 as 65000; }
`

// newListener is a host that has more addresses than its configuration, and whose BIRD dials them.
func newListener(t *testing.T) *host {
	h := newHost(t)
	for _, a := range []string{"198.51.100.102", "198.51.100.103"} {
		h.hv.IP("addr add " + a + "/25 dev a.public")
	}
	for _, a := range []string{"198.51.100.124", "198.51.100.125"} {
		h.rr.IP("addr add " + a + "/25 dev fa")
	}
	h.rr.Sysctl("net/ipv4/ip_default_ttl", "255")
	h.up()
	h.write("bird.conf", birdConfig+dials)
	if out := h.bird("configure"); !strings.Contains(out, "Reconfigur") {
		t.Fatal(out)
	}
	return h
}

const (
	passiveTwo   = "\n      - {name: two, interface: a.public, local: 198.51.100.102, address: 198.51.100.124, as: 65009, connect: passive, bfd: \"off\", import: [{action: accept}], export: [{action: reject}]}"
	passiveThree = "\n      - {name: three, interface: a.public, local: 198.51.100.103, address: 198.51.100.125, as: 65009, connect: passive, bfd: \"off\", import: [{action: accept}], export: [{action: reject}]}"
)

// neighbors is the host's configuration with passive neighbours.
func neighbors(list ...string) string {
	return strings.Replace(hvConfig, "    reflectors:", "    neighbors:"+strings.Join(list, "")+"\n    reflectors:", 1)
}

// listens returns which addresses of the host answer at BGP's port.
func (h *host) listens() (list []string) {
	for _, a := range []string{"198.51.100.101", "198.51.100.102", "198.51.100.103"} {
		h.rr.Do(func() error {
			nc, err := net.DialTimeout("tcp", a+":179", time.Second)
			if err == nil {
				nc.Close()
				list = append(list, a)
			}
			return nil
		})
	}
	return list
}

// established returns the names of neighbours whose sessions are up.
func (h *host) established() (list []string) {
	var all []api.Session
	_ = h.ask("/v1/sessions", &all)
	for _, s := range all {
		if s.Name != s.Peer.String() && s.State == "Established" {
			list = append(list, s.Name)
		}
	}
	return list
}

// TestReloadListens: a reload that brings an address of ours brings its listener, so that a neighbour
// that is to dial comes up; the listeners of the others stay, and one that has gone is closed.
func TestReloadListens(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newListener(t)
	h.wait("one listener", func() bool { return slices.Equal(h.listens(), []string{"198.51.100.101"}) })
	h.write("hv.yaml", neighbors(passiveTwo))
	h.cli("reload")
	nstest.Wait(t, 20*time.Second, "the neighbour that dials", func() bool { return slices.Equal(h.established(), []string{"two"}) })
	if got := h.listens(); !slices.Equal(got, []string{"198.51.100.101", "198.51.100.102"}) {
		t.Errorf("listens at %v", got)
	}
	h.write("hv.yaml", neighbors(passiveThree))
	h.cli("reload", "-force")
	nstest.Wait(t, 20*time.Second, "the other neighbour that dials", func() bool { return slices.Equal(h.established(), []string{"three"}) })
	h.wait("two listeners", func() bool { return slices.Equal(h.listens(), []string{"198.51.100.101", "198.51.100.103"}) })
	var all []api.Session
	if err := h.ask("/v1/sessions", &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Ups != 1 {
			t.Errorf("the session with %v came up %d times", s.Peer, s.Ups)
		}
	}
}

// TestPortTaken: a daemon whose port another program has runs, and says so in its health, in the last error of
// the neighbour that is to dial us, and in its metrics, until the port is free.
func TestPortTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newListener(t)
	h.kill(syscall.SIGTERM)
	var taken net.Listener
	h.hv.Do(func() (err error) { taken, err = net.Listen("tcp", "198.51.100.102:179"); return err })
	t.Cleanup(func() { taken.Close() })
	h.write("hv.yaml", neighbors(passiveTwo))
	h.run()
	listen := func() (text string) {
		var health api.Health
		if err := h.ask("/v1/health", &health); err != nil {
			return err.Error()
		}
		for _, r := range health.Reasons {
			if r.Kind == "listen" {
				text += r.Level + ": " + r.Text
			}
		}
		return text
	}
	const told = "cannot listen at 198.51.100.102:179: bind: address already in use"
	h.wait("the reason in the health", func() bool {
		text := listen()
		return strings.HasPrefix(text, "degraded: "+told) && strings.Contains(text, "198.51.100.124 cannot connect to us")
	})
	if out := h.cli("show", "sessions"); strings.Count(out, told) != 1 {
		t.Errorf("show sessions: want %q once in\n%s", told, out)
	}
	metric := func() string {
		for line := range strings.Lines(h.cli("metrics")) {
			if strings.HasPrefix(line, "hvrouter_bgp_session_no_listener{") && strings.Contains(line, `peer="198.51.100.124"`) {
				return line[strings.LastIndex(line, " ")+1:]
			}
		}
		return ""
	}
	if got := metric(); got != "1\n" {
		t.Errorf("the metric is %q", got)
	}
	taken.Close()
	nstest.Wait(t, 30*time.Second, "the neighbour that dials", func() bool { return slices.Equal(h.established(), []string{"two"}) })
	if out := listen() + h.cli("show", "sessions"); strings.Contains(out, "cannot listen") {
		t.Errorf("the port is free:\n%s", out)
	}
	if got := metric(); got != "0\n" {
		t.Errorf("the metric is %q", got)
	}
}
