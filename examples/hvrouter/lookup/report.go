package lookup

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Want is what a daemon wants of the kernel, as far as it is about one packet.
type Want struct {
	Rules []Rule // of the packet's family, in order
	// Routes are those that it wants in any table whose prefix the destination is in.
	Routes []Route
	// Neighbours are permanent entries.
	Neighbours []Neighbour
	// Sysctls are values by their paths below /proc/sys.
	Sysctls map[string]string
	// Known is what the daemon itself knows that the kernel lacks, in words.
	Known []string
}

// Report says what becomes of a packet.
type Report struct {
	NetNS string `json:"netns,omitempty"`
	// Packet is the question, as `ip route get` takes it.
	Packet string `json:"packet"`
	// Differences are contradictions: the kernel differs from what is wanted, or from itself.
	Differences []string `json:"differences,omitempty"`
	// Unread is what could not be read of the kernel, with the reason: what the report says is without
	// it. Empty: everything has been read.
	Unread []string `json:"unread,omitempty"`
	// Foreign are the rules and routes of other programs that the packet meets.
	Foreign []string `json:"foreign,omitempty"`
	// Outcome is what becomes of the packet: forwarded, delivered or dropped, and by what.
	Outcome string `json:"outcome"`
	// Dropped reports whether it is dropped for certain.
	Dropped bool `json:"dropped"`
	// Steps are the rules that match it, in order.
	Steps []StepReport `json:"rules"`
	// Asked is the kernel's own answer (RTM_GETROUTE).
	Asked    string          `json:"kernel-says"`
	NextHops []NextHopReport `json:"next-hops,omitempty"`
	// Answers says who answers ARP or neighbour discovery for the address on the packet's link.
	Answers string `json:"answers,omitempty"`
	// Firewall are the hooks that the packet passes, in order.
	Firewall []string `json:"firewall,omitempty"`
}

// StepReport is a rule that matches the packet.
type StepReport struct {
	Rule     string `json:"rule"`
	Protocol string `json:"protocol"`
	Result   string `json:"result"`
}

// NextHopReport is a next hop that the packet may take.
type NextHopReport struct {
	Hop    string `json:"hop"`
	Object uint32 `json:"object,omitempty"` // its next-hop object
	Group  uint32 `json:"group,omitempty"`
	State  string `json:"neighbour"` // of its neighbour; "no entry"
	MAC    string `json:"mac,omitempty"`
	Usable bool   `json:"usable"`
}

// Firewall evaluates the rules of a packet filter.
type Firewall interface {
	// Arrive evaluates what comes before routing, and sets the packet's mark.
	Arrive(p *Packet) Verdict
	// Leave evaluates what comes after it: input if the packet is local, forward, or output of
	// a packet of our own.
	Leave(p Packet, local bool, out Link) Verdict
}

// Verdict is what a packet filter does.
type Verdict struct {
	Drop  bool
	Lines []string // in words: our verdict, and whose chains may still drop the packet
	// Differences are contradictions: a table that is not there.
	Differences []string
}

// reporter makes one report.
type reporter struct {
	*Report
	k    *Kernel
	p    Packet
	want *Want
	d    Decision
}

// Explain says what becomes of a packet. want is nil if it is not known what is wanted, firewall
// if packets are not filtered.
func Explain(k *Kernel, p Packet, want *Want, firewall Firewall) (*Report, error) {
	r := &reporter{Report: &Report{}, k: k, p: p, want: want}
	if want != nil {
		r.Differences = slices.Clone(want.Known)
	}
	var arrived Verdict
	if firewall != nil && p.IIF.Index != 0 {
		arrived = firewall.Arrive(&r.p)
		r.filtered(arrived)
	}
	if m := k.Link(p.IIF.Master); p.IIF.Master != 0 && m.Table == 0 && want != nil {
		r.differs("%s belongs to %s: what arrives there goes to that interface, and is not routed as what follows says", p.IIF.Name, m.Name)
	}
	r.Packet = r.p.String()
	var err error
	if r.d, err = Walk(k, r.p); err != nil {
		return nil, fmt.Errorf("routing tables: %w", err)
	}
	r.steps()
	asked, errno, err := k.Ask(r.p)
	if err != nil {
		return nil, fmt.Errorf("RTM_GETROUTE: %w", err)
	}
	r.outcome()
	r.asked(asked, errno)
	if err := r.wanted(); err != nil {
		return nil, err
	}
	r.sysctls()
	if err := r.nextHops(); err != nil {
		return nil, err
	}
	if err := r.answers(); err != nil {
		return nil, err
	}
	if firewall != nil && r.d.Errno == 0 {
		r.leave(firewall)
	}
	if arrived.Drop {
		r.drop("dropped by the firewall before it is routed")
	}
	return r.Report, nil
}

