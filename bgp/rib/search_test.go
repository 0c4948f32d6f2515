package rib

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestSearch does random things to a table, with policies, readers of random speed, restarts,
// refreshes, limits and reconfiguration, and compares what everybody ends up with by the model.
// In the end everything is withdrawn, and the table is as an empty one.
func TestSearch(t *testing.T) {
	scenario.Search{Seeds: 60, Inputs: func(r *rand.Rand) []string { return history(r, 300) }, Play: playHistory}.Run(t)
}

func playHistory(t *testing.T, inputs []string) error {
	m := newMachine(t)
	m.lenient = true
	if _, err := scenario.Play(strings.Join(inputs, "\n")+"\n", m); err != nil {
		return err
	}
	return m.finish()
}

// FuzzHistory lets the fuzzer choose what TestSearch draws.
func FuzzHistory(f *testing.F) {
	f.Add([]byte("a table, nine peers, and what they do to each other"))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 200, 100, 50, 25, 12, 6, 3, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return
		}
		if err := playHistory(t, history(rand.New(&octetSource{b: b}), 200)); err != nil {
			t.Error(err)
		}
	})
}

// octetSource is a source of "random" numbers that the fuzzer chooses: two octets each, spread
// over the word, as callers look at the high bits.
type octetSource struct {
	b []byte
	n uint64
}

func (s *octetSource) Uint64() uint64 {
	s.n++ // never the same number for ever: callers draw again until they like one
	var v [8]byte
	s.b = s.b[copy(v[:2], s.b):]
	return (binary.LittleEndian.Uint64(v[:]) + s.n<<16) * 0x9e3779b97f4a7c15
}

var testPrefixes = func() (list []netip.Prefix) {
	for i := range 8 {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16+i%3))
	}
	list = append(list, defaultPrefix(0), defaultPrefix(1))
	for i := range 3 {
		a := ip("2001:db8::").As16()
		a[5] = byte(i)
		list = append(list, netip.PrefixFrom(netip.AddrFrom16(a), 48+i%2))
	}
	return list
}()

// narrator makes up the lines of a history.
type narrator struct {
	r     *rand.Rand
	lines []string
	peers []*character
}

// character is what a narrator knows of a peer.
type character struct {
	name, kind string // kind: AS, client
	session    string // what was negotiated
	no         int
}

// history returns the lines of a table, its peers and n things that happen.
func history(r *rand.Rand, n int) []string {
	a := &narrator{r: r}
	a.say("table cluster 10.0.0.99 multipath %d%s%s", 1+r.IntN(4), a.maybe(3, " deferred"), a.maybe(3, " always-compare-med"))
	a.say("limits list %d batch %d backlog %d", 1+r.IntN(listMax)>>r.IntN(7), 100+r.IntN(400), 200+r.IntN(2000))
	for i, kind := range []struct{ kind, session string }{
		{"client", "ipv6"},
		{"client", "ipv6"},
		{"client", "ipv6 add-path"},
		{"client", "ipv6 add-path long-lived"},
		{"client", "ipv6 add-path4 extended-messages"},
		{"", "ipv6 long-lived extended-next-hop"},
		{"as 64501", "ipv6 two-octet"},
		{"as 65002", "ipv6"},
		{"as 64503", "ipv6 add-path"},
		{"allow-own-as 1", "add-path"},
	} {
		p := &character{fmt.Sprint("p", i), kind.kind, kind.session, i}
		a.peers = append(a.peers, p)
		a.configure(p)
		a.open(p)
	}
	a.say("watch")
	for range n {
		a.step(a.peers[r.IntN(len(a.peers))])
	}
	return a.lines
}

