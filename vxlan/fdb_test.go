package vxlan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// The shell over a model of the kernel; what Linux itself does is in *_linux_test.go.

func TestFakeEnsure(t *testing.T) {
	k := newFake()
	f := k.fdb(t, Config{})
	d := vx100
	d.Bridge, d.MTU, d.MAC = k.other("br100", "bridge"), 1450, macOf(t, "02:00:00:00:01:00")
	k.other("other", "bridge")
	link := ensure(t, f, d)
	same := func(what string, want int, changed bool) {
		t.Helper()
		if got, c, err := f.Ensure(d); err != nil || c != changed || want != 0 && got != want {
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
		again, changed, err := f.Ensure(d)
		if again == link || !changed || err != nil {
			t.Errorf("%s: link %d, changed %v, %v", what, again, changed, err)
		}
		link = again
		same(what, link, false)
	}
	bad := d
	bad.Interface = "other"
	if _, _, err := f.Ensure(bad); !errors.Is(err, ErrForeign) {
		t.Errorf("a bridge in the way: %v", err)
	}
	if err := f.RemoveDevice("other"); !errors.Is(err, ErrForeign) {
		t.Errorf("a bridge in the way: %v", err)
	}
	bad.Interface = ""
	if _, _, err := f.Ensure(bad); err == nil {
		t.Error("no name")
	}
	bad = d
	bad.Interface = "vx2" // the same VNI and port
	var e *Error
	if _, changed, err := f.Ensure(bad); !changed || !errors.Is(err, unix.EEXIST) || !errors.As(err, &e) || !strings.HasPrefix(e.Text, "A VXLAN device") {
		t.Error(err)
	}
	bad.VNI, bad.Bridge = 9, 9999
	if _, _, err := f.Ensure(bad); !errors.As(err, &e) || e.Op != "create device" || e.Text != "Master device does not exist" {
		t.Error(err)
	}
	for range 2 {
		if err := f.RemoveDevice("vx100"); err != nil || k.link("vx100") != nil {
			t.Error(err)
		}
	}
	for _, do := range []func() error{
		func() error { _, _, err := f.Ensure(d); return err }, func() error { return f.RemoveDevice("vx100") },
	} {
		k.broken = io.ErrUnexpectedEOF
		if err := do(); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &e) || e.Op != "look up device" {
			t.Error(err)
		}
	}
}

