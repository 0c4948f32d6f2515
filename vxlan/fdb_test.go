package vxlan

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// The shell over a model of the kernel; what Linux itself does is in *_linux_test.go.

func TestFakeEnsure(t *testing.T) { synctest.Test(t, fakeEnsure) }

func fakeEnsure(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{})
	d := vx100
	d.Bridge, d.MTU, d.MAC = k.other("br100", "bridge"), 1450, macOf(t, "02:00:00:00:01:00")
	k.other("other", "bridge")
	link := ensure(t, f, d)
	same := func(what string, want int, changed bool) {
		t.Helper()
		if got, c, err := f.Ensure(t.Context(), d); err != nil || c != changed || want != 0 && got != want {
			t.Errorf("%s: link %d, changed %v, %v; want %d, %v", what, got, c, err, want, changed)
		}
	}
	same("the same again", link, false)
	k.link("vx100").up = false
	same("after down", link, true)
	same("up again", link, false)
	d.MTU = 1400
	same("another MTU", link, true)
	d.MAC = MAC{2, 9}
	same("another MAC", link, true)
	d.Bridge = 0
	same("no bridge", link, true)
	if have := k.link("vx100"); have.MTU != 1400 || have.MAC != d.MAC || have.Bridge != 0 || !have.up {
		t.Errorf("%+v", have)
	}
	for what, change := range map[string]func(){
		"a limit": func() { d.Limit = 77 }, "learning": func() { d.Learning = true }, "a VNI": func() { d.VNI = 101 }, "a port": func() { d.Port = 8472 },
		"a TTL": func() { d.TTL = 64 }, "an address": func() { d.Local = addrOf("2001:db8::1") }, "an underlay link": func() { d.Underlay = 1 },
	} {
		change()
		again, changed, err := f.Ensure(t.Context(), d)
		if again == link || !changed || err != nil {
			t.Errorf("%s: link %d, changed %v, %v", what, again, changed, err)
		}
		link = again
		same(what, link, false)
	}
	bad := d
	bad.Interface = "other"
	if _, _, err := f.Ensure(t.Context(), bad); !errors.Is(err, ErrForeign) {
		t.Errorf("a bridge in the way: %v", err)
	}
	if err := f.RemoveDevice(t.Context(), "other"); !errors.Is(err, ErrForeign) {
		t.Errorf("a bridge in the way: %v", err)
	}
	bad.Interface = ""
	if _, _, err := f.Ensure(t.Context(), bad); err == nil {
		t.Error("no name")
	}
	bad = d
	bad.Interface = "vx2" // the same VNI and port
	var e *Error
	if _, changed, err := f.Ensure(t.Context(), bad); !changed || !errors.Is(err, unix.EEXIST) || !errors.As(err, &e) || !strings.HasPrefix(e.Text, "A VXLAN device") {
		t.Error(err)
	}
	bad.VNI, bad.Bridge = 9, 9999
	if _, _, err := f.Ensure(t.Context(), bad); !errors.As(err, &e) || e.Op != "create device" || e.Text != "Master device does not exist" {
		t.Error(err)
	}
	for range 2 {
		if err := f.RemoveDevice(t.Context(), "vx100"); err != nil || k.link("vx100") != nil {
			t.Error(err)
		}
	}
	for _, do := range []func() error{
		func() error { _, _, err := f.Ensure(t.Context(), d); return err }, func() error { return f.RemoveDevice(t.Context(), "vx100") },
	} {
		k.broken = io.ErrUnexpectedEOF
		if err := do(); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &e) || e.Op != "look up device" {
			t.Error(err)
		}
	}
}

func TestFakeUnderlay(t *testing.T) { synctest.Test(t, fakeUnderlay) }

