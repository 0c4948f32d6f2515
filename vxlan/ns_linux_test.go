package vxlan

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// host makes a namespace with a VTEP address and an FDB that runs in it.
func host(t testing.TB) (*nstest.NS, *FDB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a network namespace; not with -short")
	}
	ns := nstest.New(t, "vx")
	ns.IP("addr add 172.22.2.1/32 dev lo")
	f, _ := running(t, Config{NetNS: ns.Path})
	return ns, f
}

// running returns an FDB that runs until the test ends, or end is called.
func running(t testing.TB, cfg Config) (f *FDB, end func() error) {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	end = start(t, f)
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	flush(t, f, Result{}) // now the sockets are open
	return f, end
}

// opened returns a conversation with the kernel that no FDB knows of.
func opened(t testing.TB, ns *nstest.NS) *kernel {
	t.Helper()
	k, err := openKernel(Config{NetNS: ns.Path}, openSocket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.conn.Close() })
	return k
}

func TestEnsure(t *testing.T) {
	ns, f := host(t)
	ns.IP("link add br100 type bridge")
	ns.IP("link add other type bridge")
	bridge := ensureBridge(t, ns, "br100")
	d := vx100
	d.Bridge, d.MTU, d.MAC = bridge, 1450, macOf(t, "02:00:00:00:01:00")
	link := ensure(t, f, d)
	out := ns.IP("-d link show vx100")
	for _, want := range []string{"vxlan id 100 local 172.22.2.1", "dstport 4789", "nolearning", "ttl 255", "mtu 1450", "master br100", "02:00:00:00:01:00", ",UP"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if again, changed, err := f.Ensure(t.Context(), d); again != link || changed || err != nil {
		t.Errorf("the same again: link %d, changed %v, %v", again, changed, err)
	}
	ns.IP("link set vx100 down")
	if again, changed, err := f.Ensure(t.Context(), d); again != link || !changed || err != nil {
		t.Errorf("after down: link %d, changed %v, %v", again, changed, err)
	}
	d.Limit = 77 // "Cannot change limit", says the kernel of an existing one
	limited, changed, err := f.Ensure(t.Context(), d)
	if limited == link || !changed || err != nil || !strings.Contains(ns.IP("-d link show vx100"), "maxaddr 77") {
		t.Errorf("with a limit: link %d, changed %v, %v", limited, changed, err)
	}
	link = limited
	if again, changed, err := f.Ensure(t.Context(), d); again != link || changed || err != nil {
		t.Errorf("the same limit again: link %d, changed %v, %v", again, changed, err)
	}
	d.Learning = true
	if again, changed, err := f.Ensure(t.Context(), d); again == link || !changed || err != nil {
		t.Errorf("other learning mode: link %d, changed %v, %v", again, changed, err)
	}
	d.Interface = "other"
	if _, _, err := f.Ensure(t.Context(), d); !errors.Is(err, ErrForeign) {
		t.Errorf("a bridge in the way: %v", err)
	}
	if err := f.RemoveDevice(t.Context(), "vx100"); err != nil {
		t.Error(err)
	}
	if err := f.RemoveDevice(t.Context(), "vx100"); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func ensureBridge(t testing.TB, ns *nstest.NS, name string) (index int) {
	t.Helper()
	have, err := opened(t, ns).lookup(name)
	if err != nil || have == nil {
		t.Fatal(have, err)
	}
	return have.index
}

func TestForwarding(t *testing.T) {
	ns, f := host(t)
	link := ensure(t, f, vx100)
	a, b, c := addrOf("172.22.2.2"), addrOf("172.22.2.3"), addrOf("172.22.2.4")
	m1, m2 := macOf(t, "50:54:33:00:00:0f"), macOf(t, "50:54:33:00:00:15")
	f.SetFlood(link, []netip.Addr{a, b})
	f.SetMAC(link, m1, a)
	f.SetMAC(link, m2, b)
	flush(t, f, Result{Added: 4})
	flush(t, f, Result{})
	reconcile(t, f, Result{Kept: 4})

	f.SetMAC(link, m1, b) // moves
	f.DeleteMAC(link, m2)
	f.SetFlood(link, []netip.Addr{b, c})
	flush(t, f, Result{Added: 1, Replaced: 1, Deleted: 2})
	reconcile(t, f, Result{Kept: 3})
	if out := bridge(ns, "fdb show dev vx100"); strings.Count(out, "extern_learn") != 3 || strings.Contains(out, "dst 172.22.2.2") {
		t.Error(out)
	}

	// Another program's entries.
	bridge(ns, "fdb add 02:00:00:00:00:99 dev vx100 dst 172.22.2.9")
	reconcile(t, f, Result{Kept: 3, Foreign: 1})
	f.SetMAC(link, macOf(t, "02:00:00:00:00:99"), a)
	if _, err := f.Flush(t.Context()); !errors.Is(err, ErrForeign) {
		// Not known from the cache: the kernel says so.
		t.Errorf("a foreign entry in the way: %v", err)
	}
	if _, err := f.Reconcile(t.Context()); !errors.Is(err, ErrForeign) {
		t.Errorf("a foreign entry in the way: %v", err)
	}
	f.DeleteMAC(link, macOf(t, "02:00:00:00:00:99"))
	reconcile(t, f, Result{Kept: 3, Foreign: 1})
	bridge(ns, "fdb append 00:00:00:00:00:00 dev vx100 dst 172.22.2.8")
	reconcile(t, f, Result{Kept: 3, Foreign: 2})
	f.SetFlood(link, []netip.Addr{b})
	flush(t, f, Result{Deleted: 1})
	reconcile(t, f, Result{Kept: 2, Foreign: 2})

	// Foreign deletion is repaired, by Reconcile or, if that is later, by Run.
	bridge(ns, "fdb del 00:00:00:00:00:00 dev vx100 dst 172.22.2.3")
	bridge(ns, "fdb del 50:54:33:00:00:0f dev vx100")
	if r, err := f.Reconcile(t.Context()); err != nil || r.Added+r.Kept != 2 || r.Foreign != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, want := range []string{"00:00:00:00:00:00 dst 172.22.2.3", "50:54:33:00:00:0f dst 172.22.2.3"} {
		if out := bridge(ns, "fdb show dev vx100"); !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// A new process finds what the old one left, keeps what is right, and clears the
// rest.
func TestRestart(t *testing.T) {
	ns, _ := host(t)
	f, end := running(t, Config{NetNS: ns.Path})
	link := ensure(t, f, vx100)
	a, b := addrOf("172.22.2.2"), addrOf("172.22.2.3")
	m1, m2 := macOf(t, "50:54:33:00:00:0f"), macOf(t, "50:54:33:00:00:15")
	f.SetFlood(link, []netip.Addr{a, b})
	f.SetMAC(link, m1, a)
	f.SetMAC(link, m2, b)
	flush(t, f, Result{Added: 4})
	if err := end(); err != nil {
		t.Error(err)
	}

	g, _ := running(t, Config{NetNS: ns.Path})
	again, changed, err := g.Ensure(t.Context(), vx100)
	if again != link || changed || err != nil {
		t.Fatalf("the device: %d, %v, %v", again, changed, err)
	}
	g.SetFlood(link, []netip.Addr{a})
	g.SetMAC(link, m1, a)
	flush(t, g, Result{Kept: 2, Deleted: 2})
	reconcile(t, g, Result{Kept: 2})
}

func TestIPv6(t *testing.T) {
	ns, f := host(t)
	d := Device{Interface: "vx6", VNI: 6, Local: addrOf("2001:db8::1"), TTL: 64}
	ns.IP("addr add 2001:db8::1/128 dev lo nodad")
	link := ensure(t, f, d)
	f.SetFlood(link, []netip.Addr{addrOf("2001:db8::2")})
	f.SetMAC(link, macOf(t, "50:54:33:00:00:0f"), addrOf("2001:db8::2"))
	flush(t, f, Result{Added: 2})
	reconcile(t, f, Result{Kept: 2})
}

// Every entry of a batch that fails is reported, with what the kernel said.
func TestErrors(t *testing.T) {
	_, f := host(t)
	link := ensure(t, f, vx100)
	flush(t, f, Result{})
	for i := range 450 {
		f.SetMAC(link, MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, addrOf("2001:db8::1")) // wrong family
	}
	_, err := f.Flush(t.Context())
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatal(err)
	}
	inner, ok := joined.Unwrap()[0].(interface{ Unwrap() []error })
	if !ok || len(inner.Unwrap()) != 450 {
		t.Fatalf("not 450 errors: %.300v", err)
	}
	var one *Error
	if !errors.As(err, &one) || one.Entry.IfIndex != link {
		t.Fatalf("%.300v", err)
	}
	t.Log(one)
}

// Run repairs what others delete or change, and leaves alone what they add.
func TestRun(t *testing.T) {
	ns, f := host(t)
	link := ensure(t, f, vx100)
	a, m := addrOf("172.22.2.2"), macOf(t, "50:54:33:00:00:0f")
	f.SetFlood(link, []netip.Addr{a})
	f.SetMAC(link, m, a)
	flush(t, f, Result{Added: 2})
	w := f.Watch()
	events(t, w)
	show := func(want string) func() bool {
		return func() bool { return strings.Contains(bridge(ns, "fdb show dev vx100"), want) }
	}
	bridge(ns, "fdb add 02:00:00:00:00:99 dev vx100 dst 172.22.2.9")
	bridge(ns, "fdb del 00:00:00:00:00:00 dev vx100 dst 172.22.2.2")
	nstest.Wait(t, time.Second, "the flood list to come back", show("00:00:00:00:00:00 dst 172.22.2.2"))
	bridge(ns, "fdb replace 50:54:33:00:00:0f dev vx100 dst 172.22.2.7 extern_learn")
	nstest.Wait(t, time.Second, "the entry to come back", show("50:54:33:00:00:0f dst 172.22.2.2"))
	for _, want := range []string{" dst 172.22.2.2 installed, repaired 1 times"} {
		var got []Event
		nstest.Wait(t, time.Second, "both events", func() bool {
			got = append(got, events(t, w)...)
			return len(got) >= 2 && strings.HasSuffix(got[len(got)-1].String(), want)
		})
		if repairs := got[0].Repairs + got[len(got)-1].Repairs; len(got) > 4 || repairs == 0 {
			t.Errorf("%v", got)
		}
	}
	if !show("02:00:00:00:00:99 dst 172.22.2.9")() {
		t.Error(bridge(ns, "fdb show dev vx100"))
	}
}

func bridge(ns *nstest.NS, args string) string {
	return ns.Exec("bridge", strings.Fields(args)...)
}

// BenchmarkFlush writes new MAC entries, one an operation.
func BenchmarkFlush(b *testing.B) {
	_, f := host(b)
	link := ensure(b, f, vx100)
	flush(b, f, Result{})
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		var m MAC
		binary.BigEndian.PutUint32(m[2:], uint32(i))
		m[0] = 2
		f.SetMAC(link, m, addrOf("172.22.2.2"))
	}
	flush(b, f, Result{Added: b.N})
}
