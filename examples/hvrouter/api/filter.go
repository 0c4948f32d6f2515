package api

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// only refuses query parameters that a resource does not have: a filter is never ignored.
func only(r *http.Request, names ...string) error {
	for name := range r.URL.Query() {
		if !slices.Contains(names, name) {
			return bad(fmt.Errorf("there is no parameter %q here, but %s", name, strings.Join(append(names, "no other"), ", ")))
		}
	}
	return nil
}

// filter is a query parameter that leaves some of a list.
type filter[T any] struct {
	name string
	// of returns what an element is asked by; any of it may be meant.
	of func(T) []string
	// form returns the form that a value has in the list; nil: as it is given.
	form func(string) string
	// known reports whether there is what is asked for although nothing in the list is its; nil: never.
	known func(string) bool
}

func by[T any](name string, of func(T) []string) filter[T] { return filter[T]{name: name, of: of} }

// filtered leaves what all filters that were given leave. One that nothing in the list answers to is
// an error: it is a mistake, or what is asked for is not there.
func filtered[T any](r *http.Request, list []T, filters ...filter[T]) (any, error) {
	var names []string
	for _, f := range filters {
		names = append(names, f.name)
	}
	if err := only(r, names...); err != nil {
		return nil, err
	}
	out := slices.Clone(list)
	for _, f := range filters {
		want := r.URL.Query().Get(f.name)
		if !r.URL.Query().Has(f.name) {
			continue
		}
		if f.form != nil {
			want = f.form(want)
		}
		if !slices.ContainsFunc(list, func(v T) bool { return slices.Contains(f.of(v), want) }) && (f.known == nil || !f.known(want)) {
			return nil, status{http.StatusNotFound, fmt.Errorf("%s %q: %w", f.name, want, ErrNotFound)}
		}
		out = slices.DeleteFunc(out, func(v T) bool { return !slices.Contains(f.of(v), want) })
	}
	if out == nil {
		out = []T{}
	}
	return out, nil
}

func sessionList(b Backend, r *http.Request) (any, error) {
	return filtered(r, b.Sessions(), by("peer", func(s Session) []string { return []string{s.Peer.String(), s.Name} }),
		by("domain", func(s Session) []string { return strings.Split(s.Domain, ",") }),
		by("interface", func(s Session) []string { return []string{s.Interface} }))
}

func bfdList(b Backend, r *http.Request) (any, error) {
	list, err := b.BFD()
	if err != nil {
		return nil, err
	}
	names := map[netip.Addr][]string{} // of the BGP sessions with a peer
	for _, s := range b.Sessions() {
		names[s.Peer] = append(names[s.Peer], s.Name)
	}
	return filtered(r, list, by("peer", func(s BFD) []string { return append(names[s.Peer], s.Peer.String()) }),
		by("interface", func(s BFD) []string { return []string{s.Interface} }))
}

func guestList(b Backend, r *http.Request) (any, error) {
	return filtered(r, b.Guests(), by("guest", func(g Guest) []string { return []string{g.Name} }),
		by("interface", func(g Guest) []string { return []string{g.Interface} }))
}

func neighbourList(b Backend, r *http.Request) (any, error) {
	list, err := b.Neighbours()
	if err != nil {
		return nil, err
	}
	return filtered(r, list, by("interface", func(n Neighbour) []string { return []string{n.Interface} }),
		by("guest", func(n Neighbour) []string { return []string{n.Guest} }))
}

// domainNamed returns an error unless there is a domain of that name; "" is none.
func domainNamed(b Backend, name string) error {
	if name == "" || slices.ContainsFunc(b.Domains(), func(d Domain) bool { return d.Name == name }) {
		return nil
	}
	return status{http.StatusNotFound, fmt.Errorf("domain %q: %w", name, ErrNotFound)}
}

func rib(b Backend, r *http.Request) (any, error) {
	name := r.URL.Query().Get("domain")
	p, err := prefixParameter(r)
	if err := errors.Join(only(r, "domain", "prefix"), err, domainNamed(b, name)); err != nil {
		return nil, err
	}
	return b.RIB(name, p), nil
}

