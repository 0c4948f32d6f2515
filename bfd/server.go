package bfd

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// RealTime reports whether the thread that owns the sessions runs under SCHED_FIFO.
type RealTime uint8

// The choices of Config.RealTime.
const (
	RealTimeAuto     RealTime = iota // try; tell Config.Notice if it is not permitted
	RealTimeOff                      // do not try
	RealTimeRequired                 // Run fails if it is not permitted
)

// Config is the configuration of a [Server]. Its zero value works.
type Config struct {
	RealTime RealTime // whether the thread runs with real-time priority; see there
	// Priority is the SCHED_FIFO priority, 1-99. Zero: 50.
	Priority int
	// LockMemory keeps all memory of the process resident (mlockall), so that no
	// page fault can delay a packet.
	LockMemory bool
	// Coexist binds one receiving socket to each local address, with
	// SO_REUSEADDR, in place of one for all addresses, so that another BFD
	// daemon can serve other local addresses of the same namespace. See the
	// package comment for what the kernel makes of it.
	Coexist bool
	// Notice is called with what an operator should know and is no change of a session:
	// real-time priority not permitted, memory not locked, packets without
	// priority, packets that were not sent because a send buffer is full. It may be called from any goroutine and must not block. Nil:
	// nobody is told.
	Notice func(error)
}

func (c *Config) check() error {
	c.Priority = cmp.Or(c.Priority, defaultPriority)
	if c.Notice == nil {
		c.Notice = func(error) {}
	}
	if c.Priority < 1 || c.Priority > 99 {
		return &ConfigError{"Priority", "not between 1 and 99"}
	}
	if c.RealTime > RealTimeRequired {
		return &ConfigError{"RealTime", "unknown choice"}
	}
	return nil
}

// Server holds sessions in this process; see the package comment. It never sets
// the C bit, unless [Serve] runs it.
type Server struct {
	cfg         Config        // with defaults
	host        host          // the machine, or that of a test
	independent bool          // sets the C bit
	board       board         // the events of all sessions
	clock       clock         // reads the host's time
	core        *core         // has the sessions
	owner       *owner        // the core's thread; nil: a DrivenServer is the core's shell
	attacher    *attacher     // opens their sockets and namespaces
	changed     *marks        // sessions whose fact is new
	failover    failover      // takes dead next hops out of the kernel
	began       chan struct{} // closed when the owner's thread is there

	mu      lock           // guards everything below
	state   runState       // whether Run has begun or ended
	entries map[Key]*entry // every session, by its key in normal form
	slots   []*entry       // by slot; nil: free
	gone    []*entry       // released, and still attached
	ports   uint32         // source ports given out, counted round
}

type runState uint8

const (
	idle runState = iota // before Run: there is no owner, and nothing is open
	running
	closed
)

// NewServer checks the configuration. Nothing is opened, sent or received before Run.
func NewServer(cfg Config) (*Server, error) { return newServerOn(cfg, systemHost{}) }

func newServerOn(cfg Config, h host) (*Server, error) {
	s, err := newServerWithoutShell(cfg, h, maxSessions)
	if err != nil {
		return nil, err
	}
	s.owner = newOwner(s.core, s.clock)
	return s, nil
}

// newServerWithoutShell returns a server whose core has no shell yet. Its marks are for so many
// sessions.
func newServerWithoutShell(cfg Config, h host, sessions int) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	clock, err := h.clock()
	if err != nil {
		return nil, err
	}
	s := &Server{
		mu: newLock(), cfg: cfg, host: h, clock: clock, core: newCore(h.random(), newMarks(sessions)), began: make(chan struct{}),
		changed: newMarks(sessions), entries: map[Key]*entry{}, ports: h.random(),
	}
	s.attacher = newAttacher(s)
	s.failover = failover{server: s, dead: newMarks(sessions)}
	s.core.readers = append(s.core.readers, s.failover.dead, s.changed)
	return s, nil
}

// Add implements [Service].
func (s *Server) Add(c SessionConfig) error {
	if err := c.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return ErrClosed
	}
	e := s.entries[c.Key]
	if e != nil && e.kept.Echo != c.Echo { // another session with the same name
		if err := s.end(e); err != nil {
			return err
		}
		e = nil
	}
	if e != nil {
		if alive, err := s.change(e, c); alive || err != nil {
			return err
		}
		s.release(e)
	}
	e, err := s.create(c)
	if err != nil {
		return err
	}
	s.entries[c.Key] = e
	s.slots[e.slot] = e
	e.cell.write(e.fact())
	s.post(e)
	s.look(e)
	if s.state == idle {
		return nil
	}
	return s.do(func(c *core) { c.insert(e) })
}

// look has the attacher look at a session; the lock is held.
func (s *Server) look(e *entry) {
	e.check = true
	e.backoff.Reset()
	s.attacher.kick()
}

