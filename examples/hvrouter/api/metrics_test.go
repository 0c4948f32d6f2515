package api

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// busy is a daemon with something of everything that is measured, and of each thing two
// that differ in a single label.
type busy struct{ backend }

func (*busy) Sessions() (out []Session) {
	for _, local := range []string{"198.51.100.101", "198.51.100.102"} {
		out = append(out, Session{Domain: "public", Interface: "up.a", Local: netip.MustParseAddr(local), Peer: netip.MustParseAddr("198.51.100.126"),
			State: map[bool]string{true: "Established", false: "Idle"}[local == "198.51.100.101"], Ups: 2,
			Families: []FamilyRoutes{{Family: "ipv4", Received: 5, Stale: 1, Refused: 7, Counted: 6, Maximum: 8, Limit: "exceeded"}, {Family: "ipv6"}}})
	}
	return out
}

func (*busy) BFD() ([]BFD, error) {
	s := BFD{Interface: "up.a", Local: netip.MustParseAddr("198.51.100.101"), Peer: netip.MustParseAddr("198.51.100.126"), State: "Up", Downs: 3, Unsent: 4}
	down := s
	down.NetNS, down.State = "red", "Down"
	return []BFD{s, down}, nil
}

func (*busy) Guests() []Guest {
	vm1 := Guest{Guest: config.Guest{Name: "vm1", Interface: "tap1"}, Present: true, Abuse: []Abuse{{"arp", map[string]uint64{"spoofed": 6, "limited": 0}, 2}, {"dhcp", map[string]uint64{"limited": 9}, 0}}}
	vm2 := Guest{Guest: config.Guest{Name: "vm2", Interface: "tap2"}, Present: true, Abuse: []Abuse{{"arp", map[string]uint64{"spoofed": 7}, 0}}}
	return []Guest{vm1, {}, vm2}
}

func (*busy) Status() Status {
	return Status{Malformed: map[string]uint64{"arp": 1, "nd": 2}, DHCPDropped: map[string]uint64{"astray": 3, "unasked": 4}, Reloads: Reloads{Done: 4, Refused: 2, RolledBack: 1}, Reloaded: time.Unix(1000, 5e8), Confirmation: &Confirmation{Deadline: time.Unix(2000, 0)}, Foreign: []Foreign{{Kind: "rule"}, {Kind: "forwarding"}, {Kind: "chain", Unsure: true}}, Converged: true, EVPN: []EVPNStatus{{Overlay: "vx100", Announced: 3, Withheld: 2, Imported: 5, Unused: 1, Moves: map[string]uint64{"claimed": 4}, Duplicates: []string{"vm1"}, Frozen: []string{"vm2", "vm3"}}}, Writes: 11, NotOnLink: 1, NotAnnounced: map[string]int{"public": 2}, Withdrawn: map[string]uint64{"public": 3}, Repairs: map[string]uint64{"route": 7, "firewall": 2}, Contended: map[string]uint64{"sysctl": 1}, Namespaces: map[string]string{"red": "fine", "blue": "gone"}}
}

func (*busy) Drops() []Drop {
	return []Drop{{Kind: "spoofed", Packets: 4}, {NetNS: "red", Kind: "spoofed", Packets: 5}}
}

