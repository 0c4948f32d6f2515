package api

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// What the daemon measures. Where a label netns is empty, the daemon's own namespace is
// meant.
var (
	bgpUp         = describe("bgp_session_up", "Whether the BGP session is Established.", "domain", "peer", "local", "interface", "netns")
	bgpUps        = describe("bgp_session_established_total", "How often the BGP session came up.", "domain", "peer", "local", "interface", "netns")
	bgpWaits      = describe("bgp_session_waits_for_bfd", "Whether the BGP session waits for BFD (bfd.strict).", "domain", "peer", "local", "interface", "netns")
	bgpNoListener = describe("bgp_session_no_listener", "Whether the peer of the BGP session cannot connect to us, since its address here cannot be listened at.", "domain", "peer", "local", "interface", "netns")
	bgpRoutes     = describe("bgp_routes_received", "Routes that the peer announces.", "domain", "peer", "local", "interface", "netns", "family")
	bgpStale      = describe("bgp_routes_stale", "Routes kept of a peer that restarts.", "domain", "peer", "local", "interface", "netns", "family")
	bgpRefused    = describe("bgp_routes_refused_total", "Routes of the peer that the import policy refused.", "domain", "peer", "local", "interface", "netns", "family")
	bgpCounted    = describe("bgp_prefixes_counted", "What the prefix limit counts: announced in this session, before import policy.", "domain", "peer", "local", "interface", "netns", "family")
	bgpMaximum    = describe("bgp_prefix_limit", "The most of that which the peer may announce, 0 without a limit.", "domain", "peer", "local", "interface", "netns", "family")
	bgpExceeded   = describe("bgp_prefix_limit_exceeded", "Whether the peer has announced more than that.", "domain", "peer", "local", "interface", "netns", "family")
	bfdUp         = describe("bfd_session_up", "Whether the BFD session is Up.", "peer", "local", "interface", "netns")
	bfdDowns      = describe("bfd_downs_total", "How often the BFD session left Up.", "peer", "local", "interface", "netns")
	bfdUnsent     = describe("bfd_packets_unsent_total", "Packets of the BFD session that found no room in the send buffer, since the start of the BFD process.", "peer", "local", "interface", "netns")
	kernelWrites  = describe("kernel_writes_total", "Routes, rules and next hops written to the kernel.")
	notOnLink     = describe("next_hops_not_on_link_total", "Paths that were not installed, since their next hop is on none of our links.")
	notAnnounced  = describe("prefixes_not_announced", "Prefixes of ours that are not announced, since the kernel does not have the route.", "domain")
	withdrawn     = describe("prefixes_withdrawn_total", "How often a prefix was withdrawn, since the kernel had lost the route.", "domain")
	repairs       = describe("repairs_total", "What other programs had changed of ours in the kernel, and was repaired, by kind of object.", "kind")
	differences   = describe("differences_total", "What differed in the kernel from what it had notified, found by reading it again, by kind of object.", "kind")
	auditRounds   = describe("audit_rounds_total", "How often all of the kernel that is ours was read again.")
	auditSeconds  = describe("audit_seconds_total", "How long reading the kernel again has taken.")
	contended     = describe("repairs_contended_total", "How often another program undid each repair of an object, so that repairs are delayed, by kind of object.", "kind")
	health        = describe("health", "How the hypervisor is: 0 healthy, 1 degraded, 2 broken; `hvrouter show health` says why.")
	foreign       = describe("foreign_objects", "Rules, routes, base chains, and entries in the place of ours on overlays, of other programs that change what guests' packets do, by kind.", "kind")
	reloads       = describe("reloads_total", "Reloads since the start, by result: done, or refused, in which case nothing was changed.", "result")
	rolledBack    = describe("reload_rollbacks_total", "Reloads that were not confirmed in time, or were cancelled: the configuration before them counts again.")
	reloaded      = describe("reload_last_timestamp_seconds", "When the configuration that counts was taken last, by a reload or a rollback; 0 since the start.")
	confirmBy     = describe("reload_confirm_deadline_timestamp_seconds", "When the last reload is rolled back unless it is confirmed; 0 if none waits.")
	converged     = describe("converged", "Whether every domain has its routes, and what an earlier run left is swept.")
	present       = describe("namespace_present", "Whether the name of the namespace still leads to it.", "netns")
	guestsPresent = describe("guests_present", "Guests whose interface is there.")
	refused       = describe("guest_messages_refused_total", "Messages of a guest that were not answered, since it is served, by protocol (arp, nd, dhcp) and reason.", "guest", "interface", "protocol", "reason")
	silenced      = describe("guest_silenced_total", "How often a guest was not heard for a while, since it had said too much, by protocol (arp, nd, dhcp).", "guest", "interface", "protocol")
	malformed     = describe("malformed_packets_total", "Packets of guests that were malformed and passed the kernel's filter, by protocol (arp, nd).", "protocol")
	dhcpDropped   = describe("dhcp_answers_dropped_total", "Answers of DHCP servers, or of who pretends to be one, that were dropped, by reason: unasked, stranger or astray.", "reason")
	evpnRoutes    = describe("evpn_routes", "Routes of EVPN with a route target that the overlay exports or imports, by state: ours are announced or withheld, those of others imported, or unused as they cannot be.", "overlay", "state")
	evpnMoves     = describe("evpn_moves_total", "MACs of guests that are here, by what happened: claimed from another VTEP, superseded by one, returned by it.", "overlay", "what")
	evpnDuplicate = describe("evpn_duplicate_macs", "Guests that have been here for 30 s while another VTEP has their MAC.", "overlay")
	evpnFrozen    = describe("evpn_frozen_macs", "MACs of guests that have moved too often, so that their sequence number is raised no more.", "overlay")
	dropped       = describe("firewall_dropped_packets_total", "Packets of guests that the firewall dropped, by reason.", "kind", "netns")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("hvrouter_"+name, help, labels, nil)
}

