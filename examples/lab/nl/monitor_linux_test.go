package nl

import (
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestNextWaits: what is of no interest, such as the kernel's own neighbours, is no end of the wait for what is.
func TestNextWaits(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a namespace")
	}
	ns := nstest.New(t, "m")
	for _, line := range []string{"link add v0 type veth peer name v1", "addr add 10.0.0.1/24 dev v0", "link set v1 up", "link set v0 up"} {
		ns.IP(line)
	}
	m, err := Watch(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for { // what the interfaces have brought
		changes, err := m.Next(time.Now().Add(100 * time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if len(changes) == 0 {
			break
		}
	}
	ns.IP("neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev v0")
	begun := time.Now()
	if changes, err := m.Next(begun.Add(300 * time.Millisecond)); err != nil || len(changes) > 0 || time.Since(begun) < 300*time.Millisecond {
		t.Errorf("%+v, %v after %v", changes, err, time.Since(begun))
	}
	ns.IP("route add 10.9.0.0/16 via 10.0.0.9")
	if changes, err := m.Next(time.Now().Add(10 * time.Second)); err != nil || len(changes) != 1 || changes[0].Rt.Dst.String() != "10.9.0.0/16" {
		t.Errorf("%+v, %v", changes, err)
	}
}
