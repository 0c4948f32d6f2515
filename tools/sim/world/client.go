package world

import (
	"cmp"
	"errors"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// client is the daemon's side of its connection to the BFD process: what it wants outlives
// connections, and connections are tried again and again, as those of a [bfd.Client].
type client struct {
	h       *hypervisor
	desired bfdcore.Desired[bfd.Key, bfd.SessionConfig]
	conn    *bfd.DrivenConn // nil: not connected
	watcher *bfd.Watcher
	retry   time.Duration // when to connect
	backoff bfdcore.Backoff
}

// clientName is the name of the daemon at its BFD process.
const clientName = "hvrouter"

func (c *client) reset() {
	c.disconnect()
	c.desired = bfdcore.Desired[bfd.Key, bfd.SessionConfig]{FirstRetry: 100 * time.Millisecond, LastRetry: 5 * time.Second}
	c.backoff = bfdcore.Backoff{Min: 5 * time.Millisecond, Max: time.Second}
	c.retry = c.h.w.now
}

// Add implements [bfd.Service].
func (c *client) Add(s bfd.SessionConfig) error {
	if err := s.Check(); err != nil {
		return err
	}
	c.desired.Set(s.Key.Normal(), s)
	return nil
}

// Remove implements [bfd.Service].
func (c *client) Remove(k bfd.Key) error {
	c.desired.Delete(k.Normal())
	return nil
}

// Sessions implements [bfd.Service].
func (c *client) Sessions() ([]bfd.Status, error) {
	if c.conn == nil {
		return nil, bfd.ErrNotConnected
	}
	return c.conn.Sessions()
}

// Watch implements [bfd.Service]; a daemon.Core does not call it.
func (c *client) Watch() *bfd.Watcher { return nil }

// Synced is that of a [bfd.Client].
func (c *client) Synced() error {
	c.desired.Synced()
	return nil
}

// connect connects the client if it is time to, and reports whether it did.
func (c *client) connect() bool {
	h := c.h
	if c.conn != nil || h.w.now < c.retry {
		return false
	}
	if h.engine == nil || h.node.process.state != running || h.engine.Ended() {
		c.retry = h.w.now + c.backoff.Next()
		return false
	}
	h.node.catchUp()
	conn, err := h.engine.Connect(clientName)
	if err != nil {
		c.retry = h.w.now + c.backoff.Next()
		return false
	}
	c.backoff.Reset()
	c.conn, c.watcher = conn, conn.Watch()
	c.desired.Connect(func(a, b bfd.Key) int {
		return cmp.Or(a.Peer.Compare(b.Peer), a.Local.Compare(b.Local), cmp.Compare(a.Interface, b.Interface))
	})
	return true
}

// disconnect ends the connection, as the death of either process does.
func (c *client) disconnect() {
	if c.conn == nil {
		return
	}
	if c.h.engine != nil && c.h.node.process.state != dead {
		c.h.node.catchUp()
		c.conn.Close()
	}
	c.conn, c.watcher = nil, nil
	c.desired.Disconnect()
	c.retry = c.h.w.now + c.backoff.Next()
}

// step connects, asks for what is wanted, and takes what the process says.
func (c *client) step() (more bool) {
	more = c.connect()
	if c.conn == nil || c.h.node.process.state != running {
		return more
	}
	for {
		r, ok := c.desired.Next(c.h.w.wall())
		if !ok {
			break
		}
		more = true
		c.h.node.catchUp()
		err := c.request(r)
		if errors.Is(err, bfd.ErrClosed) {
			c.disconnect()
			return true
		}
		c.desired.Done(r, err != nil, c.h.w.wall())
		if err != nil {
			c.h.w.note("%s: BFD %v: %v", c.h.name, r.Key.Peer, err)
		}
		c.h.w.disturbNode(c.h.node)
	}
	var buf [16]bfd.Event
	n, err := c.watcher.Next(over, buf[:])
	for _, e := range buf[:n] {
		c.h.core.BFD(e)
	}
	if errors.Is(err, bfd.ErrClosed) {
		c.disconnect()
	}
	return more || n > 0
}

func (c *client) request(r bfdcore.Request[bfd.Key, bfd.SessionConfig]) error {
	switch r.Kind {
	case bfdcore.RequestAdd:
		return c.conn.Add(r.Config)
	case bfdcore.RequestRemove:
		return c.conn.Remove(r.Key)
	}
	return c.conn.Synced()
}

func (c *client) deadline() time.Duration {
	at := due(c.h.w, c.desired.Deadline())
	if c.conn == nil {
		at = min(at, max(c.retry, c.h.w.now+time.Microsecond))
	}
	return at
}

// startBFD starts the BFD process.
func (h *hypervisor) startBFD() {
	if !h.alive || h.node.process.state != dead {
		return
	}
	h.node.process.start()
	engine, err := bfd.NewDrivenProcess(h.node.driven(h.failoverKernel), 0)
	if err != nil {
		panic(err)
	}
	h.serve(engine)
	h.bfdBack()
}

// serve makes a process the one that has the sessions.
func (h *hypervisor) serve(engine *bfd.DrivenProcess) {
	h.engine = engine
	h.node.engine, h.node.watcher = engine, engine.Watch()
	h.node.onEvent = func(bfd.Event) { h.daemon.do(func() {}) }
	h.node.process.do(func() {})
	h.daemon.do(func() {})
}

// killBFD ends the BFD process without a word.
func (h *hypervisor) killBFD() {
	w := h.w
	if h.node.process.state == dead {
		return
	}
	w.disturbNode(h.node)
	h.node.process.end()
	h.node.engine, h.node.watcher, h.node.ways = nil, nil, nil
	h.engine = nil
	h.client.disconnect()
	if h.alive {
		h.happened()
		w.leave(&h.away[bfdAway], "the BFD process is dead: hold time")
		life := h.node.process.lives
		w.after(superviseTime, func() { // the daemon's supervisor, or systemd
			if h.node.process.lives == life && h.daemon.state == running {
				h.startBFD()
			}
		})
	}
}

// bfdBack notes that BFD works again, if there is a daemon that asks for the sessions.
func (h *hypervisor) bfdBack() {
	if h.daemon.state == running && h.node.process.state == running {
		h.w.back(&h.away[bfdAway], bfdTail)
	}
}

// bfdTail is how long sessions take to come up again after the BFD process is back.
const bfdTail = 20 * time.Second

// superviseTime is how long the BFD process may be gone until the daemon starts another.
const superviseTime = 2 * time.Second

// stopBFD and contBFD are SIGSTOP and SIGCONT.
func (h *hypervisor) stopBFD() {
	if h.node.process.state == running {
		h.w.disturbNode(h.node)
		h.node.process.stop()
		h.happened()
		h.w.leave(&h.away[bfdAway], "the BFD process is stopped: hold time")
	}
}

func (h *hypervisor) contBFD() {
	if h.node.process.state == stopped {
		h.node.process.resume()
		h.w.disturbNode(h.node)
		h.bfdBack()
	}
}

// settleBFD does everything that the BFD process can do now.
func (h *hypervisor) settleBFD() duration {
	for more := true; more; {
		more = h.node.step()
		if h.engine == nil {
			return never
		}
	}
	if h.engine.Ended() {
		h.killBFD()
		return never
	}
	return h.engine.Awake()
}

// handover has a new BFD process take the sessions over, as an upgrade does.
func (h *hypervisor) handover() {
	w := h.w
	if h.node.process.state != running || h.engine == nil {
		return
	}
	w.disturbNode(h.node)
	state, err := h.engine.Export()
	if err != nil {
		w.violate("a handover succeeds", "%s: %v", h.name, err)
		return
	}
	next, err := bfd.ImportDrivenProcess(h.node.driven(h.failoverKernel), 0, state)
	if err != nil {
		w.violate("a handover succeeds", "%s: %v", h.name, err)
		h.engine.Resume()
		return
	}
	h.engine.Leave()
	h.client.disconnect()
	next.Resume()
	h.serve(next)
	w.disturbNode(h.node)
}
