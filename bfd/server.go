package bfd

import (
	"cmp"
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// RealTime says whether the thread that owns the sessions runs under SCHED_FIFO.
type RealTime uint8

// The choices of Config.RealTime.
const (
	RealTimeAuto     RealTime = iota // try; tell Config.Notice if it is not permitted
	RealTimeOff                      // do not try
	RealTimeRequired                 // Run fails if it is not permitted
)

// Config is the configuration of a [Server]. Its zero value works.
type Config struct {
	RealTime RealTime
	// Priority is the SCHED_FIFO priority, 1-99. Zero: 50.
	Priority int
	// WholeProcess puts the other threads of the process under SCHED_FIFO too, at
	// priority 1: for a program that does nothing but BFD. Without it, the owner
	// may have to wait for Go's scheduler on an ordinary thread, which a busy
	// machine keeps waiting. [Serve] always does so.
	WholeProcess bool
	// LockMemory keeps all memory of the process resident (mlockall), so that no
	// page fault can delay a packet.
	LockMemory bool
	// Coexist binds one receiving socket to each local address, with
	// SO_REUSEADDR, in place of one for all addresses, so that another BFD
	// daemon can serve other local addresses of the same namespace. See the
	// package comment for what the kernel makes of it.
	Coexist bool
	// Notice is told what an operator should know and is no change of a session:
	// real-time priority not permitted, memory not locked, packets without
	// priority. It may be called from any goroutine and must not block. Nil:
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
	cfg         Config
	independent bool // sets the C bit
	board       board
	owner       *owner
	changed     *marks
	failover    failover
	resolve     chan struct{} // a new echo session wants its next hop resolved

	mu      sync.Mutex // guards everything below
	state   runState
	entries map[Key]*entry
	slots   []*entry // by slot; nil: free
	spaces  map[string]*space
	ports   uint32 // source ports given out, counted round
}

type runState uint8

const (
	idle runState = iota // not yet in Run: commands run on their caller's goroutine
	running
	closed
)

// NewServer checks the configuration and prepares the owner. Nothing is sent or
// received before Run.
func NewServer(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	o, err := newOwner()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, owner: o, changed: newMarks(), entries: map[Key]*entry{}, spaces: map[string]*space{}, ports: rand.Uint32()}
	s.resolve = make(chan struct{}, 1)
	s.failover = failover{server: s, dead: newMarks(), socks: map[string]*rtnl{}}
	o.readers = append(o.readers, s.failover.dead, s.changed)
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
	if e := s.entries[c.Key]; e != nil && e.space.moved() {
		// The path leads to another namespace: so must the session.
		if err := s.do(func(o *owner) { o.forget(e) }); err != nil {
			return err
		}
		s.release(e)
	} else if e != nil {
		if alive, err := s.change(e, c); alive || err != nil {
			return err
		}
		s.release(e)
	}
	e, made, err := s.create(c)
	if err != nil {
		return err
	}
	s.entries[c.Key] = e
	s.slots[e.slot] = e
	e.cell.write(e.fact())
	s.post(e)
	return s.do(func(o *owner) {
		if made != nil {
			o.sockets[int32(made.fd)] = made
			_ = o.poll(made.fd)
		}
		o.sender(e.tx)
		o.insert(e)
		if e.echo {
			s.resolveSoon()
		}
	})
}

// resolveSoon has the resolver look without delay.
func (s *Server) resolveSoon() {
	select {
	case s.resolve <- struct{}{}:
	default:
	}
}

// change gives a session new parameters, or a lingering one its life back. It
// returns false if the lingering was over.
func (s *Server) change(e *entry, c SessionConfig) (alive bool, err error) {
	err = s.do(func(o *owner) {
		if e.done.Load() {
			return
		}
		alive = true
		e.until, e.minTTL = 0, c.MinTTL
		f, _ := e.Configure(o.now, c) // c was checked
		o.effects(e, f)
		o.requeue(e)
	})
	if alive {
		back := e.removed
		e.removed, e.kept = false, c
		if back {
			e.last = fact{}
			s.post(e)
		}
	}
	return alive, err
}