func fakeUnderlay(t *testing.T) {
	dir := t.TempDir()
	guest, wire := filepath.Join(dir, "guest"), filepath.Join(dir, "wire")
	for _, p := range []string{guest, wire} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := newFake()
	f, _ := k.running(t, Config{NetNS: guest, Underlay: wire})
	link := ensure(t, f, vx100)
	if k.link("vx100").linkNSID != 7 {
		t.Errorf("%+v", k.link("vx100"))
	}
	if again, changed, err := f.Ensure(t.Context(), vx100); again != link || changed || err != nil {
		t.Errorf("the same again: %d, %v, %v", again, changed, err)
	}
	near, _ := k.running(t, Config{NetNS: guest})
	if again, changed, err := near.Ensure(t.Context(), vx100); again == link || !changed || err != nil || k.link("vx100").linkNSID != noNSID {
		t.Errorf("another underlay: %d, %v, %v", again, changed, err)
	}
	if again, changed, err := f.Ensure(t.Context(), vx100); again == link || !changed || err != nil || k.link("vx100").linkNSID != 7 {
		t.Errorf("back: %d, %v, %v", again, changed, err)
	}
	for _, cfg := range []Config{{NetNS: filepath.Join(dir, "no"), Underlay: wire}, {NetNS: guest, Underlay: "/nowhere"}, {Underlay: filepath.Join(dir, "no")}} {
		g, _ := newFake().running(t, cfg)
		if _, _, err := g.Ensure(t.Context(), vx100); err == nil && cfg.NetNS != "" {
			t.Errorf("%+v: no error", cfg)
		}
		g, _ = k.running(t, cfg)
		if _, _, err := g.Ensure(t.Context(), vx100); cfg.Underlay != wire && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	same, _ := k.running(t, Config{NetNS: guest, Underlay: guest}) // no other one
	if _, _, err := same.Ensure(t.Context(), vx100); err != nil || k.link("vx100").linkNSID != noNSID {
		t.Error(err)
	}
	for _, b := range [][]byte{nil, {0, 0, 0, 0, 3, 0, 1, 0}} {
		if _, err := parseNSID(b); !errors.Is(err, rtnl.ErrMalformed) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func TestFakeForwarding(t *testing.T) { synctest.Test(t, fakeForwarding) }

func fakeForwarding(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{})
	link := ensure(t, f, vx100)
	a, b, c := addrOf("172.22.2.2"), addrOf("172.22.2.3"), addrOf("172.22.2.4")
	m1, m2, his := MAC{0x50, 1}, MAC{0x50, 2}, MAC{0x50, 9}
	f.SetFlood(link, []netip.Addr{a, b, addrOf("::ffff:172.22.2.2")})
	f.SetMAC(link, m1, a)
	f.SetMAC(link, m2, b)
	for _, err := range []error{f.SetFlood(link, []netip.Addr{c, {}}), f.SetMAC(link, MAC{1}, b), f.SetMAC(link, his, netip.Addr{}),
		f.SetMAC(0, m1, a), f.SetFlood(-1, nil), f.DeleteMAC(0, m1), f.Forget(0)} {
		var e *Error
		if !errors.Is(err, ErrInvalid) || !errors.As(err, &e) || e.Op != "set" {
			t.Error(err)
		}
	}
	flush(t, f, Result{Added: 4})
	flush(t, f, Result{})
	reconcile(t, f, Result{Kept: 4})
	f.SetMAC(link, m1, b) // moves
	f.DeleteMAC(link, m2)
	f.DeleteMAC(link, his)
	f.SetFlood(link, []netip.Addr{b, c})
	flush(t, f, Result{Added: 1, Replaced: 1, Deleted: 2})
	reconcile(t, f, Result{Kept: 3})

	k.by(t, "add", Entry{IfIndex: link, MAC: his, VTEP: a}, false)
	reconcile(t, f, Result{Kept: 3, Foreign: 1})
	f.SetMAC(link, his, b)
	for range 2 { // what is in the way is known from the dump
		if _, err := f.Reconcile(t.Context()); !errors.Is(err, ErrForeign) {
			t.Error(err)
		}
	}
	f.DeleteMAC(link, his)
	reconcile(t, f, Result{Kept: 3, Foreign: 1})
	late := MAC{0x50, 8}
	k.by(t, "add", Entry{IfIndex: link, MAC: late, VTEP: a}, false)
	f.SetMAC(link, late, b)
	if _, err := f.Flush(t.Context()); !errors.Is(err, ErrForeign) || !errors.Is(err, unix.EEXIST) {
		t.Errorf("it came in since the last look: %v", err)
	}
	f.DeleteMAC(link, late)
	// By hand in our flood list: what we have written there counts as ours.
	k.by(t, "add", Entry{IfIndex: link, VTEP: addrOf("172.22.2.8")}, false)
	reconcile(t, f, Result{Kept: 3, Foreign: 3})
	f.SetFlood(link, []netip.Addr{b})
	flush(t, f, Result{Deleted: 1})
	k.by(t, "del", Entry{IfIndex: link, VTEP: b}, true)
	k.by(t, "del", Entry{IfIndex: link, MAC: m1, VTEP: b}, true)
	reconcile(t, f, Result{Added: 2, Foreign: 3})
	// What is to be deleted is gone already.
	k.by(t, "del", Entry{IfIndex: link, MAC: m1, VTEP: b}, true)
	f.DeleteMAC(link, m1)
	flush(t, f, Result{Deleted: 1})

	got := f.Entries(link)
	if len(got) != 1 || got[0] != (Entry{IfIndex: link, VTEP: b}) || f.Entries(99) != nil {
		t.Errorf("%v", got)
	}
	k.interrupted = 2
	reconcile(t, f, Result{Kept: 1, Foreign: 3})
	k.interrupted = passes
	if _, err := f.Reconcile(t.Context()); !errors.Is(err, rtnl.ErrInterrupted) {
		t.Error(err)
	}
	if err := f.RemoveDevice(t.Context(), "vx100"); err != nil {
		t.Error(err)
	}
	f.SetMAC(link, m1, a)
	var e *Error
	if _, err := f.Reconcile(t.Context()); !errors.Is(err, unix.ENODEV) || !errors.As(err, &e) || e.Op != "dump" || e.Entry.IfIndex != link {
		t.Error(err)
	}
	f.Forget(link)
	reconcile(t, f, Result{})
}

// A new process finds what the old one has left.
func TestFakeRestart(t *testing.T) { synctest.Test(t, fakeRestart) }

func fakeRestart(t *testing.T) {
	k := newFake()
	f, end := k.running(t, Config{})
	link := ensure(t, f, vx100)
	a, b := addrOf("172.22.2.2"), addrOf("172.22.2.3")
	f.SetFlood(link, []netip.Addr{a, b})
	f.SetMAC(link, MAC{2, 1}, a)
	f.SetMAC(link, MAC{2, 2}, b)
	flush(t, f, Result{Added: 4})
	if err := end(); err != nil {
		t.Error(err)
	}
	g, _ := k.running(t, Config{})
	g.SetFlood(link, []netip.Addr{a})
	g.SetMAC(link, MAC{2, 1}, a)
	flush(t, g, Result{Kept: 2, Deleted: 2})
	reconcile(t, g, Result{Kept: 2})
}

// Each entry that the kernel refuses is reported, with its words, and tried again by the
// next Reconcile; one whose answer is lost, or that the socket failed with, is looked for.
func TestFakeErrors(t *testing.T) { synctest.Test(t, fakeErrors) }

func fakeErrors(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{})
	link := ensure(t, f, vx100)
	flush(t, f, Result{})
	want := map[Entry]bool{}
	for i := range 450 {
		e := Entry{IfIndex: link, MAC: MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, VTEP: addrOf("172.22.2.2")}
		f.SetMAC(link, e.MAC, e.VTEP)
		if i%3 == 0 {
			k.refuse[e.MAC] = unix.EPERM
		}
		want[e] = true
	}
	r, err := f.Flush(t.Context())
	n := 0
	for _, s := range strings.Split(err.Error(), "\n") {
		if !strings.HasPrefix(s, "vxlan: add 02:00:00:00:") || !strings.HasSuffix(s, "operation not permitted: no") {
			t.Error(s)
		}
		n++
	}
	if n != 150 || r != (Result{Added: 300}) {
		t.Errorf("%d errors, %+v", n, r)
	}
	k.refuse = map[MAC]unix.Errno{}
	flush(t, f, Result{}) // not by Flush
	reconcile(t, f, Result{Kept: 300, Added: 150})

	whole := func() {
		t.Helper()
		for e := range want {
			if !k.has(e) {
				t.Fatalf("%v is missing", e)
			}
		}
	}
	whole()
	// The answer of a refused one is lost: all without one are unknown, and looked for.
	k.refuse[MAC{2, 1}], k.lost = unix.EPERM, 1
	for i := range 3 {
		e := Entry{IfIndex: link, MAC: MAC{2, byte(1 + i)}, VTEP: addrOf("172.22.2.3")}
		f.SetMAC(link, e.MAC, e.VTEP)
		want[e] = true
	}
	if r, err := f.Flush(t.Context()); !errors.Is(err, rtnl.ErrLost) || r.Writes() != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	k.refuse = map[MAC]unix.Errno{}
	flush(t, f, Result{Kept: 452, Added: 1})
	whole()
	// The socket fails in the second batch.
	for i := range 300 {
		e := Entry{IfIndex: link, MAC: MAC{4, 0, 0, 0, byte(i >> 8), byte(i)}, VTEP: addrOf("172.22.2.2")}
		f.SetMAC(link, e.MAC, e.VTEP)
		want[e] = true
	}
	k.broken = io.ErrUnexpectedEOF
	if _, err := f.Flush(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	flush(t, f, Result{Kept: 453, Added: 300})
	whole()
}

// sleep lets virtual time pass, and Run do what is due.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestFakeRun(t *testing.T) { synctest.Test(t, fakeRun) }

func fakeRun(t *testing.T) {
	k := newFake()
	f, end := k.running(t, Config{})
	link := ensure(t, f, vx100)
	a, m := addrOf("172.22.2.2"), MAC{0x50, 1}
	f.SetFlood(link, []netip.Addr{a})
	f.SetMAC(link, m, a)
	flush(t, f, Result{Added: 2})
	w := f.Watch()
	expect(t, w, "00:00:00:00:00:00 dev 2 dst 172.22.2.2 installed", "50:01:00:00:00:00 dev 2 dst 172.22.2.2 installed", "synced")
	sleep(time.Second)
	expect(t, w)
	k.by(t, "add", Entry{IfIndex: link, MAC: MAC{2, 9}, VTEP: a}, false)
	sleep(time.Second)
	expect(t, w) // another program's is none of our business
	k.by(t, "del", Entry{IfIndex: link, VTEP: a}, true)
	k.by(t, "replace", Entry{IfIndex: link, MAC: m, VTEP: addrOf("172.22.2.7")}, true)
	sleep(25 * time.Millisecond)
	expect(t, w, "00:00:00:00:00:00 dev 2 dst 172.22.2.2 installed, repaired 1 times", "50:01:00:00:00:00 dev 2 dst 172.22.2.2 installed, repaired 1 times")
	for range 2 {
		k.by(t, "del", Entry{IfIndex: link, MAC: m, VTEP: a}, true)
		sleep(25 * time.Millisecond)
	}
	expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 installed, repaired 2 times")
	// Notifications were lost, among them that of a deletion: the table is compared.
	k.mu.Lock()
	l := k.byIndex(link)
	l.entries = slices.DeleteFunc(l.entries, func(e fakeEntry) bool { return e.MAC == m })
	k.tell(unix.ENOBUFS)
	k.mu.Unlock()
	sleep(15 * time.Millisecond)
	k.mu.Lock()
	k.tell(unix.ENOBUFS) // once more: that does not put it off
	k.mu.Unlock()
	sleep(6 * time.Millisecond)
	expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 installed, repaired 1 times")
	if !k.has(Entry{IfIndex: link, VTEP: a}) || !k.has(Entry{IfIndex: link, MAC: m, VTEP: a}) || !k.has(Entry{IfIndex: link, MAC: MAC{2, 9}, VTEP: a}) {
		t.Errorf("%+v", k.link("vx100").entries)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// Another program undoes each repair, and puts an entry of its own in the way of another: both are
// fought for with growing delays, and the readers learn it.
func TestFakeRunContended(t *testing.T) { synctest.Test(t, fakeRunContended) }

func fakeRunContended(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{})
	link := ensure(t, f, vx100)
	a, m, x := addrOf("172.22.2.2"), MAC{0x50, 1}, MAC{0x50, 2}
	f.SetMAC(link, m, a)
	f.SetMAC(link, x, a)
	flush(t, f, Result{Added: 2})
	w := f.Watch()
	events(t, w)
	k.by(t, "replace", Entry{IfIndex: link, MAC: x, VTEP: addrOf("172.22.2.9")}, false)
	repairs, contended, foreign := 0, 0, 0
	for range 400 { // two seconds
		if k.has(Entry{IfIndex: link, MAC: m, VTEP: a}) {
			k.by(t, "del", Entry{IfIndex: link, MAC: m, VTEP: a}, true)
		}
		sleep(5 * time.Millisecond)
		for _, e := range events(t, w) {
			repairs += int(e.Repairs)
			if e.Contended && e.Repairs > 0 {
				contended++
			}
			if e.State == StateForeign && errors.Is(e.Err, ErrForeign) && e.Entry.MAC == x {
				foreign++
			}
		}
	}
	if repairs < 12 || repairs > 15 || contended < 2 || contended > 5 || foreign < 1 || foreign > 2 {
		t.Errorf("%d repairs, contended %d times, foreign %d times", repairs, contended, foreign)
	}
	sleep(5 * time.Second)
	if !k.has(Entry{IfIndex: link, MAC: m, VTEP: a}) || !k.has(Entry{IfIndex: link, MAC: x, VTEP: addrOf("172.22.2.9")}) {
		t.Errorf("%+v", k.link("vx100").entries)
	}
	events(t, w)
	sleep(2 * time.Minute)
	expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 installed") // it is over
	k.by(t, "del", Entry{IfIndex: link, MAC: x, VTEP: addrOf("172.22.2.9")}, false)
	sleep(31 * time.Second)
	expect(t, w, "50:02:00:00:00:00 dev 2 dst 172.22.2.2 installed, repaired 1 times")
}

// What the kernel refuses is tried again by Run, with growing delays, and so is a table that
// can not be read.
func TestFakeRetry(t *testing.T) { synctest.Test(t, fakeRetry) }

func fakeRetry(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{})
	w := f.Watch()
	link := ensure(t, f, vx100)
	m, n, a := MAC{0x50, 1}, MAC{0x50, 2}, addrOf("172.22.2.2")
	f.SetMAC(link, m, a)
	f.SetMAC(link, n, a)
	expect(t, w, "synced", "50:01:00:00:00:00 dev 2 dst 172.22.2.2 pending", "50:02:00:00:00:00 dev 2 dst 172.22.2.2 pending")
	sleep(time.Minute)
	expect(t, w) // not before Flush
	k.refuse[m] = unix.EPERM
	if r, err := f.Flush(t.Context()); !errors.Is(err, unix.EPERM) || r.Added != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	const no = ": vxlan: add 50:01:00:00:00:00 dev 2 dst 172.22.2.2: operation not permitted: no"
	expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 failed"+no, "50:02:00:00:00:00 dev 2 dst 172.22.2.2 installed")
	sleep(time.Minute)
	expect(t, w) // it is no news that it is refused again
	k.mu.Lock()
	delete(k.refuse, m)
	k.mu.Unlock()
	sleep(31 * time.Second)
	expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 installed")
	// Another program has done what the kernel refused us.
	f.SetMAC(link, MAC{0x50, 3}, a)
	k.refuse[MAC{0x50, 3}] = unix.EPERM
	if _, err := f.Flush(t.Context()); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
	delete(k.refuse, MAC{0x50, 3})
	k.by(t, "add", Entry{IfIndex: link, MAC: MAC{0x50, 3}, VTEP: a}, false)
	events(t, w)
	sleep(time.Second)
	expect(t, w, "50:03:00:00:00:00 dev 2 dst 172.22.2.2 installed")
	f.DeleteMAC(link, MAC{0x50, 3})
	events(t, w)
	// A deletion is refused.
	k.refuse[n] = unix.EPERM
	f.DeleteMAC(link, n)
	expect(t, w, "50:02:00:00:00:00 dev 2 dst 172.22.2.2 stale")
	if _, err := f.Flush(t.Context()); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
	expect(t, w, "50:02:00:00:00:00 dev 2 dst 172.22.2.2 stale: vxlan: delete 50:02:00:00:00:00 dev 2 dst 172.22.2.2: operation not permitted: no")
	k.mu.Lock()
	delete(k.refuse, n)
	k.mu.Unlock()
	sleep(time.Second)
	expect(t, w, "50:02:00:00:00:00 dev 2 removed")
	// Dumps are interrupted for a while.
	k.interrupted = passes
	if _, err := f.Reconcile(t.Context()); !errors.Is(err, rtnl.ErrInterrupted) {
		t.Error(err)
	}
	expect(t, w, "table dev 2: "+f.core.devices[link].err.Error())
	sleep(200 * time.Millisecond)
	expect(t, w, "table dev 2")
	// The answer to a write is lost, and the socket fails once.
	k.refuse[n], k.lost = unix.EPERM, 1
	f.SetMAC(link, n, a)
	if _, err := f.Flush(t.Context()); !errors.Is(err, rtnl.ErrLost) {
		t.Error(err)
	}
	expect(t, w, "50:02:00:00:00:00 dev 2 dst 172.22.2.2 pending")
	k.mu.Lock()
	delete(k.refuse, n)
	k.mu.Unlock()
	sleep(time.Minute)
	expect(t, w, "50:02:00:00:00:00 dev 2 dst 172.22.2.2 installed")
	f.DeleteMAC(link, n)
	k.broken = io.ErrUnexpectedEOF
	if _, err := f.Flush(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	expect(t, w, "50:02:00:00:00:00 dev 2 dst 172.22.2.2 stale", "table dev 2: "+io.ErrUnexpectedEOF.Error())
	sleep(time.Minute)
	expect(t, w, "50:02:00:00:00:00 dev 2 removed", "table dev 2")
	// A device that is gone is an error until it is forgotten.
	if err := f.RemoveDevice(t.Context(), "vx100"); err != nil {
		t.Error(err)
	}
	expect(t, w, "50:01:00:00:00:00 dev 2 removed")
	f.SetMAC(link, m, a)
	_, _ = f.Flush(t.Context())
	sleep(time.Minute)
	expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 pending", "table dev 2: vxlan: dump 00:00:00:00:00:00 dev 2: no such device")
	f.Forget(link)
	f.Forget(link)
	expect(t, w, "50:01:00:00:00:00 dev 2 removed", "table dev 2")
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(f.core.brakes) != 0 {
		t.Errorf("%d brakes", len(f.core.brakes))
	}
}

// Nothing is opened before Run, its end closes everything, and what comes after that says so.
func TestLifecycle(t *testing.T) { synctest.Test(t, lifecycle) }

func lifecycle(t *testing.T) {
	for _, cfg := range []Config{{NetNS: "red"}, {Underlay: "run/netns/red"}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v", cfg)
		}
	}
	k := newFake()
	f := k.fdb(t, Config{})
	if err := errors.Join(f.SetMAC(2, MAC{2, 1}, addrOf("192.0.2.1")), f.SetFlood(2, nil)); err != nil || len(k.sockets) != 0 {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	if _, err := f.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush before Run: %v", err)
	}
	cancel()
	waits := make(chan error)
	go func() { _, _, err := f.Ensure(t.Context(), vx100); waits <- err }()
	synctest.Wait()
	end := start(t, f)
	if err := <-waits; err != nil {
		t.Errorf("Ensure, begun before Run: %v", err)
	}
	if err := f.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("a second Run: %v", err)
	}
	w := f.Watch()
	go func() {
		var err error
		for _, err = range w.All(t.Context()) {
		}
		waits <- err
	}()
	synctest.Wait()
	if err := end(); err != nil {
		t.Error(err)
	}
	for _, s := range k.sockets {
		if !s.closed {
			t.Errorf("socket %d is open", s.port)
		}
	}
	_, flushed := f.Flush(t.Context())
	_, reconciled := f.Reconcile(t.Context())
	_, _, ensured := f.Ensure(t.Context(), vx100)
	over := f.Watch()
	expect(t, over, "02:01:00:00:00:00 dev 2 dst 192.0.2.1 pending", "synced")
	_, late := over.Next(t.Context(), make([]Event, 1))
	w.Close()
	for what, err := range map[string]error{"Run": f.Run(t.Context()), "Flush": flushed, "Reconcile": reconciled, "All": <-waits, "Next": late,
		"Ensure": ensured, "RemoveDevice": f.RemoveDevice(t.Context(), "vx100"), "SetFlood": f.SetFlood(2, nil),
		"SetMAC": f.SetMAC(2, MAC{2}, addrOf("192.0.2.1")), "DeleteMAC": f.DeleteMAC(2, MAC{2}), "Forget": f.Forget(2)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
}

// A reader that does not read costs what there is, not what there was; one that has read
// learns what is gone.
func TestWatchBound(t *testing.T) { synctest.Test(t, watchBound) }

func watchBound(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{})
	link := ensure(t, f, vx100)
	w, quick := f.Watch(), f.Watch()
	a := addrOf("172.22.2.2")
	for i := range 1000 {
		m := MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}
		f.SetMAC(link, m, a)
		f.SetMAC(link, m, addrOf("172.22.2.3"))
		flush(t, f, Result{Added: 1})
		if i == 0 {
			expect(t, quick, "02:00:00:00:00:00 dev 2 dst 172.22.2.3 installed", "synced")
		}
		f.DeleteMAC(link, m)
		flush(t, f, Result{Deleted: 1})
	}
	for _, r := range f.core.readers {
		if len(r.queue) > 70 || len(r.dirty) > 1 {
			t.Errorf("%d keys wait, %d of them with news", len(r.queue), len(r.dirty))
		}
	}
	expect(t, w, "synced")
	expect(t, quick, "02:00:00:00:00:00 dev 2 removed")
	f.SetMAC(link, MAC{2, 1}, a)
	f.DeleteMAC(link, MAC{2, 1})
	expect(t, w)
	w.Close()
	if _, err := w.Next(t.Context(), make([]Event, 1)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if n, err := w.Next(t.Context(), nil); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestFakeRunFails(t *testing.T) { synctest.Test(t, fakeRunFails) }

func fakeRunFails(t *testing.T) {
	k := newFake()
	f, end := k.running(t, Config{})
	synctest.Wait()
	k.mu.Lock()
	k.tell(io.ErrUnexpectedEOF)
	k.mu.Unlock()
	synctest.Wait()
	if err := end(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if err := f.Run(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a second Run: %v", err)
	}
	_, end = k.running(t, Config{NetNS: "/nowhere"})
	synctest.Wait()
	if err := end(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Whatever we want, others do and the kernel refuses or forgets to say: when that is over,
// one Reconcile makes the table right, and what others have put there and nobody wants is
// still there.
func TestFakeRandom(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { fakeRandom(t, seed) })
	}
}

func fakeRandom(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	k := newFake()
	f, _ := k.running(t, Config{})
	link := ensure(t, f, vx100)
	vtep := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + r.IntN(3))}) }
	mac := func() MAC { return MAC{2, byte(1 + r.IntN(4))} }
	theirs := map[MAC]netip.Addr{}
	for range 60 {
		switch r.IntN(8) {
		case 0:
			f.SetFlood(link, []netip.Addr{vtep(), vtep()}[:r.IntN(3)])
		case 1, 2:
			f.SetMAC(link, mac(), vtep())
		case 3:
			f.DeleteMAC(link, mac())
		case 4:
			k.refuse, k.lost = map[MAC]unix.Errno{mac(): unix.EPERM}, r.IntN(2)
			_, _ = f.Flush(t.Context())
			k.refuse, k.lost = map[MAC]unix.Errno{}, 0
		case 5:
			_, _ = f.Reconcile(t.Context())
		case 6: // others delete what is there
			if l := k.link("vx100"); len(l.entries) > 0 {
				e := l.entries[r.IntN(len(l.entries))].Entry
				k.by(t, "del", e, true)
				delete(theirs, e.MAC)
			}
		case 7:
			m := MAC{2, 9, byte(r.IntN(3))}
			theirs[m] = vtep()
			k.by(t, "replace", Entry{IfIndex: link, MAC: m, VTEP: theirs[m]}, false)
		}
	}
	if _, err := f.Reconcile(t.Context()); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	for _, e := range f.Entries(link) {
		if !k.has(e) {
			t.Fatalf("seed %d: %v is missing", seed, e)
		}
	}
	for m, v := range theirs {
		if !k.has(Entry{IfIndex: link, MAC: m, VTEP: v}) {
			t.Fatalf("seed %d: %v of another program is gone", seed, m)
		}
	}
	if n := len(k.link("vx100").entries); n != len(f.Entries(link))+len(theirs) {
		t.Fatalf("seed %d: %d entries, %d desired, %d of others", seed, n, len(f.Entries(link)), len(theirs))
	}
	reconcile(t, f, Result{Kept: len(f.Entries(link)), Foreign: len(theirs)})
}