func (r *reporter) differs(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.Differences, text) {
		r.Differences = append(r.Differences, text)
	}
}

func (r *reporter) drop(format string, args ...any) {
	if !r.Dropped {
		r.Dropped, r.Outcome = true, fmt.Sprintf(format, args...)
	}
}

func (r *reporter) filtered(v Verdict) {
	r.Firewall = append(r.Firewall, v.Lines...)
	for _, text := range v.Differences {
		r.differs("%s", text)
	}
}

// steps lists the rules that match, and names those of other programs.
func (r *reporter) steps() {
	for _, s := range r.d.Steps {
		r.Steps = append(r.Steps, StepReport{s.Rule.String(), ProtocolName(s.Rule.Protocol), s.Result})
		if Foreign(s.Rule.Protocol) && !r.wantsRule(s.Rule) {
			r.Foreign = append(r.Foreign, fmt.Sprintf("rule %v proto %s", s.Rule, ProtocolName(s.Rule.Protocol)))
		}
		for _, route := range s.Routes {
			if Foreign(route.Protocol) {
				r.Foreign = append(r.Foreign, fmt.Sprintf("route %v", route))
			}
		}
	}
}

// wantsRule reports whether the daemon wants a rule, its own or another program's.
func (r *reporter) wantsRule(rule Rule) bool {
	return r.want != nil && slices.ContainsFunc(r.want.Rules, rule.same)
}

// outcome says what the walk has found.
func (r *reporter) outcome() {
	d := r.d
	route := d.Route
	switch {
	case d.Rule == nil:
		r.drop("dropped: no rule leads to a route (%s)", ErrnoName(d.Errno))
	case route == nil:
		r.drop("dropped by rule %v (%s)", *d.Rule, ErrnoName(d.Errno))
	case d.Errno != 0 && route.LastResort():
		r.drop("dropped by hvrouter's route of last resort, %v (%s): no other route is there", *route, ErrnoName(d.Errno))
	case d.Errno != 0:
		r.drop("dropped by %v (%s)", *route, ErrnoName(d.Errno))
	case route.Type == Unicast && r.p.IIF.Index != 0:
		r.Outcome = fmt.Sprintf("forwarded by %v", *route)
	case route.Type == Unicast:
		r.Outcome = fmt.Sprintf("sent by %v", *route)
	default:
		r.Outcome = fmt.Sprintf("delivered to this host by %v", *route)
	}
	if d.Unsure != "" {
		r.Outcome += "; unless it is another: " + d.Unsure
	}
}

