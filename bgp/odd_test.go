package bgp

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// sequence is an AS_PATH of AS_SEQUENCEs of at most 255 AS numbers each.
func sequence(as ...uint32) (path []byte) {
	for part := range slices.Chunk(as, 255) {
		path = append(path, 2, byte(len(part)))
		for _, a := range part {
			path = append(path, byte(a>>24), byte(a>>16), byte(a>>8), byte(a))
		}
	}
	return path
}

// attr is one path attribute, with a length of two octets.
func attr(flags, code byte, value ...byte) []byte {
	return append([]byte{flags | 0x10, code, byte(len(value) >> 8), byte(len(value))}, value...)
}

// update is an UPDATE for 192.0.2.0/24.
func updateOf(attrs ...[]byte) []byte {
	all := slices.Concat(attrs...)
	body := append([]byte{0, 0, byte(len(all) >> 8), byte(len(all))}, all...)
	body = append(body, 24, 192, 0, 2)
	n := len(body) + wire.HeaderLen
	b := slices.Repeat([]byte{0xff}, 16)
	return append(append(b, byte(n>>8), byte(n), byte(wire.TypeUpdate)), body...)
}

// TestOddExternalPeer: a scripted external peer announces what no good one would. The session stays
// up, the path is used or not, and what a second external peer is sent of it is right.
func TestOddExternalPeer(t *testing.T) {
	long := make([]uint32, 255)
	for i := range long {
		long[i] = 65001
	}
	origin, hop := attr(0x40, 1, 0), attr(0x40, 3, 10, 0, 0, 2)
	path := func(as ...uint32) []byte { return attr(0x40, 2, sequence(as...)...) }
	for name, c := range map[string]struct {
		update []byte
		uses   bool
		length int             // of the AS_PATH that the second peer has
		not    []wire.AttrType // that it does not have
	}{
		"plain":                 {update: updateOf(origin, path(65001, 7), hop), uses: true, length: 3},
		"255 ASes":              {update: updateOf(origin, path(long...), hop), uses: true, length: 256},
		"400 ASes":              {update: updateOf(origin, path(append(long[:255:255], long[:145]...)...), hop), uses: true, length: 401},
		"LOCAL_PREF":            {update: updateOf(origin, path(65001), hop, attr(0x40, 5, 0, 0, 255, 255)), uses: true, length: 2},
		"MED is not passed on":  {update: updateOf(origin, path(65001), hop, attr(0x80, 4, 0, 0, 0, 9)), uses: true, length: 2, not: []wire.AttrType{wire.AttrMED}},
		"ORIGINATOR_ID":         {update: updateOf(origin, path(65001), hop, attr(0x80, 9, 10, 0, 0, 1)), uses: true, length: 2, not: []wire.AttrType{wire.AttrOriginatorID}},
		"CLUSTER_LIST":          {update: updateOf(origin, path(65001), hop, attr(0x80, 10, 10, 0, 0, 1)), uses: true, length: 2, not: []wire.AttrType{wire.AttrClusterList}},
		"AS_TRANS":              {update: updateOf(origin, path(65001, 23456), hop), uses: true, length: 3},
		"our AS":                {update: updateOf(origin, path(65001, 65000), hop)},
		"AS 0":                  {update: updateOf(origin, path(65001, 0), hop)},
		"empty path":            {update: updateOf(origin, path(), hop)},
		"another first AS":      {update: updateOf(origin, path(7, 65001), hop)},
		"a set first":           {update: updateOf(origin, attr(0x40, 2, 1, 1, 0, 0, 0xfd, 0xe9), hop)},
		"confederation":         {update: updateOf(origin, attr(0x40, 2, append([]byte{3, 1, 0, 0, 0xfd, 0xe9}, sequence(65001)...)...), hop)},
		"confederation later":   {update: updateOf(origin, attr(0x40, 2, append(sequence(65001), 3, 1, 0, 0, 0, 9)...), hop)},
		"AS4_PATH":              {update: updateOf(origin, path(65001), hop, attr(0xc0, 17, sequence(7, 8)...)), uses: true, length: 2},
		"next hop is ours":      {update: updateOf(origin, path(65001), attr(0x40, 3, 10, 0, 0, 1))},
		"next hop 0.0.0.0":      {update: updateOf(origin, path(65001), attr(0x40, 3, 0, 0, 0, 0))},
		"next hop 127.0.0.1":    {update: updateOf(origin, path(65001), attr(0x40, 3, 127, 0, 0, 1))},
		"next hop 224.0.0.5":    {update: updateOf(origin, path(65001), attr(0x40, 3, 224, 0, 0, 5))},
		"next hop 240.0.0.1":    {update: updateOf(origin, path(65001), attr(0x40, 3, 240, 0, 0, 1))},
		"next hop broadcast":    {update: updateOf(origin, path(65001), attr(0x40, 3, 255, 255, 255, 255))},
		"next hop is the third": {update: updateOf(origin, path(65001), attr(0x40, 3, 10, 0, 0, 3)), uses: true, length: 2},
		"no next hop":           {update: updateOf(origin, path(65001))},
		"no AS_PATH":            {update: updateOf(origin, hop)},
		"NO_EXPORT":             {update: updateOf(origin, path(65001), hop, attr(0xc0, 8, 0xff, 0xff, 0xff, 1)), uses: true},
		"NO_ADVERTISE":          {update: updateOf(origin, path(65001), hop, attr(0xc0, 8, 0xff, 0xff, 0xff, 2)), uses: true},
		"the second peer's AS":  {update: updateOf(origin, path(65001, 65003), hop), uses: true},
		"OTC of length 3":       {update: updateOf(origin, path(65001), hop, attr(0xc0, 35, 1, 2, 3))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				a, third := run(t, n, addr1, Config{}), run(t, n, addr3, Config{AS: 65003})
				a.peer(external(PeerConfig{Addr: addr2, AS: 65001, Passive: true}))
				a.peer(external(PeerConfig{Addr: addr3, AS: 65003, Passive: true}))
				third.peer(external(PeerConfig{Addr: addr1, AS: 65000}))
				settle(time.Second)
				p := raw(t, n, addr2)
				if typ, _ := p.message(); typ != wire.TypeOpen {
					t.Fatal(typ)
				}
				o := wire.Open{AS: 65001, ID: addr2, HoldTime: 90 * time.Second}
				o.Capabilities.AS4, o.Capabilities.Families = true, []wire.Family{wire.IPv4Unicast}
				p.send(o.Append(nil))
				p.send(wire.AppendKeepalive(nil))
				p.discard()
				settle(time.Second)
				a.mustBe(addr2, Established)
				p.send(c.update)
				settle(time.Second)
				a.mustBe(addr2, Established)
				if got := len(a.paths("192.0.2.0/24")) == 1; got != c.uses {
					st, _ := a.Peer(PeerKey{Addr: addr2})
					t.Errorf("used: %v; %+v", got, st.Families[0].Refused)
				}
				for _, p := range a.paths("192.0.2.0/24") {
					if pref, ok := p.Attrs.LocalPref(); ok && pref == 65535 {
						t.Error("its LOCAL_PREF counts")
					}
				}
				got := third.paths("192.0.2.0/24")
				if (len(got) == 1) != (c.length > 0) {
					t.Fatalf("the second peer has %v", got)
				}
				if c.length == 0 {
					return
				}
				attrs := got[0].Attrs
				count := 0
				for range attrs.ASPath().All() {
					count++
				}
				if first, _ := attrs.ASPath().First(); count != c.length || first != 65000 || got[0].NextHop.Addr != addr1 {
					t.Errorf("AS path of %d, first %d, next hop %v", count, first, got[0].NextHop)
				}
				for _, code := range c.not {
					if _, ok := attrs.Get(code); ok {
						t.Errorf("it has %v", code)
					}
				}
			})
		})
	}
}

