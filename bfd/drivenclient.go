package bfd

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// DrivenClientConfig is what a [DrivenClient] has in place of a clock and a socket. The
// functions are called by the caller's own calls of the client, and must not call it.
type DrivenClientConfig struct {
	// Name is [ClientConfig].Name.
	Name string
	// Now returns the monotonic time and that of the wall clock.
	Now func() (mono time.Duration, wall time.Time)
	// Dial returns the process that answers at the socket, or why none does. It may start
	// one, as [ClientConfig].Command has a Client do.
	Dial func() (*DrivenProcess, error)
	// Notice is [ClientConfig].Notice.
	Notice func(error)
}

// DrivenClient is a [Client] of a [DrivenProcess] on the caller's goroutine: what it was asked
// for outlives connections and processes, what is refused is tried again, and its watchers see
// one service whatever becomes of processes. It is not safe for concurrent use.
type DrivenClient struct {
	client  *Client
	clock   *drivenClock
	dial    func() (*DrivenProcess, error)
	conn    *DrivenConn // nil: not connected
	watcher *Watcher    // of the connection
	wait    bfdcore.Backoff
	retry   time.Duration // when it connects
	next    time.Time     // when something refused is tried again; zero: never
}

// NewDrivenClient returns a client that connects when it is advanced.
func NewDrivenClient(cfg DrivenClientConfig) (*DrivenClient, error) {
	c, err := newClientOn(ClientConfig{Socket: "driven", Name: cfg.Name, Notice: cfg.Notice}, nil)
	if err != nil {
		return nil, err
	}
	d := &DrivenClient{client: c, clock: &drivenClock{read: cfg.Now}, dial: cfg.Dial, wait: bfdcore.Backoff{Min: reconnectFirst, Max: reconnectMax}}
	c.timer, c.wall = d.clock.time, func() time.Time { return d.clock.wall(d.clock.now()) }
	return d, nil
}

// Add is [Client.Add]: the process hears of it when the client is advanced.
func (d *DrivenClient) Add(c SessionConfig) error { return d.client.Add(c) }

// Remove is [Client.Remove].
func (d *DrivenClient) Remove(k Key) error { return d.client.Remove(k) }

// Synced is [Client.Synced].
func (d *DrivenClient) Synced() error { return d.client.Synced() }

// Watch is [Client.Watch].
func (d *DrivenClient) Watch() *Watcher { return d.client.Watch() }

// Connected is [Client.Connected].
func (d *DrivenClient) Connected() bool { return d.conn != nil }

// Sessions is [Client.Sessions].
func (d *DrivenClient) Sessions() ([]Status, error) {
	if d.conn == nil {
		return nil, ErrNotConnected
	}
	return d.conn.Sessions()
}

// Advance connects if it is time to, makes what requests there are, and takes the events of the
// process. It is called when Deadline says so, and after each turn of the process.
func (d *DrivenClient) Advance(now time.Duration) {
	d.clock.latest = max(d.clock.latest, now)
	if d.client.closed {
		return
	}
	if d.conn == nil && d.clock.now() >= d.retry {
		d.connect()
	}
	for d.conn != nil && d.step() {
	}
}

// Deadline returns when Advance must be called, at the latest; [Never]: there is no need.
func (d *DrivenClient) Deadline() time.Duration {
	switch {
	case d.client.closed:
		return Never
	case d.conn == nil:
		return d.retry
	case d.conn.process.Paused():
		return d.clock.latest + time.Millisecond
	case len(d.client.wakeup) > 0:
		return d.clock.latest
	case d.next.IsZero():
		return Never
	}
	return monotonic(d.next)
}

// Disconnect ends the connection: it is broken, or the process was killed. The client connects
// again by itself.
func (d *DrivenClient) Disconnect() {
	if d.conn != nil {
		d.wait.Reset()
		d.lost(ErrNotConnected)
	}
}

// Close ends the client, as the end of [Client.Run] or its death does. Its sessions stay for
// the restart time of the process.
func (d *DrivenClient) Close() {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
	d.client.end()
}

// connect makes a connection, if a process answers.
func (d *DrivenClient) connect() {
	c := d.client
	p, err := d.dial()
	if err == nil {
		d.conn, err = p.Connect(c.cfg.Name)
	}
	if err != nil {
		d.lost(err)
		return
	}
	d.watcher = d.conn.Watch()
	seen := map[Key]bool{}
	var buf [8]Event
	for n, _ := d.watcher.take(buf[:]); n > 0; n, _ = d.watcher.take(buf[:]) {
		for _, e := range buf[:n] {
			c.event(e, seen)
		}
	}
	c.vanished(seen)
	c.desired.Connect(compareKeys)
	c.wake()
}

// lost waits before the next try to connect.
func (d *DrivenClient) lost(err error) {
	c := d.client
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
		c.desired.Disconnect()
	}
	if err = fmt.Errorf("bfd: %s: %w", c.cfg.Socket, err); c.notices.fresh(err, c.timer()) {
		c.cfg.Notice(err)
	}
	d.retry = d.clock.now() + d.wait.Next()
}

// step makes requests and takes events. It reports whether there may be more.
func (d *DrivenClient) step() bool {
	c := d.client
	if !d.conn.process.Paused() { // else requests wait
		if len(c.wakeup) > 0 {
			<-c.wakeup
		}
		d.next = c.bring(d)
	}
	var buf [8]Event
	n, closed := d.watcher.take(buf[:])
	for _, e := range buf[:n] {
		c.event(e, nil)
	}
	if closed {
		d.Disconnect()
	}
	return n > 0
}

// request implements [requester]: an error crosses as its text, as between processes.
func (d *DrivenClient) request(r bfdcore.Request[Key, SessionConfig]) error {
	var err error
	switch r.Kind {
	case bfdcore.RequestAdd:
		err = d.conn.Add(r.Config)
	case bfdcore.RequestRemove:
		err = d.conn.Remove(r.Key)
	default:
		err = d.conn.Synced()
	}
	if err == nil {
		return nil
	}
	if d.conn.process.Ended() {
		return ErrNotConnected
	}
	return replyError(replyText(err))
}