const measured = `# HELP hvrouter_bfd_downs_total How often the BFD session left Up.
# TYPE hvrouter_bfd_downs_total counter
hvrouter_bfd_downs_total{interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 3
hvrouter_bfd_downs_total{interface="up.a",local="198.51.100.101",netns="red",peer="198.51.100.126"} 3
# HELP hvrouter_bfd_packets_unsent_total Packets of the BFD session that found no room in the send buffer, since the start of the BFD process.
# TYPE hvrouter_bfd_packets_unsent_total counter
hvrouter_bfd_packets_unsent_total{interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 4
hvrouter_bfd_packets_unsent_total{interface="up.a",local="198.51.100.101",netns="red",peer="198.51.100.126"} 4
# HELP hvrouter_bfd_session_up Whether the BFD session is Up.
# TYPE hvrouter_bfd_session_up gauge
hvrouter_bfd_session_up{interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 1
hvrouter_bfd_session_up{interface="up.a",local="198.51.100.101",netns="red",peer="198.51.100.126"} 0
# HELP hvrouter_bgp_prefix_limit The most of that which the peer may announce, 0 without a limit.
# TYPE hvrouter_bgp_prefix_limit gauge
hvrouter_bgp_prefix_limit{domain="public",family="ipv4",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 8
hvrouter_bgp_prefix_limit{domain="public",family="ipv4",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 8
hvrouter_bgp_prefix_limit{domain="public",family="ipv6",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 0
hvrouter_bgp_prefix_limit{domain="public",family="ipv6",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 0
# HELP hvrouter_bgp_prefix_limit_exceeded Whether the peer has announced more than that.
# TYPE hvrouter_bgp_prefix_limit_exceeded gauge
hvrouter_bgp_prefix_limit_exceeded{domain="public",family="ipv4",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 1
hvrouter_bgp_prefix_limit_exceeded{domain="public",family="ipv4",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 1
hvrouter_bgp_prefix_limit_exceeded{domain="public",family="ipv6",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 0
hvrouter_bgp_prefix_limit_exceeded{domain="public",family="ipv6",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 0
# HELP hvrouter_bgp_prefixes_counted What the prefix limit counts: announced in this session, before import policy.
# TYPE hvrouter_bgp_prefixes_counted gauge
hvrouter_bgp_prefixes_counted{domain="public",family="ipv4",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 6
hvrouter_bgp_prefixes_counted{domain="public",family="ipv4",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 6
hvrouter_bgp_prefixes_counted{domain="public",family="ipv6",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 0
hvrouter_bgp_prefixes_counted{domain="public",family="ipv6",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 0
# HELP hvrouter_bgp_routes_refused_total Routes of the peer that the import policy refused.
# TYPE hvrouter_bgp_routes_refused_total counter
hvrouter_bgp_routes_refused_total{domain="public",family="ipv4",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 7
hvrouter_bgp_routes_refused_total{domain="public",family="ipv4",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 7
hvrouter_bgp_routes_refused_total{domain="public",family="ipv6",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 0
hvrouter_bgp_routes_refused_total{domain="public",family="ipv6",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 0
# HELP hvrouter_bgp_session_up Whether the BGP session is Established.
# TYPE hvrouter_bgp_session_up gauge
hvrouter_bgp_session_up{domain="public",interface="up.a",local="198.51.100.101",netns="",peer="198.51.100.126"} 1
hvrouter_bgp_session_up{domain="public",interface="up.a",local="198.51.100.102",netns="",peer="198.51.100.126"} 0
# HELP hvrouter_converged Whether every domain has its routes, and what an earlier run left is swept.
# TYPE hvrouter_converged gauge
hvrouter_converged 1
# HELP hvrouter_foreign_objects Rules, routes, base chains, and entries in the place of ours on overlays, of other programs that change what guests' packets do, by kind.
# TYPE hvrouter_foreign_objects gauge
hvrouter_foreign_objects{kind="chain"} 0
hvrouter_foreign_objects{kind="forwarding"} 1
hvrouter_foreign_objects{kind="neighbour"} 0
hvrouter_foreign_objects{kind="route"} 0
hvrouter_foreign_objects{kind="rule"} 1
# HELP hvrouter_dhcp_answers_dropped_total Answers of DHCP servers, or of who pretends to be one, that were dropped, by reason: unasked, stranger or astray.
# TYPE hvrouter_dhcp_answers_dropped_total counter
hvrouter_dhcp_answers_dropped_total{reason="astray"} 3
hvrouter_dhcp_answers_dropped_total{reason="unasked"} 4
# HELP hvrouter_guest_messages_refused_total Messages of a guest that were not answered, since it is served, by protocol (arp, nd, dhcp) and reason.
# TYPE hvrouter_guest_messages_refused_total counter
hvrouter_guest_messages_refused_total{guest="vm1",interface="tap1",protocol="arp",reason="limited"} 0
hvrouter_guest_messages_refused_total{guest="vm1",interface="tap1",protocol="arp",reason="spoofed"} 6
hvrouter_guest_messages_refused_total{guest="vm1",interface="tap1",protocol="dhcp",reason="limited"} 9
hvrouter_guest_messages_refused_total{guest="vm2",interface="tap2",protocol="arp",reason="spoofed"} 7
# HELP hvrouter_guest_silenced_total How often a guest was not heard for a while, since it had said too much, by protocol (arp, nd, dhcp).
# TYPE hvrouter_guest_silenced_total counter
hvrouter_guest_silenced_total{guest="vm1",interface="tap1",protocol="arp"} 2
hvrouter_guest_silenced_total{guest="vm1",interface="tap1",protocol="dhcp"} 0
hvrouter_guest_silenced_total{guest="vm2",interface="tap2",protocol="arp"} 0
# HELP hvrouter_malformed_packets_total Packets of guests that were malformed and passed the kernel's filter, by protocol (arp, nd).
# TYPE hvrouter_malformed_packets_total counter
hvrouter_malformed_packets_total{protocol="arp"} 1
hvrouter_malformed_packets_total{protocol="nd"} 2
# HELP hvrouter_health How the hypervisor is: 0 healthy, 1 degraded, 2 broken; ` + "`hvrouter show health`" + ` says why.
# TYPE hvrouter_health gauge
hvrouter_health 2
# HELP hvrouter_guests_present Guests whose interface is there.
# TYPE hvrouter_guests_present gauge
hvrouter_guests_present 2
# HELP hvrouter_kernel_writes_total Routes, rules and next hops written to the kernel.
# TYPE hvrouter_kernel_writes_total counter
hvrouter_kernel_writes_total 11
# HELP hvrouter_namespace_present Whether the name of the namespace still leads to it.
# TYPE hvrouter_namespace_present gauge
hvrouter_namespace_present{netns="blue"} 0
hvrouter_namespace_present{netns="red"} 1
# HELP hvrouter_prefixes_not_announced Prefixes of ours that are not announced, since the kernel does not have the route.
# TYPE hvrouter_prefixes_not_announced gauge
hvrouter_prefixes_not_announced{domain="public"} 2
# HELP hvrouter_prefixes_withdrawn_total How often a prefix was withdrawn, since the kernel had lost the route.
# TYPE hvrouter_prefixes_withdrawn_total counter
hvrouter_prefixes_withdrawn_total{domain="public"} 3
# HELP hvrouter_reload_confirm_deadline_timestamp_seconds When the last reload is rolled back unless it is confirmed; 0 if none waits.
# TYPE hvrouter_reload_confirm_deadline_timestamp_seconds gauge
hvrouter_reload_confirm_deadline_timestamp_seconds 2000
# HELP hvrouter_reload_last_timestamp_seconds When the configuration that counts was taken last, by a reload or a rollback; 0 since the start.
# TYPE hvrouter_reload_last_timestamp_seconds gauge
hvrouter_reload_last_timestamp_seconds 1000.5
# HELP hvrouter_reload_rollbacks_total Reloads that were not confirmed in time, or were cancelled: the configuration before them counts again.
# TYPE hvrouter_reload_rollbacks_total counter
hvrouter_reload_rollbacks_total 1
# HELP hvrouter_reloads_total Reloads since the start, by result: done, or refused, in which case nothing was changed.
# TYPE hvrouter_reloads_total counter
hvrouter_reloads_total{result="done"} 4
hvrouter_reloads_total{result="refused"} 2
# HELP hvrouter_repairs_contended_total How often another program undid each repair of an object, so that repairs are delayed, by kind of object.
# TYPE hvrouter_repairs_contended_total counter
hvrouter_repairs_contended_total{kind="sysctl"} 1
# HELP hvrouter_repairs_total What other programs had changed of ours in the kernel, and was repaired, by kind of object.
# TYPE hvrouter_repairs_total counter
hvrouter_repairs_total{kind="firewall"} 2
hvrouter_repairs_total{kind="route"} 7
# HELP hvrouter_evpn_duplicate_macs Guests that have been here for 30 s while another VTEP has their MAC.
# TYPE hvrouter_evpn_duplicate_macs gauge
hvrouter_evpn_duplicate_macs{overlay="vx100"} 1
# HELP hvrouter_evpn_frozen_macs MACs of guests that have moved too often, so that their sequence number is raised no more.
# TYPE hvrouter_evpn_frozen_macs gauge
hvrouter_evpn_frozen_macs{overlay="vx100"} 2
# HELP hvrouter_evpn_moves_total MACs of guests that are here, by what happened: claimed from another VTEP, superseded by one, returned by it.
# TYPE hvrouter_evpn_moves_total counter
hvrouter_evpn_moves_total{overlay="vx100",what="claimed"} 4
# HELP hvrouter_evpn_routes Routes of EVPN with a route target that the overlay exports or imports, by state: ours are announced or withheld, those of others imported, or unused as they cannot be.
# TYPE hvrouter_evpn_routes gauge
hvrouter_evpn_routes{overlay="vx100",state="announced"} 3
hvrouter_evpn_routes{overlay="vx100",state="imported"} 5
hvrouter_evpn_routes{overlay="vx100",state="unused"} 1
hvrouter_evpn_routes{overlay="vx100",state="withheld"} 2
# HELP hvrouter_firewall_dropped_packets_total Packets of guests that the firewall dropped, by reason.
# TYPE hvrouter_firewall_dropped_packets_total counter
hvrouter_firewall_dropped_packets_total{kind="spoofed",netns=""} 4
hvrouter_firewall_dropped_packets_total{kind="spoofed",netns="red"} 5
`

