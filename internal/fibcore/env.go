package fibcore

import (
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// env is what all parts have in common. Times are those of the inputs.
type env struct {
	config   Config
	owned    map[uint32]bool // Config.Tables; nil: all
	emit     func(Event)
	writes   bool // a watcher wants EventWrite
	stats    Stats
	clock    time.Time // of the last input
	tick     time.Time // the next time at which something held back may be tried
	synced   bool      // everything has been read once
	swept    bool      // what is not desired is deleted
	retryAll bool      // something has changed that may help what failed
	rereads  rereads   // what is to be read from the kernel again
}

func (c *env) event(e Event) {
	e.Time = c.clock
	c.emit(e)
}

func (c *env) ours(proto uint8) bool {
	return proto == c.config.Protocol || proto == c.config.PersistentProtocol
}

func (c *env) owns(table uint32) bool { return c.owned == nil || c.owned[table] }

// report turns a failed write into an event.
func (c *env) report(err *Error) {
	if err != nil {
		c.stats.Errors++
		c.event(Event{Kind: EventError, Op: err.Op, Key: err.Key, Err: err})
	}
}

// repaired turns a write that undid what another program did into events.
func (c *env) repaired(key any, op string, reason Reason, by origin, contended bool) {
	c.stats.Repairs++
	c.event(Event{Kind: EventRepair, Op: op, Key: key, Reason: reason, Protocol: by.proto, Port: by.port})
	if contended {
		c.event(Event{Kind: EventContended, Op: op, Key: key, Protocol: by.proto, Port: by.port})
	}
}

func (c *env) auditEvery() time.Duration {
	if c.config.Audit < 0 {
		return 24 * time.Hour
	}
	return c.config.Audit
}

func (c *env) retrySoon() { c.retryAll = true }

func (o *env) wake(t time.Time) {
	if o.tick.IsZero() || t.Before(o.tick) {
		o.tick = t
	}
}

func (c *env) routeOf(f *wire.Facts, nextHops []wire.NextHop, multipath bool) Route {
	r := Route{Type: f.Type, PrefSrc: f.PrefSrc, MTU: f.MTU, AdvMSS: f.AdvMSS, Persistent: f.Protocol == c.config.PersistentProtocol, RTAMultipath: multipath}
	if f.Family == wire.FamilyIPv4 {
		r.Scope = wire.ScopeFromKernel(f.Scope)
	}
	for _, l := range nextHops {
		r.NextHops = append(r.NextHops, NextHop{l.Gateway, int(l.IfIndex), l.Weight, l.OnLink})
	}
	return r
}
