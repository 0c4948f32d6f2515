package netns

import (
	"errors"
	"slices"
	"testing"
)

// A gateway comes when the kernel has taken a firewall with it, and stays if it refuses a later one. One that is there
// when the daemon starts stays, too.
func TestGatewaysWait(t *testing.T) {
	start := func(err error) *bed {
		b, _ := newBed(t, "hv1.yaml", `members:_[vm1.vx,_vm2.vx]\n____vteps:_172.22.2.0/24=>evpn:_{}\n____gateway:_{table:_1000,_ipv4:_[192.168.5.254/24]}`)
		b.SetLink(up(30, "br100"))
		b.firewall.err = err
		return b
	}
	apply := func(b *bed) (calls []string) {
		b.ApplyFirewall(Guests{})
		b.Apply(Guests{})
		return b.kernel.take()
	}
	const address, forwards = "address 192.168.5.254/32 30", "sysctl net/ipv4/conf/br100/forwarding 1"
	t.Run("refused at the start", func(t *testing.T) {
		b := start(errors.New("no"))
		if calls := apply(b); slices.Contains(calls, address) || slices.Contains(calls, forwards) || !slices.Equal(b.Waiting(), []string{"vx100"}) || b.Opens() {
			t.Errorf("%q, waiting %v, opens %v", calls, b.Waiting(), b.Opens())
		}
		if log := b.log.take(); !slices.Contains(log, "gateways-wait") {
			t.Error(log)
		}
		b.RepairFirewall()
		if apply(b); b.Opens() || slices.Contains(b.log.take(), "gateways-wait") {
			t.Error("it opens, or is said twice")
		}
		b.firewall.err = nil
		b.RepairFirewall()
		if !b.Opens() {
			t.Error("it does not open")
		}
		if calls := apply(b); !slices.Contains(calls, address) || !slices.Contains(calls, forwards) || len(b.Waiting()) > 0 || b.Opens() {
			t.Errorf("%q, waiting %v", calls, b.Waiting())
		}
	})
	t.Run("refused later", func(t *testing.T) {
		b := start(nil)
		if calls := apply(b); !slices.Contains(calls, address) {
			t.Errorf("%q", calls)
		}
		b.firewall.err = errors.New("no")
		b.RepairFirewall()
		if calls := apply(b); slices.Contains(calls, "un"+address) || len(b.Waiting()) > 0 {
			t.Errorf("%q, waiting %v", calls, b.Waiting())
		}
	})
	t.Run("there at the start", func(t *testing.T) {
		b := start(errors.New("no"))
		b.SetAddress(onAddress(30, "192.168.5.254/32", false))
		if calls := apply(b); !slices.Contains(calls, address) || len(b.Waiting()) > 0 {
			t.Errorf("%q, waiting %v", calls, b.Waiting())
		}
	})
}