// asked compares what the kernel says with the walk.
func (r *reporter) asked(route Route, errno unix.Errno) {
	d := r.d
	r.Asked = route.String()
	if errno != 0 {
		r.Asked = ErrnoName(errno)
	}
	switch {
	case errno == unix.EXDEV:
		r.drop("dropped: the reverse path filter of %s finds no route back to the source over it (rp_filter; EXDEV)", r.p.IIF.Name)
	case errno != 0 && d.Errno == 0 && !r.forwards():
		r.drop("dropped: %s is 0, nothing that comes from there is forwarded", confPath(r.p.Dst.Is6(), r.p.IIF.Name, "forwarding"))
	case errno == unix.EINVAL && d.Errno == 0 && r.p.IIF.Index != 0 && !r.p.Dst.Is6():
		r.drop("dropped: the kernel takes no packet from %v on %s: it is not routed back there (reverse path filter), or is no host's (martian; EINVAL)", r.p.Src, r.p.IIF.Name)
	case errno == 0 && d.Errno == 0 && r.cached(route):
		r.Asked += " (a route by the same next-hop object, which Linux has cached for it)"
	case errno != d.Errno:
		r.differs("the kernel's lookup disagrees with its tables: RTM_GETROUTE says %s, the rules and routes say %s", r.Asked, r.found())
	case errno == 0 && d.Route != nil && (route.Table != d.Route.Table || route.Prefix != d.Route.Prefix || route.Metric != d.Route.Metric || route.Type != d.Route.Type):
		r.differs("the kernel's lookup disagrees with its tables: RTM_GETROUTE says %v, the rules and routes say %s", route, r.found())
	}
	if errno == 0 && d.Errno == 0 && !r.forwards() {
		r.drop("dropped: %s is 0, nothing that comes from there is forwarded", confPath(r.p.Dst.Is6(), r.p.IIF.Name, "forwarding"))
	}
}

// cached reports whether the kernel's answer may be another route than the one it uses: an IPv6
// next-hop object caches what a packet needs a CPU, with the route that it was made for, whichever
// of the object's routes is looked up (fib6_nh.rt6i_pcpu, rt6_info.from). Where the packet goes is
// the same.
func (r *reporter) cached(route Route) bool {
	if !r.p.Dst.Is6() || r.d.Route == nil || route.Table == r.d.Route.Table && route.Prefix == r.d.Route.Prefix && route.Metric == r.d.Route.Metric {
		return false
	}
	return slices.ContainsFunc(route.Hops, func(h Hop) bool {
		return h.Object != 0 && slices.ContainsFunc(r.d.Route.Hops, func(o Hop) bool { return o.Object == h.Object })
	})
}

// found is what the walk has found.
func (r *reporter) found() string {
	if r.d.Route != nil {
		return r.d.Route.String()
	}
	return ErrnoName(r.d.Errno)
}

// forwards reports whether the packet may be forwarded where it is to be.
func (r *reporter) forwards() bool {
	if r.p.IIF.Index == 0 || r.d.Route == nil || r.d.Route.Type != Unicast {
		return true
	}
	value, ok := r.k.conn.Sysctl(confPath(r.p.Dst.Is6(), r.p.IIF.Name, "forwarding"))
	return !ok || value != "0"
}

// wantTables are the kernel's tables as they would be without other programs, and with all that
// the daemon wants.
type wantTables struct {
	*Kernel
	want *Want
}

func (t wantTables) Rules(bool) ([]Rule, error) { return t.want.Rules, nil }

func (t wantTables) Covering(table uint32, p Packet) (list []Route, err error) {
	all, err := t.Kernel.Covering(table, p)
	for _, r := range all {
		if r.Protocol == protoKernel || r.Protocol == protoRA {
			list = append(list, r)
		}
	}
	for _, r := range t.want.Routes {
		if r.Table == table {
			list = append(list, r)
		}
	}
	return list, err
}

// wanted compares the decision with the one that the daemon wants.
func (r *reporter) wanted() error {
	if r.want == nil {
		return nil
	}
	w, err := Walk(wantTables{r.k, r.want}, r.p)
	if err != nil {
		return err
	}
	if w.Route == nil || Foreign(w.Route.Protocol) || w.Route.LastResort() {
		if len(r.Foreign) > 0 && r.changes(w) {
			r.differs("other programs decide: without them the packet would be %s", outcomeOf(w))
		}
		return nil
	}
	if r.d.Route != nil && r.d.Route.same(*w.Route) {
		return nil
	}
	r.differs("the packet should take %v, %s", *w.Route, r.instead(w))
	return nil
}

