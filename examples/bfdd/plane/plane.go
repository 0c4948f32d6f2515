package plane

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
)

// DefaultLinger is for how long a session stays that no bfdd wants.
const DefaultLinger = 30 * time.Second

// MaxBurst is how many sessions bfdd can add at once: its buffer has 8,192 octets and an add
// 140. Those that do not fit it forgets, neither in the data plane nor run by itself
// (FRRouting/frr issue 22638, mended in July 2026), but it offers them again to the next connection.
const MaxBurst = 8192 / 140

// Bounds. The first is what package bfd can have.
const (
	maxBindings = 16384   // ids of all connections
	maxReplies  = 1 << 20 // octets of answers that a connection has not read
)

// How old the status of sessions may be in an answer, and how long after a change the
// details are looked at again: a session negotiates its intervals once it is Up.
const (
	freshFor     = 100 * time.Millisecond
	detailsAfter = 2 * time.Second
)

// Config is the configuration of a Plane.
type Config struct {
	// Service has the sessions. It may have others, which are left alone.
	Service bfd.Service
	// Synced, if not nil, is called once, when the linger time has passed since the start: what
	// an earlier process left in the Service and no bfdd has asked for may go.
	Synced func() error
	// Linger is for how long a session stays that no bfdd wants. Zero: it goes at once.
	Linger time.Duration
	// Notice is called with what an operator should know. Nil: nobody is told.
	Notice func(error)
}

// ConnID is the caller's name for a connection.
type ConnID int

// Plane is the data plane. It is not safe for concurrent use.
type Plane struct {
	cfg      Config
	sessions map[bfd.Key]*session
	alike    map[bfd.Key][]bfd.Key // their keys, by what they are without interface
	conns    map[ConnID]*conn
	bindings int                    // of all connections
	status   map[bfd.Key]bfd.Status // as of looked
	left     map[bfd.Key][]bfd.Key  // the keys of status, likewise
	looked   time.Time              // when the status was read
	details  time.Time              // when to look at it again; zero: there is no need
	sync     time.Time              // when to call Synced; zero: done
}

// session is one session of the Service.
type session struct {
	key    bfd.Key
	config bfd.SessionConfig
	bound  map[binder]*binding // who wants it
	until  time.Time           // when it goes, if nobody does
	state  bfd.State           // as last reported by the Service
	admin  bool                // it is Down since the remote system was taken down
	note   string              // what bfdd asked for and does not get
}

// binder is an id of a connection.
type binder struct {
	conn ConnID
	lid  uint32
}

// binding is a session under bfdd's id.
type binding struct {
	binder
	session *session
	refused string        // why there is none
	wanted  bfddp.Message // as bfdd said it
	sent    bfddp.State   // last told
	queue   []bfddp.State // to be told: at most two
}

// conn is a connection of bfdd.
type conn struct {
	version  uint8               // of bfdd's last message
	bindings map[uint32]*binding // by bfdd's id
	replies  []byte              // encoded answers
	dirty    []uint32            // ids with something in their queue
}

// New returns a Plane without connections. It reads the Service's sessions, which an earlier
// process of ours may have left: an error is the Service's. Without them a Plane would tell
// bfdd that what is Up is Down.
func New(cfg Config, now time.Time) (*Plane, error) {
	if cfg.Notice == nil {
		cfg.Notice = func(error) {}
	}
	p := &Plane{cfg: cfg, sessions: map[bfd.Key]*session{}, alike: map[bfd.Key][]bfd.Key{}, left: map[bfd.Key][]bfd.Key{}, conns: map[ConnID]*conn{}, status: map[bfd.Key]bfd.Status{}, sync: now.Add(cfg.Linger)}
	return p, p.look(now, 0)
}

// Connect adds a connection.
func (p *Plane) Connect(id ConnID) {
	p.conns[id] = &conn{version: bfddp.OldestVersion, bindings: map[uint32]*binding{}}
}

// Bound returns how many sessions a connection has added.
func (p *Plane) Bound(id ConnID) int {
	if c := p.conns[id]; c != nil {
		return len(c.bindings)
	}
	return 0
}

// Wanted appends what bfdd has added on a connection and not deleted: messages, in the order
// of their ids, that make another Plane know the same.
func (p *Plane) Wanted(id ConnID, b []byte) []byte {
	if c := p.conns[id]; c != nil {
		for _, lid := range slices.Sorted(maps.Keys(c.bindings)) {
			b, _ = c.bindings[lid].wanted.AppendBinary(b) // it was parsed
		}
	}
	return b
}

// Disconnect says that a connection has ended: bfdd has died, or was told to. Its sessions
// linger.
func (p *Plane) Disconnect(id ConnID, now time.Time) {
	c := p.conns[id]
	if c == nil {
		return
	}
	for _, lid := range slices.Sorted(maps.Keys(c.bindings)) {
		p.unbind(c.bindings[lid], now)
	}
	delete(p.conns, id)
}

// Advance lets time pass.
func (p *Plane) Advance(now time.Time) {
	if !p.sync.IsZero() && !now.Before(p.sync) {
		p.sync = time.Time{}
		if p.cfg.Synced != nil {
			if err := p.cfg.Synced(); err != nil {
				p.cfg.Notice(err)
			}
		}
	}
	for _, s := range p.ordered() {
		if len(s.bound) > 0 || now.Before(s.until) {
			continue
		}
		delete(p.sessions, s.key)
		short := loose(s.key)
		if p.alike[short] = slices.DeleteFunc(p.alike[short], func(k bfd.Key) bool { return k == s.key }); len(p.alike[short]) == 0 {
			delete(p.alike, short)
		}
		if err := p.cfg.Service.Remove(s.key); err != nil && !errors.Is(err, bfd.ErrNoSession) {
			p.cfg.Notice(fmt.Errorf("session %v: %w", s.key, err))
		}
	}
	if !p.details.IsZero() && !now.Before(p.details) {
		p.details = time.Time{}
		_ = p.look(now, 0)
		for _, s := range p.sessions {
			p.news(s)
		}
	}
}

// Deadline returns when Advance is to be called; zero: there is no need.
func (p *Plane) Deadline() (at time.Time) {
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	earlier(p.sync)
	earlier(p.details)
	for _, s := range p.sessions {
		if len(s.bound) == 0 {
			earlier(s.until)
		}
	}
	return at
}

func (p *Plane) ordered() []*session {
	return slices.SortedFunc(maps.Values(p.sessions), func(a, b *session) int {
		return cmp.Or(a.key.Peer.Compare(b.key.Peer), a.key.Local.Compare(b.key.Local), cmp.Compare(a.key.Interface, b.key.Interface), cmp.Compare(a.key.NetNS, b.key.NetNS))
	})
}
