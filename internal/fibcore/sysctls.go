package fibcore

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
)

// sysctls are desired values below /proc/sys, in groups: all values of one interface
// are compared and written together, so that a thousand guests are complete one after
// the other and not all of them last. Groups are due in the order in which they came up.
type sysctls struct {
	all    map[string]*sysctl      // by path
	groups map[string]*sysctlGroup // by interface; "": general ones, which come first
	queue  []*sysctlGroup          // with something due, without the general one
	failed map[*sysctl]*failure    // to be tried again
	brakes brake.Table[*sysctl]
	audits []string // interfaces whose values this round of audits has still to compare
}

type sysctl struct {
	Sysctl
	group *sysctlGroup
	dirty bool // to be compared
	set   bool // was written or seen right before: a difference is a repair
}

type sysctlGroup struct {
	members []*sysctl // in the order of writing
	queued  bool
}

func (t *sysctls) init() {
	t.all, t.groups = map[string]*sysctl{}, map[string]*sysctlGroup{"": {}}
	t.failed, t.brakes = map[*sysctl]*failure{}, brake.Table[*sysctl]{}
}

func checkSysctl(s Sysctl) error {
	if !strings.HasPrefix(s.Path, "net/") || path.Clean(s.Path) != s.Path || s.Value == "" {
		return &Error{Op: "set", Key: s, Err: ErrInvalid, Text: "a clean path below net/ and a value"}
	}
	return nil
}

// sysctlLink is the interface that p belongs to; "" if p is general: it may set others,
// and is written first.
func sysctlLink(p string) string {
	parts := strings.Split(p, "/") // net/ipv4/conf/vm1/proxy_arp
	if len(parts) != 5 || parts[2] != "conf" && parts[2] != "neigh" {
		return ""
	}
	if name := parts[3]; name != "all" && name != "default" {
		return name
	}
	return ""
}

// before is the order within a group: how a question is answered (neigh: the delay)
// stands before it is answered at all (conf: proxy_arp), and otherwise by path.
func (s *sysctl) before(o *sysctl) int {
	rank := func(s *sysctl) int {
		if strings.Contains(s.Path, "/neigh/") {
			return 0
		}
		return 1
	}
	return cmp.Or(rank(s)-rank(o), strings.Compare(s.Path, o.Path))
}

func (t *sysctls) set(w Sysctl) {
	s := t.all[w.Path]
	switch {
	case s == nil:
		s = t.add(w)
	case s.Value == w.Value:
		return
	}
	s.Value, s.set = w.Value, false
	delete(t.failed, s)
	t.due(s)
}

func (t *sysctls) add(w Sysctl) *sysctl {
	name := sysctlLink(w.Path)
	g := t.groups[name]
	if g == nil {
		g = &sysctlGroup{}
		t.groups[name] = g
	}
	s := &sysctl{Sysctl: w, group: g}
	t.all[w.Path] = s
	at, _ := slices.BinarySearchFunc(g.members, s, (*sysctl).before)
	g.members = slices.Insert(g.members, at, s)
	return s
}

// forget takes set back, and returns the directory of which nothing is desired any more,
// or "".
func (t *sysctls) forget(p string) (dir string) {
	s := t.all[p]
	if s == nil {
		return ""
	}
	delete(t.all, p)
	delete(t.failed, s)
	delete(t.brakes, s)
	s.dirty = false
	s.group.members = slices.DeleteFunc(s.group.members, func(m *sysctl) bool { return m == s })
	if name := sysctlLink(p); name != "" && len(s.group.members) == 0 {
		delete(t.groups, name)
	}
	dir = path.Dir(p)
	if slices.ContainsFunc(s.group.members, func(m *sysctl) bool { return path.Dir(m.Path) == dir }) {
		return ""
	}
	return dir
}

// due makes s be compared, now or when its time has come.
func (t *sysctls) due(s *sysctl) {
	s.dirty = true
	if t.waits(s) || s.group.queued {
		return
	}
	s.group.queued = true
	if s.group != t.groups[""] {
		t.queue = append(t.queue, s.group)
	}
}

// waits reports whether s may not be written yet.
func (t *sysctls) waits(s *sysctl) bool {
	f, b := t.failed[s], t.brakes[s]
	return f != nil && !f.next.IsZero() || b != nil && !b.Next.IsZero()
}

