package netns

import (
	"log/slog"
	"maps"
	"time"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/rate"
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
	// fights are when others last undid each repair of an object, the newest of them.
	fights map[string]time.Time
}

// Lines about repairs: so many at once, and so many a second.
const (
	repairLines     = 50
	repairLinesRate = 2
)

func newAudit(log *slog.Logger) *audit {
	return &audit{log: log, bucket: rate.Bucket{Rate: repairLinesRate, Size: repairLines}, repairs: map[string]uint64{}, contended: map[string]uint64{}, fights: map[string]time.Time{}}
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
	a.remember(key, now)
	if a.bucket.Take(now) {
		a.log.Warn("another program undoes each repair: repairs are delayed", "event", "contended", "key", key)
	}
}

// mostFights bounds how many objects are remembered.
const mostFights = 32

// remember notes the time of a fight, in place of the oldest if there are many.
func (a *audit) remember(key string, now time.Time) {
	a.fights[key] = now
	if len(a.fights) <= mostFights {
		return
	}
	oldest := key
	for k, at := range a.fights {
		if at.Before(a.fights[oldest]) {
			oldest = k
		}
	}
	delete(a.fights, oldest)
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
// repair. The kinds are route, rule, next-hop, neighbour, address, sysctl and firewall.
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
