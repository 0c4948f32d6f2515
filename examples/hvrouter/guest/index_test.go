package guest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// shared is the slow, obvious answer to what two guests both have.
func shared(a, b config.Guest) bool {
	if a.Name == b.Name || a.Interface == b.Interface || !a.MAC.IsZero() && a.MAC == b.MAC {
		return true
	}
	for _, x := range alone(a) {
		for _, y := range alone(b) {
			if x.Overlaps(y) {
				return true
			}
		}
	}
	return false
}

// TestIndex takes guests at random, with prefixes that nest and touch, and compares with
// looking at every pair.
func TestIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() (g config.Guest) {
		g.Name, g.Interface = fmt.Sprint("vm", rng.IntN(60)), fmt.Sprint("tap", rng.IntN(60))
		g.MAC[5] = byte(rng.IntN(40))
		for range rng.IntN(3) {
			g.IPv4 = append(g.IPv4, config.Addr{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(64))})})
		}
		for range rng.IntN(3) {
			a := [16]byte{0x20, 1, 15: byte(rng.IntN(256))}
			g.IPv6 = append(g.IPv6, config.Prefix{Prefix: netip.PrefixFrom(netip.AddrFrom16(a), 120+rng.IntN(9))})
		}
		return g
	}
	for range 200 {
		var in Inventory
		var fromAPI []config.Guest
		for range 30 {
			g := random()
			want := false
			for _, o := range fromAPI {
				want = want || g.Name != o.Name && shared(g, o)
			}
			err := in.Put(config.Entry{Guest: g}) // in the place of one of that name
			if (err != nil) != want {
				t.Fatalf("%+v: refused %v, want %v, beside %+v", g, err, want, fromAPI)
			}
			if err == nil {
				fromAPI = in.All()
			}
		}
	}
}