// touchPath makes one path be compared again, if it is ours.
func (t *sysctls) touchPath(p string) {
	if s := t.all[p]; s != nil {
		t.due(s)
	}
}

// touchLink makes the values of an interface that is new be compared: its first values
// are no repair.
func (t *sysctls) touchLink(name string) {
	if g := t.groups[name]; g != nil && name != "" {
		for _, s := range g.members {
			s.set = false
			t.due(s)
		}
	}
}

// touchFamily makes the values below net/FAMILY be compared again: the kernel has
// changed some of them for a change of another, as it does for ip_forward and
// conf/all.
func (t *sysctls) touchFamily(family string) {
	for p, s := range t.all {
		if strings.HasPrefix(p, "net/"+family+"/") {
			t.due(s)
		}
	}
}

// auditLinks bounds the interfaces that one audit compares, so that what it costs does not
// depend on how many there are: a value takes 5 us, an interface has some ten.
const auditLinks = 32

// audit makes general values be compared, and those of the interfaces whose turn it is.
func (t *sysctls) audit() {
	for _, s := range t.groups[""].members {
		t.due(s)
	}
	if len(t.audits) == 0 {
		t.audits = slices.DeleteFunc(slices.Sorted(maps.Keys(t.groups)), func(name string) bool { return name == "" })
	}
	n := min(len(t.audits), auditLinks)
	for _, name := range t.audits[:n] {
		if g := t.groups[name]; g != nil { // nil: gone since the round began
			for _, s := range g.members {
				t.due(s)
			}
		}
	}
	t.audits = t.audits[n:]
}

// sysctlBatch bounds the comparisons in one turn, which take some 10 us each, to which a
// group is added: a failover must not wait for a thousand guests.
const sysctlBatch = 48

// take returns what is to be compared and written now, general ones first.
func (t *sysctls) take() (todo []Sysctl) {
	if g := t.groups[""]; g.queued {
		todo = t.drain(g, todo)
	}
	for len(t.queue) > 0 && len(todo) < sysctlBatch {
		g := t.queue[0]
		t.queue = t.queue[1:]
		todo = t.drain(g, todo)
	}
	return todo
}

func (t *sysctls) drain(g *sysctlGroup, todo []Sysctl) []Sysctl {
	g.queued = false
	for _, s := range g.members {
		if s.dirty && !t.waits(s) {
			s.dirty = false
			todo = append(todo, s.Sysctl)
		}
	}
	return todo
}

// commit takes the outcome of one sysctl in. A path that does not exist is
// waited for without a word.
func (t *sysctls) commit(done Sysctl, written bool, err error, now time.Time, wake func(time.Time)) (report *Error, repaired, contended bool) {
	s := t.all[done.Path]
	if s == nil || s.Value != done.Value {
		return nil, false, false
	}
	if err == nil {
		if written && sysctlLink(s.Path) == "" {
			t.touchFamily(strings.SplitN(s.Path, "/", 3)[1])
		}
		repaired = written && s.set
		s.set = true
		delete(t.failed, s)
		if repaired {
			b := t.brakes.Of(s)
			if contended = b.Repaired(now); !b.Next.IsZero() {
				wake(b.Next)
			}
		}
		return nil, repaired, contended
	}
	f := t.failed[s]
	if f == nil {
		f = &failure{}
		t.failed[s] = f
	}
	if f.err == nil && !errors.Is(err, fs.ErrNotExist) {
		report = &Error{Op: "set", Key: done, Err: err}
	}
	f.err = &Error{Op: "set", Key: done, Err: err}
	f.step = backoff(f.step)
	f.next = now.Add(f.step)
	s.dirty = true
	wake(f.next)
	return report, false, false
}

func (t *sysctls) retry(now time.Time, all bool, wake func(time.Time)) {
	for s, f := range t.failed {
		if all || !now.Before(f.next) {
			f.next = time.Time{}
			t.due(s)
		} else {
			wake(f.next)
		}
	}
	for s, b := range t.brakes {
		switch {
		case b.Next.IsZero():
		case now.Before(b.Next):
			wake(b.Next)
		default:
			b.Next = time.Time{}
			if s.dirty {
				t.due(s)
			}
		}
	}
	t.brakes.Trim(now)
}

func (t *sysctls) pending() bool { return len(t.queue) > 0 || t.groups[""].queued }
