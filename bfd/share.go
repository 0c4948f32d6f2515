package bfd

import (
	"errors"
	"reflect"
	"sync"
	"time"
)

// registry knows which client wants which session. A session lives as long as
// someone wants it, with the most demanding of the wishes; what a client wanted
// survives the client by the restart time.
type registry struct {
	server  *Server
	restart time.Duration

	mu      sync.Mutex
	holders map[string]*holder
	active  map[Key]SessionConfig // as given to the server
	lonely  time.Time             // since when no client is connected; zero: one is
}

// holder is a client by name, connected or not.
type holder struct {
	conn    *conn     // nil: gone
	since   time.Time // of the last connect or disconnect
	configs map[Key]SessionConfig
	stale   map[Key]bool // left by an earlier life, not asked for again yet
}

func newRegistry(s *Server, restart time.Duration, now time.Time) *registry {
	return &registry{server: s, restart: restart, holders: map[string]*holder{}, active: map[Key]SessionConfig{}, lonely: now}
}

// connect makes c the connection of the client of that name. Two at a time would
// undo each other's wishes.
func (r *registry) connect(name string, c *conn, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holders[name]
	if h == nil {
		h = &holder{configs: map[Key]SessionConfig{}}
		r.holders[name] = h
	}
	if h.conn != nil {
		return errors.New("bfd: a client of this name is connected")
	}
	h.conn, h.since = c, now
	h.stale = map[Key]bool{}
	for k := range h.configs {
		h.stale[k] = true
	}
	r.lonely = time.Time{}
	return nil
}

// disconnect notes that a connection is gone. Its sessions stay.
func (r *registry) disconnect(name string, c *conn, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.holders[name]; h != nil && h.conn == c {
		h.conn, h.since = nil, now
		r.lonesome(now)
	}
}

func (r *registry) lonesome(now time.Time) {
	for _, h := range r.holders {
		if h.conn != nil {
			return
		}
	}
	r.lonely = now
}

var errNoHello = errors.New("bfd: not connected any more")

// add is a client's wish for a session.
func (r *registry) add(name string, c *conn, cfg SessionConfig) error {
	if err := cfg.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holders[name]
	if h == nil || h.conn != c {
		return errNoHello
	}
	before, had := h.configs[cfg.Key]
	h.configs[cfg.Key] = cfg
	if err := r.apply(cfg.Key); err != nil {
		if delete(h.configs, cfg.Key); had {
			h.configs[cfg.Key] = before
		}
		return err
	}
	delete(h.stale, cfg.Key)
	return nil
}

// remove takes a client's wish back.
func (r *registry) remove(name string, k Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holders[name]
	if h == nil {
		return ErrNoSession
	}
	if _, ok := h.configs[k]; !ok {
		return ErrNoSession
	}
	delete(h.configs, k)
	delete(h.stale, k)
	return r.apply(k)
}

// synced drops what an earlier life of the client left.
func (r *registry) synced(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.holders[name]; h != nil {
		r.sweep(h)
	}
}

func (r *registry) sweep(h *holder) {
	for k := range h.stale {
		delete(h.configs, k)
		_ = r.apply(k) // ErrClosed at worst: then it is gone anyway
	}
	h.stale = nil
}

// expire drops what clients left longer ago than the restart time. It returns
// true when no client has been connected for that long, and the process may end.
func (r *registry) expire(now time.Time) (finished bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, h := range r.holders {
		if now.Sub(h.since) < r.restart {
			continue
		}
		if h.conn != nil {
			r.sweep(h) // connected for so long and never said that it was done
			continue
		}
		h.stale = map[Key]bool{}
		for k := range h.configs {
			h.stale[k] = true
		}
		r.sweep(h)
		delete(r.holders, name)
	}
	return !r.lonely.IsZero() && now.Sub(r.lonely) >= r.restart
}

// apply brings what the clients want of one session to the server; the lock is
// held.
func (r *registry) apply(k Key) error {
	want, n := SessionConfig{}, 0
	for _, h := range r.holders {
		c, ok := h.configs[k]
		if !ok {
			continue
		}
		if n++; n == 1 {
			want = c
		} else if err := merge(&want, &c); err != nil {
			return err
		}
	}
	have, active := r.active[k]
	switch {
	case n == 0 && !active:
		return nil
	case n == 0:
		delete(r.active, k)
		return r.server.Remove(k)
	case active && reflect.DeepEqual(have, want):
		return nil // a client came back and wants what it had: nothing happens
	}
	if err := r.server.Add(want); err != nil {
		return err
	}
	r.active[k] = want
	return nil
}

// merge makes a the more demanding of two wishes for the same session. The
// session is AdminDown or passive only if all want it so.
func merge(a, b *SessionConfig) error {
	if !reflect.DeepEqual(a.Auth, b.Auth) || a.Echo != b.Echo {
		return errors.New("bfd: another client uses this session with other authentication")
	}
	a.DesiredMinTx = min(a.DesiredMinTx, b.DesiredMinTx)
	if a.RequiredMinRx < 0 || b.RequiredMinRx >= 0 && b.RequiredMinRx < a.RequiredMinRx {
		a.RequiredMinRx = b.RequiredMinRx
	}
	a.Multiplier = min(a.Multiplier, b.Multiplier)
	a.MinTTL = max(a.MinTTL, b.MinTTL)
	a.Passive = a.Passive && b.Passive
	a.AdminDown = a.AdminDown && b.AdminDown
	a.Failover = append(a.Failover[:len(a.Failover):len(a.Failover)], b.Failover...)
	return nil
}
