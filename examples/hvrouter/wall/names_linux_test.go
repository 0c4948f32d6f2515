package wall

import (
	"slices"
	"strings"
	"testing"
)

func TestWidest(t *testing.T) {
	got := widest([]string{"vm1", "tap*", "tap7", "ta", "tapestry*", "vm10", "vm1"})
	if want := []string{"ta", "tap*", "vm1", "vm10"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A name with "*" holds for interfaces that do not exist yet: the guest that appears
// behind one finds the wall standing, and others are not taken for guests.
func TestNamesByPrefix(t *testing.T) {
	l := newLab(t)
	s := spec()
	s.Guests = []string{"vm*", "vm7", "tap*", "eth9"}
	s.Domains[0] = append([]string{"a.public"}, s.Guests...)
	l.guest.Exec("ping", "-c1", "-W30", "203.0.113.254")
	l.guest.Exec("ping", "-c1", "-W30", "172.22.2.1")
	l.apply(t, s)
	got := listen(t, l.hv, "203.0.113.254:4789")
	send(t, l.guest, "203.0.113.254:4789")
	l.dropped(t, "guest-to-hypervisor", 0) // its port is VXLAN's, not from the underlay
	l.dropped(t, "vxlan-not-from-underlay", 1)
	send(t, l.guest, "203.0.113.254:179")
	l.dropped(t, "guest-to-hypervisor", 1)
	send(t, l.guest, "203.0.113.254:53")
	public := listen(t, l.hv, "198.51.100.101:5000")
	send(t, l.public, "198.51.100.101:5000")
	if from := <-public; !strings.HasPrefix(from, "198.51.100.1:") {
		t.Error(from)
	}
	send(t, l.guest, "172.22.15.1:9")
	l.dropped(t, "between-domains", 1)
	if len(got) > 0 {
		t.Error("the guest got through")
	}
	l.hv.IP("link set vm1 down")
	l.hv.IP("link set vm1 name um1")
	l.hv.IP("link set um1 up")
	l.hv.IP("route add 203.0.113.1/32 dev um1")
	open := listen(t, l.hv, "203.0.113.254:6000")
	send(t, l.guest, "203.0.113.254:6000")
	if from := <-open; !strings.HasPrefix(from, "203.0.113.1:") {
		t.Error(from)
	}
}