// TestOddExternalOpen: AS numbers that no router has, in an OPEN.
func TestOddExternalOpen(t *testing.T) {
	for name, c := range map[string]struct {
		peer, as uint32
		as4      bool
		up       bool
	}{
		"AS 0":                    {AnyAS, 0, false, false},
		"AS 0, four octets":       {AnyAS, 0, true, false},
		"AS 0, external":          {ExternalAS, 0, true, false},
		"AS_TRANS as its own":     {AnyAS, 23456, true, false},
		"AS_TRANS, two octets":    {AnyAS, 23456, false, false},
		"two octets":              {ExternalAS, 65001, false, true},
		"four octets":             {ExternalAS, 4200000001, true, true},
		"ours, external":          {ExternalAS, 65000, true, false},
		"ours, any":               {AnyAS, 65000, true, true},
		"another than configured": {65001, 65002, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				a := run(t, n, addr1, Config{})
				a.peer(external(PeerConfig{Addr: addr2, AS: c.peer, Passive: true}))
				p := raw(t, n, addr2)
				if typ, _ := p.message(); typ != wire.TypeOpen {
					t.Fatal(typ)
				}
				o := wire.Open{AS: c.as, ID: addr2, HoldTime: 90 * time.Second}
				o.Capabilities.AS4, o.Capabilities.Families = c.as4, []wire.Family{wire.IPv4Unicast}
				p.send(o.Append(nil))
				p.send(wire.AppendKeepalive(nil))
				if c.up {
					p.discard()
				} else if got := p.notification(); got.Code != wire.CodeOpen || got.Subcode != wire.SubBadPeerAS {
					t.Errorf("NOTIFICATION %v", got)
				}
				settle(time.Second)
				if up := a.state(addr2) == Established; up != c.up {
					t.Errorf("up: %v", up)
				}
			})
		})
	}
}