// changes reports whether other programs have a packet forwarded, dropped or delivered that
// would not be.
func (r *reporter) changes(w Decision) bool {
	if (w.Errno != 0) != (r.d.Errno != 0) {
		return true
	}
	return w.Route != nil && r.d.Route != nil && !w.Route.same(*r.d.Route)
}

func outcomeOf(d Decision) string {
	switch {
	case d.Route != nil && d.Route.LastResort():
		return fmt.Sprintf("dropped by hvrouter's route of last resort, %v", *d.Route)
	case d.Route != nil:
		return fmt.Sprintf("routed by %v", *d.Route)
	}
	return "dropped (" + ErrnoName(d.Errno) + ")"
}

// instead says why the packet does not take the route that it should.
func (r *reporter) instead(w Decision) string {
	d := r.d
	there, _ := r.k.Covering(w.Route.Table, r.p)
	missing := !slices.ContainsFunc(there, w.Route.same)
	switch {
	case d.Rule != nil && Foreign(d.Rule.Protocol) && !r.wantsRule(*d.Rule):
		return fmt.Sprintf("but a foreign rule decides: %v proto %s: %s", *d.Rule, ProtocolName(d.Rule.Protocol), d.Steps[len(d.Steps)-1].Result)
	case d.Route != nil && Foreign(d.Route.Protocol) && d.Route.Table == w.Route.Table && d.Route.Prefix == w.Route.Prefix && !missing:
		return fmt.Sprintf("but a foreign route has a better metric: %v", *d.Route)
	case d.Route != nil && Foreign(d.Route.Protocol):
		return fmt.Sprintf("but a foreign route is chosen: %v", *d.Route)
	case d.Rule != nil && d.Route != nil && d.Route.Table == w.Route.Table && d.Route.Prefix == w.Route.Prefix && d.Route.Metric == w.Route.Metric:
		return fmt.Sprintf("but the kernel's leads elsewhere: %v", *d.Route)
	case missing:
		return fmt.Sprintf("which the kernel does not have: it is %s", r.Outcome)
	}
	return fmt.Sprintf("but the rules lead elsewhere: %s", r.Outcome)
}

// sysctls compares the values that are wanted of the packet's interfaces, and of all.
func (r *reporter) sysctls() {
	if r.want == nil {
		return
	}
	names := []string{"all", "default", r.p.IIF.Name}
	if r.d.Route != nil {
		for _, h := range r.d.Route.Hops {
			names = append(names, h.Link)
		}
	}
	var paths []string
	for path := range r.want.Sysctls {
		if name, ok := linkOf(path, r.p.Dst.Is6()); ok && (name == "" || slices.Contains(names, name)) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		if have, ok := r.k.conn.Sysctl(path); ok && have != r.want.Sysctls[path] {
			r.differs("%s is %s, want %s", path, have, r.want.Sysctls[path])
		}
	}
}

// nextHops lists where the packet may go, and whether anybody is known there.
func (r *reporter) nextHops() error {
	route := r.d.Route
	if route == nil || route.Type != Unicast {
		return nil
	}
	var dead int
	for _, h := range route.Hops {
		one := NextHopReport{Hop: h.String(), Object: h.Object, Usable: usable(r.k, h, r.p.Dst.Is6())}
		if route.NextHop != h.Object {
			one.Group = route.NextHop
		}
		if object, ok := r.k.NextHop(cmp.Or(h.Object, route.NextHop)); ok && Foreign(object.Protocol) && !Foreign(route.Protocol) {
			r.differs("next-hop object %d of %v is another program's (proto %s)", object.ID, *route, ProtocolName(object.Protocol))
		}
		if err := r.neighbour(h, &one); err != nil {
			return err
		}
		if one.State == "failed" || !one.Usable {
			dead++
		}
		r.NextHops = append(r.NextHops, one)
	}
	if dead > 0 && dead == len(route.Hops) {
		r.drop("lost: nobody answers at the next hops of %v", *route)
	}
	return nil
}