func TestFakeUnderlay(t *testing.T) {
	dir := t.TempDir()
	guest, wire := filepath.Join(dir, "guest"), filepath.Join(dir, "wire")
	for _, p := range []string{guest, wire} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := newFake()
	f := k.fdb(t, Config{NetNS: guest, Underlay: wire})
	link := ensure(t, f, vx100)
	if k.link("vx100").linkNSID != 7 {
		t.Errorf("%+v", k.link("vx100"))
	}
	if again, changed, err := f.Ensure(vx100); again != link || changed || err != nil {
		t.Errorf("the same again: %d, %v, %v", again, changed, err)
	}
	near := k.fdb(t, Config{NetNS: guest})
	if again, changed, err := near.Ensure(vx100); again == link || !changed || err != nil || k.link("vx100").linkNSID != noNSID {
		t.Errorf("another underlay: %d, %v, %v", again, changed, err)
	}
	if again, changed, err := f.Ensure(vx100); again == link || !changed || err != nil || k.link("vx100").linkNSID != 7 {
		t.Errorf("back: %d, %v, %v", again, changed, err)
	}
	for _, cfg := range []Config{{NetNS: filepath.Join(dir, "no"), Underlay: wire}, {NetNS: guest, Underlay: "nowhere"}, {Underlay: filepath.Join(dir, "no")}} {
		if _, _, err := newFake().fdb(t, cfg).Ensure(vx100); err == nil && cfg.NetNS != "" {
			t.Errorf("%+v: no error", cfg)
		}
		if _, _, err := k.fdb(t, cfg).Ensure(vx100); cfg.Underlay != wire && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if _, err := newFDB(Config{NetNS: "nowhere"}, k.open); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, b := range [][]byte{nil, {0, 0, 0, 0, 3, 0, 1, 0}} {
		if _, err := parseNSID(b); !errors.Is(err, rtnl.ErrMalformed) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func TestFakeForwarding(t *testing.T) {
	k := newFake()
	f := k.fdb(t, Config{})
	link := ensure(t, f, vx100)
	a, b, c := addrOf("172.22.2.2"), addrOf("172.22.2.3"), addrOf("172.22.2.4")
	m1, m2, his := MAC{0x50, 1}, MAC{0x50, 2}, MAC{0x50, 9}
	f.SetFlood(link, []netip.Addr{a, b, {}, addrOf("::ffff:172.22.2.2")})
	f.SetMAC(link, m1, a)
	f.SetMAC(link, m2, b)
	f.SetMAC(link, MAC{1}, b)         // a group's: ignored
	f.SetMAC(link, his, netip.Addr{}) // nowhere: ignored
	flush(t, f, Result{Added: 4})
	flush(t, f, Result{})
	reconcile(t, f, Result{Kept: 4})
	f.SetMAC(link, m1, b) // moves
	f.DeleteMAC(link, m2)
	f.DeleteMAC(link, his)
	f.SetFlood(link, []netip.Addr{b, c})
	flush(t, f, Result{Added: 1, Replaced: 1, Deleted: 2})
	reconcile(t, f, Result{Kept: 3})

	k.by(t, "add", Entry{link, his, a}, false)
	reconcile(t, f, Result{Kept: 3, Foreign: 1})
	f.SetMAC(link, his, b)
	for range 2 { // what is in the way is known from the dump
		if _, err := f.Reconcile(); !errors.Is(err, ErrForeign) {
			t.Error(err)
		}
	}
	f.DeleteMAC(link, his)
	reconcile(t, f, Result{Kept: 3, Foreign: 1})
	late := MAC{0x50, 8}
	k.by(t, "add", Entry{link, late, a}, false)
	f.SetMAC(link, late, b)
	if _, err := f.Flush(); !errors.Is(err, ErrForeign) || !errors.Is(err, unix.EEXIST) {
		t.Errorf("it came in since the last look: %v", err)
	}
	f.DeleteMAC(link, late)
	// By hand in our flood list: what we have written there counts as ours.
	k.by(t, "add", Entry{link, MAC{}, addrOf("172.22.2.8")}, false)
	reconcile(t, f, Result{Kept: 3, Foreign: 3})
	f.SetFlood(link, []netip.Addr{b})
	flush(t, f, Result{Deleted: 1})
	k.by(t, "del", Entry{link, MAC{}, b}, true)
	k.by(t, "del", Entry{link, m1, b}, true)
	reconcile(t, f, Result{Added: 2, Foreign: 3})
	// What is to be deleted is gone already.
	k.by(t, "del", Entry{link, m1, b}, true)
	f.DeleteMAC(link, m1)
	flush(t, f, Result{Deleted: 1})

	got := f.Entries(link)
	if len(got) != 1 || got[0] != (Entry{link, MAC{}, b}) || f.Entries(99) != nil {
		t.Errorf("%v", got)
	}
	k.interrupted = 2
	reconcile(t, f, Result{Kept: 1, Foreign: 3})
	k.interrupted = passes
	if _, err := f.Reconcile(); !errors.Is(err, rtnl.ErrInterrupted) {
		t.Error(err)
	}
	if err := f.RemoveDevice("vx100"); err != nil {
		t.Error(err)
	}
	f.SetMAC(link, m1, a)
	var e *Error
	if _, err := f.Reconcile(); !errors.Is(err, unix.ENODEV) || !errors.As(err, &e) || e.Op != "dump" || e.Entry.IfIndex != link {
		t.Error(err)
	}
	f.Forget(link)
	reconcile(t, f, Result{})
}

// A new process finds what the old one has left.
func TestFakeRestart(t *testing.T) {
	k := newFake()
	f := k.fdb(t, Config{})
	link := ensure(t, f, vx100)
	a, b := addrOf("172.22.2.2"), addrOf("172.22.2.3")
	f.SetFlood(link, []netip.Addr{a, b})
	f.SetMAC(link, MAC{2, 1}, a)
	f.SetMAC(link, MAC{2, 2}, b)
	flush(t, f, Result{Added: 4})
	f.Close()
	if _, err := f.Reconcile(); err == nil {
		t.Error("no error after Close")
	}
	g := k.fdb(t, Config{})
	g.SetFlood(link, []netip.Addr{a})
	g.SetMAC(link, MAC{2, 1}, a)
	flush(t, g, Result{Kept: 2, Deleted: 2})
	reconcile(t, g, Result{Kept: 2})
}

// Each entry that the kernel refuses is reported, with its words, and tried again by the
// next Reconcile; one whose answer is lost, or that the socket failed with, is looked for.
func TestFakeErrors(t *testing.T) {
	k := newFake()
	f := k.fdb(t, Config{})
	link := ensure(t, f, vx100)
	flush(t, f, Result{})
	want := map[Entry]bool{}
	for i := range 450 {
		e := Entry{link, MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, addrOf("172.22.2.2")}
		f.SetMAC(link, e.MAC, e.VTEP)
		if i%3 == 0 {
			k.refuse[e.MAC] = unix.EPERM
		}
		want[e] = true
	}
	r, err := f.Flush()
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
		e := Entry{link, MAC{2, byte(1 + i)}, addrOf("172.22.2.3")}
		f.SetMAC(link, e.MAC, e.VTEP)
		want[e] = true
	}
	if r, err := f.Flush(); !errors.Is(err, rtnl.ErrLost) || r.Writes() != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	k.refuse = map[MAC]unix.Errno{}
	flush(t, f, Result{Kept: 452, Added: 1})
	whole()
	// The socket fails in the second batch.
	for i := range 300 {
		e := Entry{link, MAC{4, 0, 0, 0, byte(i >> 8), byte(i)}, addrOf("172.22.2.2")}
		f.SetMAC(link, e.MAC, e.VTEP)
		want[e] = true
	}
	k.broken = io.ErrUnexpectedEOF
	if _, err := f.Flush(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	flush(t, f, Result{Kept: 453, Added: 300})
	whole()
}

// runs lets Run work under virtual time, and returns what it has reported so far, and its
// end.
func runs(t *testing.T, f *FDB) (report func() []string, end func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var mu sync.Mutex
	var got []string
	go func() {
		done <- f.Run(ctx, func(r Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, strings.TrimSpace(fmt.Sprintf("+%d ~%d -%d %v", r.Added, r.Replaced, r.Deleted, err)))
		})
	}()
	synctest.Wait()
	report = func() []string {
		mu.Lock()
		defer mu.Unlock()
		all := got
		got = nil
		return all
	}
	return report, func() error { cancel(); return <-done }
}

func TestFakeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFake()
		f := k.fdb(t, Config{})
		link := ensure(t, f, vx100)
		a, m := addrOf("172.22.2.2"), MAC{0x50, 1}
		f.SetFlood(link, []netip.Addr{a})
		f.SetMAC(link, m, a)
		flush(t, f, Result{Added: 2})
		report, end := runs(t, f)
		within := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := report(); strings.Join(got, "; ") != strings.Join(want, "; ") {
				t.Errorf("%q, want %q", got, want)
			}
		}
		within(time.Second) // nothing happens, nothing is done
		k.by(t, "add", Entry{link, MAC{2, 9}, a}, false)
		within(time.Second)
		k.by(t, "del", Entry{link, MAC{}, a}, true)
		k.by(t, "replace", Entry{link, m, addrOf("172.22.2.7")}, true)
		within(25*time.Millisecond, "+1 ~1 -0 <nil>")
		k.by(t, "del", Entry{link, m, a}, true)
		within(25*time.Millisecond, "+1 ~0 -0 <nil>")
		// Reports were lost: a look, and nothing to do.
		k.mu.Lock()
		k.sockets[len(k.sockets)-1].lost = 0
		for _, s := range k.sockets {
			if s.hears {
				s.add(unix.ENOBUFS)
			}
		}
		k.mu.Unlock()
		within(time.Second)
		if !k.has(Entry{link, MAC{}, a}) || !k.has(Entry{link, m, a}) || !k.has(Entry{link, MAC{2, 9}, a}) {
			t.Errorf("%+v", k.link("vx100").entries)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// Another program undoes each repair, and puts an entry of his in the way of another: both are
// fought for with growing delays, and each is reported as contended once.
func TestFakeRunContended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFake()
		f := k.fdb(t, Config{})
		link := ensure(t, f, vx100)
		a, m, x := addrOf("172.22.2.2"), MAC{0x50, 1}, MAC{0x50, 2}
		f.SetMAC(link, m, a)
		f.SetMAC(link, x, a)
		flush(t, f, Result{Added: 2})
		report, end := runs(t, f)
		k.by(t, "replace", Entry{link, x, addrOf("172.22.2.9")}, false)
		for range 400 { // two seconds
			if k.has(Entry{link, m, a}) {
				k.by(t, "del", Entry{link, m, a}, true)
			}
			time.Sleep(5 * time.Millisecond)
		}
		synctest.Wait()
		got := report()
		all := strings.Join(got, "\n")
		repairs, contended, foreign := strings.Count(all, "+1 ~0 -0"), strings.Count(all, ErrContended.Error()), strings.Count(all, ErrForeign.Error())
		if repairs < 12 || repairs > 15 || contended != 1 || foreign < 1 || foreign > 8 {
			t.Errorf("%d repairs, contended %d times, foreign %d times:\n%s", repairs, contended, foreign, all)
		}
		time.Sleep(5 * time.Second)
		if !k.has(Entry{link, m, a}) || !k.has(Entry{link, x, addrOf("172.22.2.9")}) {
			t.Errorf("%+v", k.link("vx100").entries)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// Close ends Run, whatever it waits for, and everything after that says so.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFake()
		f := k.fdb(t, Config{})
		done := make(chan error, 1)
		go func() { done <- f.Run(t.Context(), nil) }()
		synctest.Wait()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("Run: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("again: %v", err)
		}
		_, flushed := f.Flush()
		_, reconciled := f.Reconcile()
		_, _, ensured := f.Ensure(vx100)
		for what, err := range map[string]error{"Run": f.Run(t.Context(), nil), "Flush": flushed, "Reconcile": reconciled,
			"Ensure": ensured, "RemoveDevice": f.RemoveDevice("vx100")} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s after Close: %v", what, err)
			}
		}
	})
}

func TestFakeRunFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFake()
		f := k.fdb(t, Config{})
		_, end := runs(t, f)
		k.mu.Lock()
		for _, s := range k.sockets {
			if s.hears {
				s.add(io.ErrUnexpectedEOF)
			}
		}
		k.mu.Unlock()
		synctest.Wait()
		if err := end(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		if err := f.Run(t.Context(), nil); !errors.Is(err, ErrRunning) {
			t.Errorf("a second Run: %v", err)
		}
		g := k.fdb(t, Config{})
		g.netns = "nowhere"
		if err := g.Run(t.Context(), nil); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
}

// Whatever we want, others do and the kernel refuses or forgets to say: when that is over,
// one Reconcile makes the table right, and what others have put there and nobody wants is
// still there.
func TestFakeRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		k := newFake()
		f := k.fdb(t, Config{})
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
				_, _ = f.Flush()
				k.refuse, k.lost = map[MAC]unix.Errno{}, 0
			case 5:
				_, _ = f.Reconcile()
			case 6: // others delete what is there
				if l := k.link("vx100"); len(l.entries) > 0 {
					e := l.entries[r.IntN(len(l.entries))].Entry
					k.by(t, "del", e, true)
					delete(theirs, e.MAC)
				}
			case 7:
				m := MAC{2, 9, byte(r.IntN(3))}
				theirs[m] = vtep()
				k.by(t, "replace", Entry{link, m, theirs[m]}, false)
			}
		}
		if _, err := f.Reconcile(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, e := range f.Entries(link) {
			if !k.has(e) {
				t.Fatalf("seed %d: %v is missing", seed, e)
			}
		}
		for m, v := range theirs {
			if !k.has(Entry{link, m, v}) {
				t.Fatalf("seed %d: %v of another program is gone", seed, m)
			}
		}
		if n := len(k.link("vx100").entries); n != len(f.Entries(link))+len(theirs) {
			t.Fatalf("seed %d: %d entries, %d desired, %d of others", seed, n, len(f.Entries(link)), len(theirs))
		}
		reconcile(t, f, Result{Kept: len(f.Entries(link)), Foreign: len(theirs)})
	}
}