// What was never notified is found by the audit and repaired; a notification that comes in time makes
// it no difference. Without a difference nothing is written.
func TestFakeAudit(t *testing.T) { synctest.Test(t, fakeAudit) }

func fakeAudit(t *testing.T) {
	k := newFake()
	f, end := k.running(t, Config{AuditRound: 10 * time.Second})
	link := ensure(t, f, vx100)
	a, m := addrOf("172.22.2.2"), MAC{0x50, 1}
	f.SetFlood(link, []netip.Addr{a})
	f.SetMAC(link, m, a)
	flush(t, f, Result{Added: 2})
	w := f.Watch()
	events(t, w)
	silently := func(change func(l *fakeLink)) {
		k.mu.Lock()
		defer k.mu.Unlock()
		change(k.byIndex(link))
	}
	without := func(mac MAC) func(*fakeLink) {
		return func(l *fakeLink) {
			l.entries = slices.DeleteFunc(l.entries, func(e fakeEntry) bool { return e.MAC == mac })
		}
	}
	sleep(35 * time.Second)
	if s := f.Stats(); s.AuditRounds != 3 || s.Differences != 0 {
		t.Errorf("%+v", s)
	}
	expect(t, w)
	silently(without(m))
	sleep(4950 * time.Millisecond) // it is read at 40 s
	expect(t, w)
	sleep(100 * time.Millisecond)
	expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 missing", "50:01:00:00:00:00 dev 2 dst 172.22.2.2 installed, repaired 1 times")
	// A notification that has not been read, whatever the time.
	sleep(10 * time.Second) // 50.05 s
	expect(t, w)
	k.stall(true)
	silently(without(m))
	k.mu.Lock()
	e := fakeEntry{Entry: Entry{IfIndex: link, MAC: m, VTEP: a}, flags: rtnl.NTF_EXT_LEARNED, state: rtnl.NUD_NOARP}
	for _, s := range k.sockets {
		if s.hears && !s.closed {
			s.add(e.message(rtnl.RTM_DELNEIGH, 0, 0))
		}
	}
	k.mu.Unlock()
	sleep(35 * time.Second) // 85.05 s
	expect(t, w)
	k.stall(false)
	sleep(200 * time.Millisecond)
	expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 installed, repaired 1 times")
	// Desired otherwise while it is suspected.
	k.stall(true)
	silently(without(m))
	sleep(10 * time.Second) // it is read at 90 s
	f.DeleteMAC(link, m)
	flush(t, f, Result{Deleted: 1})
	k.stall(false)
	sleep(time.Second)
	expect(t, w, "50:01:00:00:00:00 dev 2 removed")
	// More than wait for a reader.
	silently(func(l *fakeLink) {
		for i := range 2000 {
			l.entries = append(l.entries, fakeEntry{Entry: Entry{IfIndex: link, MAC: MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, VTEP: a}, flags: rtnl.NTF_EXT_LEARNED, state: rtnl.NUD_NOARP})
		}
	})
	sleep(15 * time.Second)
	differences := 0
	for _, e := range events(t, w) {
		if e.Kind == EventDifference && e.Op == "extra" {
			differences++
		}
	}
	if n := len(k.link("vx100").entries); differences != 1024 || f.Stats().Differences != 2001 || n != 1 {
		t.Errorf("%d told, %+v, %d entries", differences, f.Stats(), n)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if _, err := New(Config{AuditRound: -1}); err != nil {
		t.Error(err)
	}
}

// An entry that another program deletes again and again, with a notification each time, is no difference while its
// repair is delayed: it is known to be missing.
func TestFakeAuditContended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFake()
		f, _ := k.running(t, Config{AuditRound: time.Second})
		e := Entry{IfIndex: ensure(t, f, vx100), MAC: MAC{0x50, 1}, VTEP: addrOf("172.22.2.2")}
		f.SetMAC(e.IfIndex, e.MAC, e.VTEP)
		flush(t, f, Result{Added: 1})
		w := f.Watch()
		events(t, w)
		for range 60 {
			if k.has(e) {
				k.by(t, "del", e, true)
			}
			sleep(500 * time.Millisecond)
		}
		expect(t, w, "50:01:00:00:00:00 dev 2 dst 172.22.2.2 pending, repaired 18 times, contended")
		if s := f.Stats(); s.Differences > 0 || s.AuditRounds < 25 {
			t.Errorf("%+v", s)
		}
	})
}

