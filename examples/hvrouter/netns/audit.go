package netns

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/rate"
	"github.com/hyperfib/hyperfib/vxlan"
)

// audit counts what other programs have changed of what is ours and was repaired, and bounds how
// many lines a second tell of it: a script that flushes a table of thousands of guests is one
// mistake. The counts are always right. It is used on the goroutine that owns the namespace.
type audit struct {
	log    *slog.Logger
	bucket rate.Bucket
	folded int // repairs since the last line that have none of their own
	// repairs and contended count by the kind of object.
	repairs, contended map[string]uint64
	// differences counts what the kernel's audit has found, by the kind of object; differed is when
	// the newest were found.
	differences map[string]uint64
	differed    map[string]time.Time
	// fights are when others last undid each repair of an object, the newest of them.
	fights map[string]time.Time
}

// Lines about repairs: so many at once, and so many a second.
const (
	repairLines     = 50
	repairLinesRate = 2
)

func newAudit(log *slog.Logger) *audit {
	return &audit{log: log, bucket: rate.Bucket{Rate: repairLinesRate, Size: repairLines}, repairs: map[string]uint64{}, contended: map[string]uint64{}, fights: map[string]time.Time{},
		differences: map[string]uint64{}, differed: map[string]time.Time{}}
}

// repaired notes a repair of an object; link is the interface that it is about, "" if it is about
// none.
func (a *audit) repaired(kind, op, key, link string, now time.Time) {
	a.repairs[kind]++
	if !a.bucket.Take(now) {
		if a.folded++; a.folded == 1 {
			a.log.Warn("repairs of foreign changes are counted from now on, and few are logged", "event", "repairs-folded")
		}
		return
	}
	more := []any{"event", "repair", "op", op, "key", key}
	if link != "" {
		more = append(more, "interface", link)
	}
	if a.folded > 0 {
		more = append(more, "folded", a.folded)
	}
	a.folded = 0
	a.log.Warn("repaired a foreign change", more...)
}

// fought notes that another program undoes each repair of an object.
func (a *audit) fought(kind, key string, now time.Time) {
	a.contended[kind]++
	remember(a.fights, key, now)
	if a.bucket.Take(now) {
		a.log.Warn("another program undoes each repair: repairs are delayed", "event", "contended", "key", key)
	}
}

// differs notes what the kernel's audit has found, and no notification had told.
func (a *audit) differs(kind, op, key string, now time.Time) {
	a.differences[kind]++
	remember(a.differed, op+" "+key, now)
	if !a.bucket.Take(now) {
		if a.folded++; a.folded == 1 {
			a.log.Warn("repairs of foreign changes are counted from now on, and few are logged", "event", "repairs-folded")
		}
		return
	}
	a.log.Warn("the kernel differs from what it has notified", "event", "difference", "op", op, "key", key)
}

// mostRemembered bounds how many objects are remembered.
const mostRemembered = 32

// remember notes the time of something, in place of the oldest if there are many.
func remember(list map[string]time.Time, key string, now time.Time) {
	list[key] = now
	if len(list) <= mostRemembered {
		return
	}
	oldest := key
	for k, at := range list {
		if at.Before(list[oldest]) {
			oldest = k
		}
	}
	delete(list, oldest)
}

// Repaired takes the kernel's events EventRepair and EventContended.
func (n *Namespace) Repaired(e fib.Event, now time.Time) {
	key := ""
	if e.Key != nil {
		key = e.Key.String()
	}
	if e.Kind == fib.EventContended {
		n.audit.fought(kindOf(e.Key), key, now)
		return
	}
	n.audit.repaired(kindOf(e.Key), e.Op, key, n.linkOf(e.Key), now)
}

// Differed takes the kernel's event EventDifference.
func (n *Namespace) Differed(e fib.Event, now time.Time) {
	if e.Key == nil {
		n.audit.differs("interface", e.Op, "interface "+e.Link.Interface, now)
		return
	}
	key := e.Key.String()
	if link := n.linkOf(e.Key); link != "" {
		key += " (" + link + ")"
	}
	n.audit.differs(kindOf(e.Key), e.Op, key, now)
}

// EntryDiffers takes a forwarding entry of an overlay that differs from what was known.
func (n *Namespace) EntryDiffers(e vxlan.Event, now time.Time) {
	name, _ := n.links.Name(e.Entry.IfIndex)
	n.audit.differs("forwarding", e.Op, fmt.Sprintf("forwarding entry %v of %s to %v", e.Entry.MAC, cmp.Or(name, "an overlay"), e.Entry.VTEP), now)
}

// OverlayRepaired takes what was put back of an overlay, and the difference if the audit has found it.
func (n *Namespace) OverlayRepaired(kind, op, difference, key, link string, contended bool, now time.Time) {
	if difference != "" {
		n.audit.differs(kind, difference, key, now)
	}
	if n.audit.repaired(kind, op, key, link, now); contended {
		n.audit.fought(kind, key, now)
	}
}

// Differences returns how many objects of each kind the kernel's audit has found to differ from what
// was notified, and those found since a time.
func (n *Namespace) Differences(since time.Time) (counts map[string]uint64, list []string) {
	return maps.Clone(n.audit.differences), newer(n.audit.differed, since)
}

// newer returns what was noted since a time, sorted.
func newer(list map[string]time.Time, since time.Time) (keys []string) {
	for k, at := range list {
		if !at.Before(since) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// linkOf returns the name of the interface that an object is on, "" if it is on none or that is
// part of its key.
func (n *Namespace) linkOf(k fib.Key) (name string) {
	switch k := k.(type) {
	case fib.Neighbor:
		name, _ = n.links.Name(k.IfIndex)
	case fib.Address:
		name, _ = n.links.Name(k.IfIndex)
	}
	return name
}

// Repairs returns how many objects of each kind were repaired, and at how many others undid each
// repair. The kinds are route, rule, next-hop, neighbour, address, sysctl, firewall, forwarding and overlay.
func (n *Namespace) Repairs() (repairs, contended map[string]uint64) {
	return maps.Clone(n.audit.repairs), maps.Clone(n.audit.contended)
}

// kindOf names the kind of an object.
func kindOf(k fib.Key) string {
	switch k.(type) {
	case fib.RouteKey:
		return "route"
	case fib.Rule:
		return "rule"
	case fib.NextHopID:
		return "next-hop"
	case fib.Neighbor:
		return "neighbour"
	case fib.Address:
		return "address"
	case fib.Sysctl:
		return "sysctl"
	}
	return "other"
}