func (a *narrator) say(format string, args ...any) {
	a.lines = append(a.lines, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

// maybe returns s once in n times, else "".
func (a *narrator) maybe(n int, s string) string {
	if a.r.IntN(n) == 0 {
		return s
	}
	return ""
}

func (a *narrator) one(list ...string) string { return list[a.r.IntN(len(list))] }

// step makes up one thing that happens to a peer, or by it.
func (a *narrator) step(p *character) {
	fam := a.one("ipv4", "ipv6")
	switch n := a.r.IntN(100); {
	case n < 45:
		list := a.prefixes(4, 3)
		a.say("%s announce %s %s %s", p.name, list, a.via(list), a.attrs(p.as()))
	case n < 58:
		a.say("%s withdraw %s", p.name, a.prefixes(2, 3))
	case n < 60:
		list := a.prefixes(2, 3)
		a.say("%s malformed %s %s", p.name, list, a.via(list))
	case n < 63:
		a.say("originate %s %s", a.prefixes(1, 2), a.one("", "med 2", "med 1 via 192.0.2.77", "pref 100 community 65000:1"))
	case n < 66:
		a.say("unoriginate %s", a.prefixes(1, 2))
	case n < 72:
		a.say("%s %s %s", p.name, a.one("stale", "stale", "twice-stale", "twice-stale", "sweep-twice-stale", "long-lived", "end-of-rib", "begin-refresh", "end-refresh", "sweep"), fam)
	case n < 73:
		a.say("%s drop %s", p.name, fam)
	case n < 74:
		a.say("%s %s %s %s", p.name, a.one("fails", "fails-near"), fam, a.one("", "192.0.2.0/31"))
	case n < 76:
		a.say("%s asks-refresh %s %s", p.name, fam, a.one("", "enhanced"))
	case n < 79:
		a.configure(p)
	case n < 82:
		a.open(p) // which configures an open session anew
	case n < 83:
		a.say("%s ends", p.name)
		a.open(p)
	case n < 84:
		a.say("%s leaves", p.name)
		a.configure(p)
		a.open(p)
	case n < 85:
		a.say("%s", a.one("converge", "inventory", "watch", "watch all"))
	case n < 87:
		a.say("check")
	case n < 94:
		a.say("%s fills", p.name)
	default:
		a.say("next one")
	}
}

// configure gives a peer another identifier, limit and import policy.
func (a *narrator) configure(p *character) {
	limit := ""
	if a.r.IntN(3) == 0 {
		limit = fmt.Sprintf("action %s", a.one("restart", "block", "warn"))
		limit += a.maybe(2, fmt.Sprintf(" maximum %d", 1+a.r.IntN(12)))
		limit += a.maybe(2, fmt.Sprintf(" paths-per-prefix %d", 1+a.r.IntN(3)))
	}
	addr := fmt.Sprint("10.0.1.", p.no)
	if strings.Contains(p.session, "extended-next-hop") {
		addr = "fe80::5" // shares a link with us
	}
	a.say("peer %s %s id 9.9.9.%d %s %s %s import %s", p.name, addr, a.r.IntN(20), p.kind, a.border(p), limit, a.policy())
}

// border draws what is configured for external peers alone.
func (a *narrator) border(p *character) string {
	if p.as() == "" {
		return a.maybe(8, "local-as 65010 role customer") // of no effect
	}
	f := []string{a.maybe(2, "any-first-as"), a.maybe(3, a.one("remove-private", "remove-private-all", "replace-private")),
		a.maybe(4, "unchanged"), a.maybe(3, "third-party "+a.one("192.0.2.0/30 10.0.0.0/8", "10.0.1.0/24")), a.maybe(2, "role "+a.one("provider", "rs", "rs-client", "customer", "peer")),
		a.maybe(8, "allow-own-as 1")}
	if a.r.IntN(3) == 0 {
		f = append(f, "local-as 65010", a.maybe(2, "no-prepend"), a.maybe(2, "replace-as"))
	}
	return strings.Join(f, " ")
}

func (a *narrator) open(p *character) {
	limit := ""
	if strings.Contains(p.session, "add-path") {
		limit = fmt.Sprintf("limit %d", a.r.IntN(4))
	}
	room := "room 4096"
	if strings.Contains(p.session, "extended-messages") {
		room = ""
	}
	originate := ""
	if a.r.IntN(3) == 0 {
		originate = a.one("default ipv4", "default ipv4 default ipv6")
		originate += a.maybe(2, " when "+a.one("!community=65000:1?reject", "!within=10.0.0.0/8:16-17?reject", "!local?reject", "pref=200?reject"))
		originate += a.maybe(2, " shape "+a.policy())
	}
	a.say("out %s %s %s %s export %s %s %s", p.name, p.session, limit, a.maybe(3, "self"), a.policy(), originate, a.maybe(2, room))
}

// policy draws policies that undo each other, and lead attributes in a circle.
func (a *narrator) policy() string {
	if a.r.IntN(3) == 0 {
		return "none"
	}
	var parts []string
	for range 1 + a.r.IntN(3) {
		cond := a.maybe(4, a.maybe(2, "!")+a.one("community=65000:1", "large=1:1:1", "ext=0002fde800000001", "path=64501", "local", "within=10.0.0.0/8:16-17", "pref=200")+"?")
		parts = append(parts, cond+a.one("accept", a.one("accept", "reject"), "local-pref=100", "local-pref=200", "med=1", "no-med", "med=0", "add=65000:1", "delete=65000:1",
			"set=65000:1", "set=65000:1,65000:2", "set=", "add-large=1:1:1", "delete-large=1:1:1", "add-ext=0002fde800000001", "delete-ext=0002fde800000001", "bandwidth=5", "bandwidth=0",
			"self", "next-hop=192.0.2.1", "prepend=64501", "graceful-shutdown", "add=GRACEFUL_SHUTDOWN", "on-link=192.0.2.0/30,2001::/16"))
	}
	return strings.Join(parts, "+")
}

// prefixes draws up to n prefixes of one family, with path identifiers below ids.
func (a *narrator) prefixes(n, ids int) string {
	first := testPrefixes[a.r.IntN(len(testPrefixes))]
	list := []string{fmt.Sprintf("%v#%d", first, a.r.IntN(ids))}
	for range a.r.IntN(n) {
		if p := testPrefixes[a.r.IntN(len(testPrefixes))]; p.Addr().Is4() == first.Addr().Is4() {
			list = append(list, fmt.Sprintf("%v#%d", p, a.r.IntN(ids)))
		}
	}
	return strings.Join(list, " ")
}

// via draws a next hop for prefixes.
func (a *narrator) via(list string) string {
	if strings.Contains(list, "::") {
		if a.r.IntN(12) == 0 {
			return "via fe80::1"
		}
		return fmt.Sprintf("via 2001::%d %s", 1+a.r.IntN(4), a.maybe(4, "link-local fe80::1"))
	}
	return "via " + a.one("192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.5", "2002::1", "10.0.0.1", "10.0.1.7", "10.0.1.8")
}

// as is the AS of an external peer, "" of another.
func (p *character) as() string {
	as, _ := strings.CutPrefix(p.kind, "as ")
	if as == p.kind {
		return ""
	}
	return as
}

// attrs draws attributes from so few values that steps of the decision process tie. They are
// of an external peer in as, unless that is empty.
func (a *narrator) attrs(as string) string {
	ibgp := as == ""
	var f []string
	add := func(n int, format string, args ...any) {
		if a.r.IntN(n) == 0 {
			f = append(f, fmt.Sprintf(format, args...))
		}
	}
	add(2, "origin egp")
	path := a.one("", "64501", "64502", "64501,64502", "64502,64502")
	if a.r.IntN(32) == 0 {
		path = "64501,65000"
	}
	if !ibgp {
		path = strings.TrimSuffix(as+a.maybe(3, ","+a.one("65010", "65002,4200000001", as))+","+path, ",")
		path = strings.TrimPrefix(path, a.maybe(24, as+","))
	}
	if path != "" {
		f = append(f, "path "+path)
	}
	if ibgp {
		add(2, "pref %d", 100+100*a.r.IntN(2))
	}
	add(2, "med %d", a.r.IntN(4))
	add(2, "community %s", a.one("65000:1", "65000:2,65000:1", "65000:2", "GRACEFUL_SHUTDOWN"))
	if a.r.IntN(16) == 0 {
		f = append(f, "community "+a.one("NO_ADVERTISE", "NO_EXPORT", "NO_EXPORT_SUBCONFED", "NO_LLGR", "LLGR_STALE,65000:1"))
	}
	add(4, "large %s", a.one("1:1:1", "2:2:2"))
	add(4, "ext %s", a.one("0002fde800000001", "0002fde800000002", "4004fde840a00000", "0004fde840a00000"))
	if ibgp {
		add(3, "originator 9.9.9.%d", a.r.IntN(3))
		add(4, "clusters %s", a.one("8.8.8.8", "8.8.8.8,8.8.8.9"))
		add(64, "originator 10.0.0.1")
		add(64, "clusters 10.0.0.99")
	}
	add(16, "otc %s", a.one("64501", "65002", "1"))
	add(200, "long %d", 325+a.r.IntN(16)) // about a message
	return strings.Join(f, " ")
}

// randomAttrs is attrs, parsed.
func randomAttrs(r *rand.Rand, ibgp bool) wire.PathAttrs {
	a := narrator{r: r}
	w := words{list: strings.Fields(a.attrs(map[bool]string{false: "65001"}[ibgp]))}
	attrs, _ := w.attrs()
	return attrs
}