// What another program changes while a comparison reads, behind where that is, is repaired by the next one.
func TestFakeChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFake()
		f, _ := k.running(t, Config{AuditRound: -1})
		one := Entry{IfIndex: ensure(t, f, vx100), MAC: MAC{0x50, 1}, VTEP: addrOf("172.22.2.2")}
		two := one
		two.MAC[1] = 2
		f.SetMAC(one.IfIndex, one.MAC, one.VTEP)
		f.SetMAC(two.IfIndex, two.MAC, two.VTEP)
		flush(t, f, Result{Added: 2})
		k.by(t, "del", one, true)
		k.mu.Lock()
		k.done[rtnl.RTM_GETNEIGH] = func() {
			k.by(t, "del", two, true)
			sleep(time.Millisecond) // it is notified
		}
		k.mu.Unlock()
		sleep(time.Second)
		if !k.has(one) || !k.has(two) {
			t.Errorf("%+v", k.link("vx100").entries)
		}
	})
}

// A repair counts, also if the kernel's notification of it is read before its answer.
func TestFakeRepairNotified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFake()
		f, _ := k.running(t, Config{AuditRound: -1})
		one := Entry{IfIndex: ensure(t, f, vx100), MAC: MAC{0x50, 1}, VTEP: addrOf("172.22.2.2")}
		f.SetMAC(one.IfIndex, one.MAC, one.VTEP)
		flush(t, f, Result{Added: 1})
		w := f.Watch()
		defer w.Close()
		k.mu.Lock()
		k.done[rtnl.RTM_NEWNEIGH] = func() { sleep(time.Millisecond) }
		k.mu.Unlock()
		k.by(t, "del", one, true)
		sleep(time.Second)
		if got := events(t, w); !slices.ContainsFunc(got, func(e Event) bool { return e.Repairs == 1 }) {
			t.Errorf("%+v", got)
		}
	})
}