// prefixParameter returns the parameter "prefix", the zero Prefix if there is none.
func prefixParameter(r *http.Request) (p netip.Prefix, err error) {
	text := r.URL.Query().Get("prefix")
	if text == "" {
		return p, nil
	}
	if p, err = ParsePrefix(text); err != nil {
		return p, bad(err)
	}
	return p, nil
}

func fibRoutes(b Backend, r *http.Request) (any, error) {
	p, err := prefixParameter(r)
	table, e := tableParameter(b, r)
	if err := errors.Join(only(r, "table", "prefix"), err, e); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(b.FIB(table), func(f FIBRoute) bool { return p.IsValid() && f.Prefix != p.String() }), nil
}

// tableParameter returns the number of the table that is asked for, by number or by name; 0 is all.
func tableParameter(b Backend, r *http.Request) (uint32, error) {
	text := r.URL.Query().Get("table")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	for _, d := range b.Domains() {
		if text == d.TableName || text == d.Name || err == nil && uint32(n) == d.Table {
			return d.Table, nil
		}
	}
	return 0, status{http.StatusNotFound, fmt.Errorf("table %q is no domain's: %w", text, ErrNotFound)}
}

// routes are those of a session's Adj-RIB-In or Adj-RIB-Out, or of one prefix or those that contain an address.
func routes(b Backend, r *http.Request) (any, error) {
	in, out := r.URL.Query().Get("received"), r.URL.Query().Get("advertised")
	p, err := prefixParameter(r)
	if err := errors.Join(only(r, "received", "advertised", "prefix"), err); err != nil {
		return nil, err
	}
	if (in == "") == (out == "") {
		return nil, bad(errors.New("want received=PEER or advertised=PEER"))
	}
	list, err := b.Routes(in+out, in != "")
	if err != nil {
		return nil, conflict(err)
	}
	return slices.DeleteFunc(list, func(o Route) bool { return p.IsValid() && !covers(o.Prefix, p) }), nil
}

// covers reports whether a prefix contains all of p.
func covers(prefix string, p netip.Prefix) bool {
	q, err := netip.ParsePrefix(prefix)
	return err == nil && q.Bits() <= p.Bits() && q.Contains(p.Addr())
}

// changeSession resets, disables or enables sessions.
func changeSession(b Backend, r *http.Request) (any, error) {
	c := SessionChange{Op: r.PathValue("op"), Peer: r.PathValue("peer"), Text: r.URL.Query().Get("text")}
	err := switches(r, map[string]*bool{"hard": &c.Hard})
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains([]string{"reset", "disable", "enable"}, c.Op):
		return nil, status{http.StatusNotFound, fmt.Errorf("%s: want reset, disable or enable", c.Op)}
	case len(c.Text) > maxText:
		return nil, bad(fmt.Errorf("text: %d octets: want at most %d", len(c.Text), maxText))
	}
	done, err := b.ChangeSession(c)
	return done, conflict(err)
}

// maxText bounds the text to a peer (RFC 9003, Section 2).
const maxText = 255

func evpnList(b Backend, r *http.Request) (any, error) {
	guest, mac, vtep := by("guest", func(e EVPN) []string { return []string{e.Guest} }), by("mac", func(e EVPN) []string { return []string{e.MAC} }),
		by("vtep", func(e EVPN) []string { return []string{e.VTEP.String()} })
	guest.known = func(name string) bool { // one that is on no overlay with EVPN
		return slices.ContainsFunc(b.Guests(), func(g Guest) bool { return g.Name == name })
	}
	mac.form = func(s string) string {
		if m, err := net.ParseMAC(s); err == nil {
			return m.String()
		}
		return s
	}
	vtep.form = func(s string) string {
		if a, err := netip.ParseAddr(s); err == nil {
			return a.String()
		}
		return s
	}
	return filtered(r, b.EVPN(), by("overlay", func(e EVPN) []string { return []string{e.Overlay} }), guest, mac, vtep)
}

// firewall are the counters of what the firewall dropped, sorted.
func firewall(b Backend, r *http.Request) (any, error) {
	list := b.Drops()
	slices.SortFunc(list, func(a, b Drop) int { return cmp.Or(strings.Compare(a.NetNS, b.NetNS), strings.Compare(a.Kind, b.Kind)) })
	return filtered(r, list, by("kind", func(d Drop) []string { return []string{d.Kind} }))
}
