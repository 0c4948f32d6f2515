package bfdcore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Sharing knows which client wants which session. A session, named by a K and described
// by a C, exists as long as a client wants it, with the most demanding of what they want.
// What a client wants survives the client by the restart time.
type Sharing[K comparable, C any] struct {
	rules   Rules[K, C]              // how configurations compare
	clients map[string]*client[K, C] // by name
	exists  map[K]C                  // as given to Apply
	alone   time.Time                // since when no client is connected; zero: one is
}

// Rules is what a [Sharing] needs to know of sessions.
type Rules[K comparable, C any] struct {
	// Merge returns what satisfies both a and b, or why nothing does.
	Merge func(a, b C) (C, error)
	// Equal reports whether a and b ask for the same.
	Equal func(a, b C) bool
	// Compare orders sessions: several of one client are dropped in this order.
	Compare func(a, b K) int
	// Apply makes the session, or changes it.
	Apply func(K, C) error
	// Remove ends the session.
	Remove func(K) error
	// Restart is how long sessions outlive their client.
	Restart time.Duration
	// MaxClients bounds the number of names, MaxSize the size of what one client wants.
	MaxClients, MaxSize int
}

// client is a client by name, connected or not.
type client[K comparable, C any] struct {
	connected bool          // now
	since     time.Time     // of the last connect or disconnect
	wants     map[K]want[C] // by session
	stale     map[K]bool    // left by an earlier life, and not asked for again yet
	size      int           // of all wants
}

type want[C any] struct {
	config C   // what the client asked for
	size   int // as the client's limit counts it
}

// What the methods of [Sharing] return for a request that cannot be.
var (
	ErrConnected = errors.New("a client of this name is connected")
	ErrNotThere  = errors.New("the client does not want such a session")
)

// NewSharing returns a Sharing without clients.
func NewSharing[K comparable, C any](r Rules[K, C], now time.Time) *Sharing[K, C] {
	return &Sharing[K, C]{rules: r, clients: map[string]*client[K, C]{}, exists: map[K]C{}, alone: now}
}

// Connect notes that the client of that name is there. Two at a time would undo each
// other's requests: the second one gets ErrConnected.
func (s *Sharing[K, C]) Connect(name string, now time.Time) error {
	c, err := s.client(name)
	switch {
	case err != nil:
		return err
	case c.connected:
		return ErrConnected
	}
	c.connected, c.since = true, now
	c.stale = keys(c.wants)
	s.alone = time.Time{}
	return nil
}

// client returns the client of that name, which may be new.
func (s *Sharing[K, C]) client(name string) (*client[K, C], error) {
	c := s.clients[name]
	if c == nil {
		if len(s.clients) >= s.rules.MaxClients {
			return nil, fmt.Errorf("too many clients: %d", len(s.clients))
		}
		c = &client[K, C]{wants: map[K]want[C]{}}
		s.clients[name] = c
	}
	return c, nil
}

func keys[K comparable, V any](m map[K]V) map[K]bool {
	set := make(map[K]bool, len(m))
	for k := range m {
		set[k] = true
	}
	return set
}

// Disconnect notes that the client is gone. Its sessions stay.
func (s *Sharing[K, C]) Disconnect(name string, now time.Time) {
	c := s.clients[name]
	if c == nil || !c.connected {
		return
	}
	c.connected, c.since = false, now
	for _, c := range s.clients {
		if c.connected {
			return
		}
	}
	s.alone = now
}

// Add makes or changes what the client wants of one session. If it fails nothing has
// changed.
func (s *Sharing[K, C]) Add(name string, k K, config C, size int) error {
	c := s.clients[name]
	if c == nil {
		return ErrNotThere
	}
	before, had := c.wants[k]
	if c.size+size-before.size > s.rules.MaxSize {
		return fmt.Errorf("the client has too many sessions: %d, of %d octets", len(c.wants), c.size)
	}
	c.wants[k] = want[C]{config, size}
	if err := s.apply(k); err != nil {
		if delete(c.wants, k); had {
			c.wants[k] = before
		}
		return err
	}
	c.size += size - before.size
	delete(c.stale, k)
	return nil
}

// Remove takes back what the client wants of one session.
func (s *Sharing[K, C]) Remove(name string, k K) error {
	c := s.clients[name]
	if c == nil {
		return ErrNotThere
	}
	if _, ok := c.wants[k]; !ok {
		return ErrNotThere
	}
	return s.drop(c, k)
}

func (s *Sharing[K, C]) drop(c *client[K, C], k K) error {
	c.size -= c.wants[k].size
	delete(c.wants, k)
	delete(c.stale, k)
	return s.apply(k)
}

// Synced drops what an earlier life of the client left and this one did not ask for.
func (s *Sharing[K, C]) Synced(name string) {
	if c := s.clients[name]; c != nil {
		s.sweep(c)
	}
}

func (s *Sharing[K, C]) sweep(c *client[K, C]) {
	for _, k := range slices.SortedFunc(maps.Keys(c.stale), s.rules.Compare) {
		_ = s.drop(c, k) // at worst no process serves the sessions any more
	}
}

// Expire drops what clients left longer ago than the restart time. It reports whether no
// client has been connected for that long, and the process may end.
func (s *Sharing[K, C]) Expire(now time.Time) (finished bool) {
	for _, name := range s.Names() {
		c := s.clients[name]
		switch {
		case now.Sub(c.since) < s.rules.Restart:
		case c.connected:
			s.sweep(c) // connected for so long, and never said that it was done
		default:
			c.stale = keys(c.wants)
			s.sweep(c)
			delete(s.clients, name)
		}
	}
	return !s.alone.IsZero() && now.Sub(s.alone) >= s.rules.Restart
}

// apply makes the session what the clients want of it. If it fails the session is as it
// was.
func (s *Sharing[K, C]) apply(k K) error {
	var wanted C
	n := 0
	for _, name := range s.Names() {
		w, ok := s.clients[name].wants[k]
		if !ok {
			continue
		}
		if n++; n == 1 {
			wanted = w.config
			continue
		}
		var err error
		if wanted, err = s.rules.Merge(wanted, w.config); err != nil {
			return err
		}
	}
	have, exists := s.exists[k]
	switch {
	case n == 0 && !exists:
		return nil
	case n == 0:
		delete(s.exists, k)
		return s.rules.Remove(k)
	case exists && s.rules.Equal(have, wanted):
		return nil // a client came back and wants what it had: nothing happens
	}
	if err := s.rules.Apply(k, wanted); err != nil {
		return err
	}
	s.exists[k] = wanted
	return nil
}

// Names lists the clients, in order.
func (s *Sharing[K, C]) Names() []string { return slices.Sorted(maps.Keys(s.clients)) }

// Wants calls f for everything that a client wants, in order.
func (s *Sharing[K, C]) Wants(name string, f func(K, C)) {
	wants := s.clients[name].wants
	for _, k := range slices.SortedFunc(maps.Keys(wants), s.rules.Compare) {
		f(k, wants[k].config)
	}
}

// Restore notes what a client wanted of a process that handed its sessions over. The
// client is expected to connect again.
func (s *Sharing[K, C]) Restore(name string, k K, config C, size int, now time.Time) error {
	c, err := s.client(name)
	if err != nil {
		return err
	}
	c.since = now
	c.size += size - c.wants[k].size
	c.wants[k] = want[C]{config, size}
	return nil
}

// RestoreSession notes that a session exists that was handed over.
func (s *Sharing[K, C]) RestoreSession(k K, config C) { s.exists[k] = config }