// end ends a session without a word to the remote system; the lock is held.
func (s *Server) end(e *entry) error {
	if s.state == running {
		if err := s.do(func(c *core) { c.forget(e) }); err != nil {
			return err
		}
	}
	s.release(e)
	return nil
}

// change sets new parameters of a session, and takes a lingering one into use again. It
// returns false if the lingering was over.
func (s *Server) change(e *entry, c SessionConfig) (alive bool, err error) {
	f := func(core *core) {
		if e.done.Load() {
			return
		}
		alive = true
		e.until, e.minTTL = 0, c.MinTTL
		e.binding.MinTTL = int32(c.MinTTL)
		f, _ := e.Configure(core.now, c) // c was checked
		core.effects(e, f)
		if s.state == running {
			core.requeue(e)
		}
	}
	if s.state == idle {
		s.core.begin(s.clock.now())
		f(s.core)
	} else if err = s.do(f); err != nil {
		return false, err
	}
	if alive {
		back := e.removed
		e.removed, e.kept, e.again = false, c, true
		if back {
			e.last = fact{}
			s.post(e)
		}
		s.look(e)
	}
	return alive, nil
}

// create makes a session; the lock is held.
func (s *Server) create(c SessionConfig) (*entry, error) {
	slot := s.freeSlot()
	if slot < 0 {
		return nil, fmt.Errorf("bfd: %d sessions are all that there are ports for", maxSessions)
	}
	session, err := NewSession(c, s.freeDiscr(), s.host.random(), s.clock.now())
	if err != nil {
		return nil, err
	}
	e := &entry{slot: slot, kept: c, place: -1, key: c.Key, minTTL: c.MinTTL, backoff: bfdcore.Backoff{Min: lookFirst, Max: lookLast}}
	e.Session = *session
	e.number.Store(e.discr)
	e.independent = s.independent
	e.local, e.sport = c.Local, s.newPort()
	return e, nil
}

func (s *Server) freeSlot() int {
	for i, e := range s.slots {
		if e == nil {
			return i
		}
	}
	if len(s.slots) == maxSessions {
		return -1
	}
	s.slots = append(s.slots, nil)
	slot := len(s.slots) - 1
	if s.owner == nil { // the marks of an owner have room for all, as it never waits for a lock
		for _, m := range []*marks{s.changed, s.failover.dead, s.core.failing} {
			m.room(slot)
		}
	}
	return slot
}

// freeDiscr picks a random discriminator that no session has, so that one of an
// earlier life of this system is not mistaken for it; the lock is held.
func (s *Server) freeDiscr() uint32 {
	for {
		d := s.host.random()
		if d != 0 && !slices.ContainsFunc(s.slots, func(e *entry) bool { return e != nil && e.number.Load() == d }) {
			return d
		}
	}
}

// newPort returns a source port that no other session has (RFC 5881, Section 4).
func (s *Server) newPort() uint16 {
	s.ports++
	return uint16(49152 + s.ports%maxSessions)
}

// Remove implements [Service].
func (s *Server) Remove(k Key) error {
	k = k.Normal()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if s.state == closed {
		return ErrClosed
	}
	if e == nil || e.removed {
		return ErrNoSession
	}
	e.removed, e.check, e.lookAt = true, false, time.Time{}
	f := e.cell.read()
	s.board.post(Event{Key: k, State: StateAdminDown, Diag: DiagAdminDown, Reason: ReasonLocalAdminDown, Time: s.clock.wall(s.clock.now()), Downs: f.downs, Removed: true}, nil)
	if s.state == idle {
		s.release(e)
		return nil
	}
	return s.do(func(c *core) { c.linger(e) })
}

// Sessions implements [Service].
func (s *Server) Sessions() ([]Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return nil, ErrClosed
	}
	list := make([]*entry, 0, len(s.entries))
	for _, e := range s.slots {
		if e != nil && !e.removed {
			list = append(list, e)
		}
	}
	out := make([]Status, len(list))
	const portion = 64 // keeps the owner from its sessions for a few microseconds
	for i := 0; i < len(list); i += portion {
		part, to := list[i:min(i+portion, len(list))], out[i:]
		f := func(*core) {
			for j, e := range part {
				to[j] = e.status(s.clock)
			}
		}
		if s.state == idle {
			f(s.core)
		} else if err := s.do(f); err != nil {
			return nil, err
		}
	}
	for i, e := range list {
		out[i].Reason, out[i].Err = e.reasonNow(out[i].State, out[i].Reason)
	}
	return out, nil
}

// Watch implements [Service].
func (s *Server) Watch() *Watcher { return s.board.watch() }

// do has the shell call f, and waits for it. The server runs.
func (s *Server) do(f func(*core)) error { return s.core.shell.do(f) }
