package netns

import (
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/pace"
)

// shield is the firewall of a namespace as it was applied last.
type shield struct {
	log      *slog.Logger
	audit    *audit
	firewall Firewall       // nil: none
	applied  *firewall.Spec // nil: nothing has been applied yet
	stands   *firewall.Spec // what the kernel took last; nil: nothing in this run
	remove   bool           // the configuration wants none
	failed   error          // of the last write
}

// apply brings the firewall in line with a specification. One that is the same as before costs
// nothing: a guest that moves does not wait for a firewall of hundreds to be looked at.
func (s *shield) apply(c *config.Config, next firewall.Spec) {
	s.remove = withoutFirewall(c)
	if s.applied == nil || !reflect.DeepEqual(*s.applied, next) {
		s.applied = &next
		s.write()
	}
}

// withoutFirewall reports whether a configuration wants none, not even marks.
func withoutFirewall(c *config.Config) bool {
	return c.Firewall.Off && c.Isolation != config.IsolationFwmark
}

// repair applies the firewall as it was wanted last; one that stands as it should is not
// touched.
func (s *shield) repair() {
	if s.applied != nil {
		s.write()
	}
}

func (s *shield) write() {
	if s.firewall == nil {
		return
	}
	do := s.firewall.Apply
	if s.remove {
		do = s.firewall.End // one that stood before a reload
	}
	if s.failed = do(*s.applied); s.failed != nil {
		s.log.Error("firewall", "event", "firewall-error", "err", s.failed)
		return
	}
	s.stands = s.applied
}

// RepairTime is how often a firewall is looked at, should it be gone without an event, and the
// name of a namespace.
const RepairTime = 5 * time.Second

// The shortest and the longest time between two repairs, lest two programs that want different
// things occupy the machine. The longest is shorter than for a route: meanwhile guests may be
// without a firewall.
const (
	shortestPause = 20 * time.Millisecond
	longestPause  = time.Second
)

// repairPause notes a repair. It returns how long the next one waits, and whether this is the
// first of a row that waits longer than usual.
func repairPause(b *brake.Brake, now time.Time) (wait time.Duration, contended bool) {
	contended = b.Repaired(now)
	return min(max(b.Next.Sub(now), shortestPause), longestPause), contended
}

// follow repairs the firewall as soon as another program has changed it, until ctx ends:
// reloading the distribution's nftables service flushes the whole ruleset, and where domains
// are told apart by marks nothing is routed without. do runs a function on the goroutine that
// owns the namespace.
func (s *shield) follow(ctx context.Context, table string, do func(func())) {
	if s.firewall == nil {
		return
	}
	var row brake.Brake
	key := "nftables table " + table
	err := s.firewall.Watch(ctx, func() {
		do(func() {
			s.audit.repaired("firewall", "replace", key, "", time.Now())
			s.repair()
		})
		wait, contended := repairPause(&row, time.Now())
		if contended {
			do(func() { s.audit.fought("firewall", key, time.Now()) })
		}
		_ = pause(ctx, wait)
	})
	if err != nil {
		s.log.Warn("firewall", "event", "firewall-error", "err", err)
	}
}

const (
	// auditShare is the share of the time that reading a firewall again takes at most: 1/auditShare.
	auditShare = 100
	// mostRest is for how long it is not read again at most, unless the interval is longer.
	mostRest = 2 * time.Minute
)

// look reads the firewall again every interval, until ctx ends, should another program have changed it
// without a notification, and repairs it. do is as with follow.
func (s *shield) look(ctx context.Context, table string, interval time.Duration, do func(func())) {
	if s.firewall == nil {
		return
	}
	last := ""
	for wait := interval; pause(ctx, wait) == nil; {
		start := time.Now()
		list, err := s.firewall.Audit()
		wait = pace.Rest(time.Since(start), auditShare, interval, mostRest)
		if err == nil {
			last = ""
		} else if err.Error() != last {
			last = err.Error()
			s.log.Warn("firewall", "event", "firewall-error", "err", err)
		}
		if len(list) > 0 {
			do(func() { s.differs(list, "nftables table "+table) })
		}
	}
}

// differs takes what was found, and repairs it.
func (s *shield) differs(list []firewall.Difference, key string) {
	if s.remove {
		return // by a reload meanwhile
	}
	now := time.Now()
	for _, d := range list {
		s.audit.differs("firewall", d.Op, "nftables "+d.What, now)
	}
	s.audit.repaired("firewall", "replace", key, "", now)
	s.repair()
}

// balance prevents that the flows of one transparent address fill the kernel's table, until ctx
// ends, and logs when it must.
func (s *shield) balance(ctx context.Context) {
	if s.firewall == nil {
		return
	}
	for ctx.Err() == nil {
		err := s.firewall.Balance(ctx, func(a netip.Addr, flows int) {
			s.log.Warn("transparent address has more than its part of the table of connections: no new flows", "event", "connections-crowded", "address", a, "flows", flows)
		})
		if err != nil {
			s.log.Warn("firewall", "event", "firewall-error", "err", err)
			_ = pause(ctx, RepairTime)
		}
	}
}

func pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