// collector asks the daemon whenever it is asked itself. It keeps no state.
type collector struct{ b Backend }

// metrics is the page for Prometheus: the daemon's own figures, and those of its process
// and of Go.
func metrics(b Backend) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{b}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Describe implements [prometheus.Collector].
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{bgpUp, bgpUps, bgpWaits, bgpNoListener, bgpRoutes, bgpStale, bgpRefused, bgpCounted, bgpMaximum, bgpExceeded, bfdUp, bfdDowns, bfdUnsent, kernelWrites, notOnLink,
		notAnnounced, withdrawn, repairs, differences, auditRounds, auditSeconds, contended, reloads, rolledBack, reloaded, confirmBy, converged, health, foreign, present, guestsPresent, refused, silenced, malformed, dhcpDropped, evpnRoutes, evpnMoves, evpnDuplicate, evpnFrozen, dropped} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	m, st := samples(ch), c.b.Status()
	m.sessions(c.b.Sessions())
	bfds, _ := c.b.BFD()
	m.bfd(bfds)
	m.gauge(health, float64(HealthOf(c.b).Number()))
	m.kernel(st)
	m.reloads(st)
	m.evpn(st.EVPN)
	m.guests(c.b.Guests())
	m.counters(malformed, st.Malformed)
	m.counters(dhcpDropped, st.DHCPDropped)
	for _, d := range c.b.Drops() {
		m.counter(dropped, d.Packets, d.Kind, d.NetNS)
	}
}

// samples is where values go.
type samples chan<- prometheus.Metric

