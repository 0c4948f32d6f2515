package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Of a file with more mistakes than anybody reads, the first are named and the others counted, in memory of the file's order.
func TestMostErrors(t *testing.T) {
	sample, err := os.ReadFile("../hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(sample), "\nguests:")
	const aliases = 20000
	for _, c := range []struct {
		what, text string
		count      int
	}{
		{"one guest many times", head + "\nguests:\n- &g {name: vmx, interface: vmx, ipv4: [203.0.113.77]}\n" + strings.Repeat("- *g\n", aliases), 3 * aliases},
		{"old names", "x:\n" + strings.Repeat("- {isolation: mark}\n", aliases), aliases},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse("f", []byte(c.text), nil)
		runtime.ReadMemStats(&after)
		var list Errors
		if !errors.As(err, &list) || len(list) != mostErrors+1 || list.Count() != c.count {
			t.Fatalf("%s: %d mistakes named, %d counted, want %d: %.300v", c.what, len(list), list.Count(), c.count, err)
		}
		if last := list[mostErrors].Error(); last != fmt.Sprintf("f: and %d more mistakes", c.count-mostErrors) {
			t.Errorf("%s: the last is %s", c.what, last)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1500*uint64(len(c.text)) {
			t.Errorf("%s: %d MiB for %d KiB", c.what, took>>20, len(c.text)>>10)
		}
	}
}

// What may be meant does not hide what may not, of one guest.
func TestMostProblems(t *testing.T) {
	var p problems
	k := &checker{problems: &p}
	for i := range mostErrors + 5 {
		k.odd(fmt.Sprintf(".ipv6[%d]", i), "wide")
	}
	k.bad(".mac", "taken")
	if got := p.of(Guest{}); len(got) != mostErrors+2 || got[mostErrors].Msg != "taken" || got[mostErrors+1] != (Problem{Msg: "and 5 more mistakes", Odd: true, More: 5}) {
		t.Errorf("%+v", got)
	}
	if got := p.of(Guest{Force: true}); len(got) != 1 || got[0].Msg != "taken" {
		t.Errorf("forced: %+v", got)
	}
}

// The mistakes of one guest that are not named are counted with those of the file, and where the guest comes from elsewhere.
func TestMostOfOneGuest(t *testing.T) {
	sample, err := os.ReadFile("../hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(sample), "\nguests:")
	for _, n := range []int{mostErrors + 1, mostErrors + 20} {
		var addrs []string
		for i := range n {
			addrs = append(addrs, fmt.Sprintf("224.0.0.%d", 1+i))
		}
		guest := "{name: vmx, interface: vmx, ipv4: [" + strings.Join(addrs, ", ") + "]}\n"
		last := fmt.Sprintf("and %d more mistakes", n-mostErrors)
		if n == mostErrors+1 {
			last = "and 1 more mistake"
		}
		_, err := Parse("f", []byte(head+"\nguests:\n- "+guest), nil)
		var list Errors
		if !errors.As(err, &list) || list.Count() != n || len(list) != mostErrors+1 || list[mostErrors].Error() != "f: "+last {
			t.Errorf("a file: %d mistakes, want %d: %v", list.Count(), n, err)
		}
		entries, err := ParseGuests("g", []byte(guest))
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse("f", sample, nil)
		if err != nil {
			t.Fatal(err)
		}
		list = entries[0].Errors(c.Admission(Host{}).Check(entries[0].Guest))
		if list.Count() != n || len(list) != mostErrors+1 || !strings.HasSuffix(list[mostErrors].Error(), last) {
			t.Errorf("a guest: %d mistakes, want %d: %v", list.Count(), n, list)
		}
	}
}

// Of many files that may not be read, a list that is cut is still about nothing else.
func TestForbiddenCut(t *testing.T) {
	var m mistakes
	fill := func(err error) {
		if !m.full(err) {
			m.list = append(m.list, &Error{Line: 1, Err: err})
		}
	}
	for range mostErrors + 3 {
		fill(&fs.PathError{Op: "open", Path: filepath.Join("a", "b"), Err: fs.ErrPermission})
	}
	if list := m.sorted("f"); !list.Forbidden() || list.Count() != mostErrors+3 {
		t.Errorf("%v", list)
	}
	fill(nil)
	if m.sorted("f").Forbidden() {
		t.Error("a mistake that is only counted is forgotten")
	}
}

// A byte order mark at the start of a file is none of its text.
func TestByteOrderMark(t *testing.T) {
	sample, err := os.ReadFile("../hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := byteOrderMark + string(sample)
	c, err := Parse("f", []byte(text), nil)
	if err != nil || c.Text() != text {
		t.Fatal(err)
	}
	if _, err := Parse("f", []byte(byteOrderMark+"nonsense: 1\n"), nil); err == nil || err.Error() != `f:1:1: unknown field "nonsense"` {
		t.Error(err)
	}
}

// A copy of claims and its original do not share what each adds to a list.
func TestClaimsCloneApart(t *testing.T) {
	shared := Prefix{Prefix: netip.MustParsePrefix("192.0.2.0/24")}
	guest := func(i int) Guest {
		return Guest{Name: fmt.Sprint(i), Interface: fmt.Sprint(i), Routed: []Prefix{shared}}
	}
	var a Claims
	for i := range 5 {
		a.Add(guest(i), fmt.Sprint(i))
	}
	b := a.Clone()
	a.Add(guest(6), "a6")
	b.Add(guest(7), "b7")
	a.Add(guest(8), "a8")
	if got := fmt.Sprint(a.routed[shared.Prefix], b.routed[shared.Prefix]); got != "[0 1 2 3 4 a6 a8] [0 1 2 3 4 b7]" {
		t.Error(got)
	}
}