func TestMetrics(t *testing.T) {
	err := testutil.CollectAndCompare(collector{&busy{}}, strings.NewReader(measured), "hvrouter_bfd_downs_total", "hvrouter_bfd_packets_unsent_total", "hvrouter_bfd_session_up",
		"hvrouter_dhcp_answers_dropped_total", "hvrouter_guest_messages_refused_total", "hvrouter_guest_silenced_total", "hvrouter_malformed_packets_total",
		"hvrouter_bgp_prefix_limit", "hvrouter_bgp_prefix_limit_exceeded", "hvrouter_bgp_prefixes_counted",
		"hvrouter_bgp_routes_refused_total", "hvrouter_bgp_session_up", "hvrouter_converged", "hvrouter_health", "hvrouter_foreign_objects", "hvrouter_guests_present", "hvrouter_kernel_writes_total",
		"hvrouter_namespace_present", "hvrouter_prefixes_not_announced", "hvrouter_prefixes_withdrawn_total", "hvrouter_repairs_total", "hvrouter_repairs_contended_total",
		"hvrouter_reloads_total", "hvrouter_reload_rollbacks_total", "hvrouter_reload_last_timestamp_seconds", "hvrouter_reload_confirm_deadline_timestamp_seconds", "hvrouter_firewall_dropped_packets_total")
	if err != nil {
		t.Error(err)
	}
	// The others are there as well.
	if n := testutil.CollectAndCount(collector{&busy{}}); n != 82 {
		t.Errorf("%d metrics, want 82", n)
	}
}