// create makes a session and the sockets it needs; the lock is held.
func (s *Server) create(c SessionConfig) (*entry, *rxSocket, error) {
	slot := s.freeSlot()
	if slot < 0 {
		return nil, nil, &ConfigError{"Key", "too many sessions"}
	}
	sp := s.spaces[c.NetNS]
	if sp == nil || sp.moved() {
		sp = &space{netns: c.NetNS, rx: map[rxKey]*rxSocket{}}
	}
	asked := c.Key
	tx, made, err := sp.open(&c, s.cfg.Coexist, s.cfg.Notice)
	if err != nil {
		if sp.users == 0 {
			sp.close()
		}
		return nil, nil, err
	}
	s.spaces[c.NetNS] = sp
	sp.users++
	e := &entry{slot: slot, space: sp, kept: c, place: -1, tx: tx, key: asked, minTTL: c.MinTTL}
	e.kept.Key = asked
	session, err := NewSession(c, s.newDiscr(), rand.Uint32(), s.owner.clock.now())
	if err != nil {
		return nil, nil, err
	}
	e.Session = *session
	e.independent = s.independent
	e.local, e.sport = c.Local, s.newPort()
	if c.Echo {
		for key, t := range sp.echo {
			if t == tx {
				e.echoLink = key.ifindex
			}
		}
	}
	e.build()
	return e, made, nil
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
	return len(s.slots) - 1
}

// newDiscr picks a random discriminator that no session has, so that one of an
// earlier life of this system is not mistaken for it.
func (s *Server) newDiscr() uint32 {
	for {
		d := rand.Uint32()
		if d != 0 && !s.used(d) {
			return d
		}
	}
}

func (s *Server) used(discr uint32) bool {
	for _, e := range s.slots {
		if e != nil && e.discr == discr { // never changes once set
			return true
		}
	}
	return false
}

// newPort gives every session a source port of its own (RFC 5881, Section 4).
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
	e.removed = true
	f := e.cell.read()
	s.board.post(Event{Key: k, State: AdminDown, Diag: DiagAdminDown, Reason: ReasonLocalAdminDown, Time: time.Now(), Downs: f.downs, Removed: true}, nil)
	return s.do(func(o *owner) { o.linger(e) })
}

// Sessions implements [Service].
func (s *Server) Sessions() ([]Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return nil, ErrClosed
	}
	list := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		if !e.removed {
			list = append(list, e)
		}
	}
	out := make([]Status, len(list))
	const portion = 64 // keeps the owner from its sessions for a few microseconds
	for i := 0; i < len(list); i += portion {
		part, to := list[i:min(i+portion, len(list))], out[i:]
		if err := s.do(func(o *owner) {
			for j, e := range part {
				to[j] = e.status(o.clock)
			}
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Watch implements [Service].
func (s *Server) Watch() *Watcher { return s.board.watch() }

// do has the owner run f and waits for it; the lock is held.
func (s *Server) do(f func(*owner)) error {
	o := s.owner
	switch s.state {
	case idle:
		o.tick()
		f(o)
		return nil
	case closed:
		return ErrClosed
	}
	done := make(chan struct{})
	select {
	case o.commands <- func(o *owner) { f(o); close(done) }:
	case <-o.ended:
		return ErrClosed
	}
	o.wake()
	select {
	case <-done:
		return nil
	case <-o.ended:
		return ErrClosed
	}
}

// Run implements [Service]. At its end every session says AdminDown to its peer,
// so that the peer does not take it for a failure of the path.
func (s *Server) Run(ctx context.Context) error {
	if err := s.start(); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go s.thread(failed)
	var wg sync.WaitGroup
	wg.Go(s.hub)
	wg.Go(s.failover.run)
	wg.Go(func() {
		(&resolver{server: s, socks: map[string]*rtnl{}, known: map[*entry]string{}}).run(s.owner.ended)
	})
	select {
	case <-ctx.Done():
		s.mu.Lock()
		_ = s.do(func(o *owner) { o.farewell() })
		s.mu.Unlock()
	case <-s.owner.ended: // it failed, or a successor has taken over
	}
	<-s.owner.ended
	s.finish()
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != idle {
		return ErrClosed
	}
	s.state = running
	return nil
}

// thread is the owner's. It is never unlocked: the thread ends with the
// goroutine, and its priority with it.
func (s *Server) thread(failed chan<- error) {
	runtime.LockOSThread()
	if err := s.cfg.privileges(s.cfg.Notice); err != nil {
		failed <- err
		close(s.owner.ended)
		return
	}
	s.owner.loop()
}

// finish closes everything. The owner has ended.
func (s *Server) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = closed
	for _, sp := range s.spaces {
		sp.close()
	}
	unix.Close(s.owner.epoll)
	unix.Close(s.owner.bell)
	s.changed.mark(0)
	s.failover.dead.mark(0)
}