func (m samples) gauge(d *prometheus.Desc, v float64, labels ...string) {
	m <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (m samples) counter(d *prometheus.Desc, v uint64, labels ...string) {
	m <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// counters takes a counter by its only label.
func (m samples) counters(d *prometheus.Desc, all map[string]uint64) {
	for label, v := range all {
		m.counter(d, v, label)
	}
}

func (m samples) sessions(list []Session) {
	for _, s := range list {
		of := []string{s.Domain, s.Peer.String(), s.Local.String(), s.Interface, s.NetNS}
		m.gauge(bgpUp, truth(s.State == "Established"), of...)
		m.counter(bgpUps, uint64(s.Ups), of...)
		m.gauge(bgpWaits, truth(!s.BFDWait.IsZero()), of...)
		m.gauge(bgpNoListener, truth(s.ListenError != ""), of...)
		for _, f := range s.Families {
			of := append(of[:len(of):len(of)], f.Family)
			m.gauge(bgpRoutes, float64(f.Received), of...)
			m.gauge(bgpStale, float64(f.Stale), of...)
			m.counter(bgpRefused, f.Refused, of...)
			m.gauge(bgpCounted, float64(f.Counted), of...)
			m.gauge(bgpMaximum, float64(f.Maximum), of...)
			m.gauge(bgpExceeded, truth(f.Limit == "exceeded"), of...)
		}
	}
}

func (m samples) bfd(list []BFD) {
	for _, s := range list {
		of := []string{s.Peer.String(), s.Local.String(), s.Interface, s.NetNS}
		m.gauge(bfdUp, truth(s.State == "Up"), of...)
		m.counter(bfdDowns, s.Downs, of...)
		m.counter(bfdUnsent, s.Unsent, of...)
	}
}

func (m samples) evpn(list []EVPNStatus) {
	for _, o := range list {
		for state, n := range map[string]int{"announced": o.Announced, "withheld": o.Withheld, "imported": o.Imported, "unused": o.Unused} {
			m.gauge(evpnRoutes, float64(n), o.Overlay, state)
		}
		for what, n := range o.Moves {
			m.counter(evpnMoves, n, o.Overlay, what)
		}
		m.gauge(evpnDuplicate, float64(len(o.Duplicates)), o.Overlay)
		m.gauge(evpnFrozen, float64(len(o.Frozen)), o.Overlay)
	}
}

// kernel takes what is written to the kernel, and what is found there.
func (m samples) kernel(st Status) {
	m.counter(kernelWrites, st.Writes)
	m.counter(notOnLink, st.NotOnLink)
	m.gauge(converged, truth(st.Converged))
	kinds := map[string]int{"rule": 0, "route": 0, "chain": 0, "forwarding": 0, "neighbour": 0}
	for _, f := range st.Foreign {
		if !f.Unsure {
			kinds[f.Kind]++
		}
	}
	for kind, n := range kinds {
		m.gauge(foreign, float64(n), kind)
	}
	for domain, n := range st.NotAnnounced {
		m.gauge(notAnnounced, float64(n), domain)
	}
	m.counters(withdrawn, st.Withdrawn)
	m.counters(repairs, st.Repairs)
	m.counters(differences, st.Differences)
	m.counters(contended, st.Contended)
	m.counter(auditRounds, st.AuditRounds)
	m <- prometheus.MustNewConstMetric(auditSeconds, prometheus.CounterValue, st.AuditTime)
	for name, state := range st.Namespaces {
		m.gauge(present, truth(state == "fine"), name)
	}
}

func (m samples) reloads(st Status) {
	m.counter(reloads, st.Reloads.Done, "done")
	m.counter(reloads, st.Reloads.Refused, "refused")
	m.counter(rolledBack, st.Reloads.RolledBack)
	m.gauge(reloaded, seconds(st.Reloaded))
	deadline := time.Time{}
	if st.Confirmation != nil {
		deadline = st.Confirmation.Deadline
	}
	m.gauge(confirmBy, seconds(deadline))
}

func (m samples) guests(list []Guest) {
	n := 0
	for _, g := range list {
		if g.Here() {
			n++
		}
		for _, a := range g.Abuse {
			for reason, n := range a.Refused {
				m.counter(refused, n, g.Name, g.Interface, a.Protocol, reason)
			}
			m.counter(silenced, a.Silenced, g.Name, g.Interface, a.Protocol)
		}
	}
	m.gauge(guestsPresent, float64(n))
}

// seconds is a time as Prometheus has it, 0 for the zero time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