// page is what Prometheus would read.
func page(t *testing.T, b Backend) []byte {
	w := httptest.NewRecorder()
	Handler(b).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	return w.Body.Bytes()
}

// Over TCP there are the metrics, the same as on the socket, and nothing else.
func TestServeMetrics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeMetrics(ctx, l, &busy{}) }()
	get := func(method, path string) (int, string) {
		r, err := http.NewRequestWithContext(ctx, method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	code, scraped := get("GET", "/metrics")
	if code != 200 {
		t.Fatalf("%d: %s", code, scraped)
	}
	for line := range strings.Lines(measured) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(scraped, line) {
			t.Errorf("not in what is scraped: %s", line)
		}
	}
	for path, method := range map[string]string{"/v1/status": "GET", "/v1/reload": "POST", "/debug/pprof/": "GET", "/": "GET"} {
		if code, _ := get(method, path); code == 200 {
			t.Errorf("%s %s is answered over TCP", method, path)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Names, units and help are as Prometheus wants them.
func TestMetricsLint(t *testing.T) {
	for _, b := range []Backend{&busy{}, &backend{}} {
		b := page(t, b)
		problems, err := promlint.New(bytes.NewReader(b)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	}
}

// The same by Prometheus' own program.
func TestMetricsPromtool(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a program that .ci/peers installs")
	}
	cmd := exec.Command(nstest.Need(t, "promtool"), "check", "metrics")
	cmd.Stdin = bytes.NewReader(page(t, &busy{}))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
