package daemon

import (
	"log/slog"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/rate"
)

// foundLog says who has been found on the interfaces of neighbours without an address, and who is given up. It bounds
// how many lines a second each interface has: somebody who advertises himself as one router after another is one fact.
// It is used on the event loop.
type foundLog struct {
	log   *slog.Logger
	lines map[foundOn]*foundLines // of interfaces that have said something
}

// foundOn is an interface, by the domain that it is an uplink of.
type foundOn struct{ domain, name string }

type foundLines struct {
	bucket rate.Bucket
	folded int // since the last line
}

// Lines of an interface: so many at once, and so many a second. All routers of a link that come back after a power cut
// have one each.
const (
	foundAtOnce = 32
	foundRate   = 0.2
)

// changed logs the difference between two configurations.
func (f *foundLog) changed(old, new *config.Config, now time.Time) {
	for i, d := range new.Domains {
		was := old.Domains[i].Found
		for _, one := range d.Found {
			if !slices.Contains(was, one) {
				f.found(now, d.Name, one)
			}
		}
		for _, one := range was {
			if !slices.Contains(d.Found, one) {
				f.givenUp(now, d.Name, one)
			}
		}
	}
}

func (f *foundLog) found(now time.Time, domain string, one config.Found) {
	folded, ok := f.take(now, domain, one.Interface)
	if !ok {
		return
	}
	more := []any{"event", "neighbour-found", "domain", domain, "interface", one.Interface, "peer", one.Address}
	if folded > 0 {
		more = append(more, "folded", folded)
	}
	f.log.Info("neighbour found", more...)
}

func (f *foundLog) givenUp(now time.Time, domain string, one config.Found) {
	folded, ok := f.take(now, domain, one.Interface)
	if !ok {
		return
	}
	more := []any{"event", "neighbour-given-up", "domain", domain, "interface", one.Interface, "peer", one.Address}
	if folded > 0 {
		more = append(more, "folded", folded)
	}
	f.log.Info("neighbour given up", more...)
}

// take reports whether an interface may have a line now, and how many it did not have since its last one.
func (f *foundLog) take(now time.Time, domain, name string) (folded int, ok bool) {
	key := foundOn{domain, name}
	l := f.lines[key]
	if l == nil {
		l = &foundLines{bucket: rate.Bucket{Rate: foundRate, Size: foundAtOnce}}
		if f.lines == nil {
			f.lines = map[foundOn]*foundLines{}
		}
		f.lines[key] = l
	}
	if !l.bucket.Take(now) {
		if l.folded++; l.folded == 1 {
			f.log.Warn("neighbours come and go on an interface: they are counted from now on, and few are logged", "event", "neighbours-folded", "domain", domain, "interface", name)
		}
		return 0, false
	}
	folded, l.folded = l.folded, 0
	return folded, true
}