// neighbour looks at the neighbour of a next hop.
func (r *reporter) neighbour(h Hop, one *NextHopReport) error {
	a := h.Gateway
	if !a.IsValid() {
		a = r.p.Dst
	}
	n, ok, err := r.k.Neighbour(a, h.IfIndex, false)
	if err != nil {
		return fmt.Errorf("neighbour %v on %s: %w", a, h.Link, err)
	}
	if one.State = "no entry"; ok {
		one.State, one.MAC = n.State, macText(n.MAC)
	}
	want, wanted := r.wantsNeighbour(a, h.IfIndex)
	switch {
	case !wanted && n.State == "failed":
		r.differs("neighbour %v on %s is failed: nobody answers there", a, h.Link)
	case !wanted:
		if ok && n.State == "permanent" && r.want != nil {
			r.differs("neighbour %v on %s is permanent at %s, and not hvrouter's", a, h.Link, one.MAC)
		}
	case !ok:
		r.differs("neighbour %v on %s is missing, want %v permanent", a, h.Link, want.MAC)
	case n.State != "permanent" || one.MAC != want.MAC.String():
		r.differs("neighbour %v on %s is %s at %s, want %v permanent", a, h.Link, n.State, cmp.Or(one.MAC, "no MAC"), want.MAC)
	}
	return nil
}

func (r *reporter) wantsNeighbour(a netip.Addr, ifindex int) (n Neighbour, ok bool) {
	if r.want == nil {
		return n, false
	}
	i := slices.IndexFunc(r.want.Neighbours, func(n Neighbour) bool { return n.Addr == a && n.IfIndex == ifindex })
	if i < 0 {
		return n, false
	}
	return r.want.Neighbours[i], true
}

func macText(m net.HardwareAddr) string { return m.String() }

// answers says who answers on the packet's link when a host there asks for the address.
func (r *reporter) answers() error {
	if r.p.IIF.Index == 0 {
		return nil
	}
	six, name := r.p.Dst.Is6(), r.p.IIF.Name
	question, key := "ARP", "proxy_arp"
	if six {
		question, key = "neighbour discovery", "proxy_ndp"
	}
	proxy, _ := r.k.conn.Sysctl(confPath(six, name, key))
	_, entry, err := r.k.Neighbour(r.p.Dst, r.p.IIF.Index, true)
	if err != nil {
		return fmt.Errorf("proxy entry of %v on %s: %w", r.p.Dst, name, err)
	}
	over := r.d.Route != nil && r.d.Route.Type == Unicast && slices.ContainsFunc(r.d.Route.Hops, func(h Hop) bool { return h.IfIndex == r.p.IIF.Index })
	switch {
	case r.d.Route != nil && r.d.Route.Type == Local:
		r.Answers = fmt.Sprintf("%s on %s: the kernel answers, it is an address of this host", question, name)
	case over:
		r.Answers = fmt.Sprintf("%s on %s: who has it answers itself, it is on that link", question, name)
	case entry:
		r.Answers = fmt.Sprintf("%s on %s: the kernel answers, by its proxy entry", question, name)
	case !six && proxy == "1" && r.d.Errno == 0:
		r.Answers = fmt.Sprintf("%s on %s: the kernel answers, since the route leads over another interface (proxy_arp)", question, name)
	case !six && proxy == "1":
		r.Answers = fmt.Sprintf("%s on %s: the kernel does not answer, since there is no route (proxy_arp)", question, name)
	default:
		r.Answers = fmt.Sprintf("%s on %s: the kernel does not answer (%s is %s); hvrouter's responder may", question, name, key, cmp.Or(proxy, "not there"))
	}
	return nil
}

// leave has the firewall evaluated behind routing.
func (r *reporter) leave(f Firewall) {
	local := r.d.Route.Type != Unicast
	hops := []Hop{{}}
	if !local {
		hops = r.d.Route.Hops
	}
	for i, h := range hops {
		v := f.Leave(r.p, local, r.k.Link(h.IfIndex))
		if i > 0 && !v.Drop {
			continue // as the one before
		}
		r.filtered(v)
		if v.Drop {
			r.drop("dropped by the firewall behind routing")
		}
	}
}
