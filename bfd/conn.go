package bfd

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// conn is a client's connection, seen from the BFD process. A client that does
// not read blocks the goroutines of its own connection and nothing else: what it
// has to receive is a bounded state of its Watcher, not a queue.
type conn struct {
	stream
	process *process   // that the client talks to
	since   time.Time  // when it connected
	version uint16     // of the protocol that both speak
	name    string     // as the client calls itself
	known   bool       // the client of that name is connected, by this connection
	sending sync.Mutex // held while a frame is written
	watcher *Watcher   // of the sessions; its events go to the client
}

// serve reads requests until the client is gone.
func (c *conn) serve() {
	defer c.goodbye()
	defer c.Close()
	if !c.welcome() {
		return
	}
	c.watcher = c.process.server.Watch()
	var wg sync.WaitGroup
	wg.Go(c.sendEvents)
	for {
		m, err := readFrame(c)
		if err != nil || c.reply(m.id, c.request(m)) != nil {
			break
		}
	}
	c.watcher.Close()
	c.Close() // releases tell from a blocked write
	wg.Wait()
}

// goodbye notes that the client is gone: also one that was so before it had heard that it
// is welcome.
func (c *conn) goodbye() {
	if c.known {
		c.process.shared(func(s *sharing) { s.Disconnect(c.name, c.process.server.clock.time()) })
	}
}

// sharing is what clients want.
type sharing = bfdcore.Sharing[Key, SessionConfig]

// shared calls f with the only right to what clients want.
func (p *process) shared(f func(*sharing)) {
	p.shareMu.Lock()
	defer p.shareMu.Unlock()
	f(p.sharing)
}

// add has the client of that name want a session. size is that of the config, encoded.
func (p *process) add(name string, cfg SessionConfig, size int) (err error) {
	if err := cfg.check(); err != nil {
		return err
	}
	if size > maxConfig {
		return &ConfigError{"Failover", "is too long"}
	}
	p.shared(func(s *sharing) { err = s.Add(name, cfg.Key, cfg, size) })
	return err
}

// remove has the client of that name want a session no longer.
func (p *process) remove(name string, k Key) (err error) {
	p.shared(func(s *sharing) { err = s.Remove(name, k.Normal()) })
	if errors.Is(err, bfdcore.ErrNotThere) {
		return ErrNoSession
	}
	return err
}

// welcome waits for the hello of the other side. It reports whether that is a
// client, which is connected then.
func (c *conn) welcome() bool {
	_ = c.SetReadDeadline(time.Now().Add(helloTime))
	for {
		m, err := readFrame(c)
		switch {
		case err != nil:
			return false
		case m.typ == frameHandover:
			_ = c.SetReadDeadline(time.Time{})
			c.process.give(c, m)
			return false
		case m.typ != frameHello:
			err = errNoHello
		default:
			err = c.hello(m)
		}
		if c.reply(m.id, err) != nil {
			return false
		}
		if err == nil {
			_ = c.SetReadDeadline(time.Time{})
			return true
		}
	}
}

// hello takes the first frame.
func (c *conn) hello(m message) error {
	d := decode(protocolVersion, m.body)
	magic, version, name := d.Uint32(), d.Uint16(), d.string()
	switch {
	case d.Short || magic != protocolMagic:
		return errProtocol
	case version < protocolOldest || version > protocolVersion:
		return errVersion
	}
	if err := c.process.register(c); err != nil {
		return err
	}
	c.version, c.name = version, name
	var err error
	c.process.shared(func(s *sharing) { err = s.Connect(name, c.process.server.clock.time()) })
	c.known = err == nil
	return err
}

// request carries out one request.
func (c *conn) request(m message) (err error) {
	d := decode(c.version, m.body)
	switch m.typ {
	case frameAdd:
		cfg := d.config()
		if err = d.err(); err == nil {
			err = c.process.add(c.name, cfg, len(m.body))
		}
	case frameRemove:
		k := d.key()
		if err = d.err(); err == nil {
			err = c.process.remove(c.name, k)
		}
	case frameList:
		err = c.list(m.id)
	case frameSynced:
		c.process.shared(func(s *sharing) { s.Synced(c.name) })
	default:
		err = errUnknown
	}
	return err
}

// list sends the status of every session.
func (c *conn) list(id uint32) error {
	all, err := c.process.server.Sessions()
	e := encoder{version: c.version}
	for i := range all {
		e.begin(frameStatus, id)
		e.status(&all[i])
		if err := e.end(); err != nil {
			continue
		}
		if n := all[i].Unsent; n > 0 {
			e.begin(frameUnsent, id)
			e.u64(n)
			_ = e.end()
		}
		if len(e.b) > 1<<15 {
			if err := c.send(e.b); err != nil {
				return err
			}
			e.b = e.b[:0]
		}
	}
	if len(e.b) > 0 {
		if err := c.send(e.b); err != nil {
			return err
		}
	}
	return err
}

func (c *conn) reply(id uint32, err error) error {
	e := encoder{version: c.version}
	e.begin(frameReply, id)
	e.string(replyText(err))
	_ = e.end()
	return c.send(e.b)
}

// replyText is what a reply says of an error; [replyError] is its inverse.
func replyText(err error) string {
	if err == nil {
		return ""
	}
	return "bfd: " + strings.TrimPrefix(err.Error(), "bfd: ")
}

func (c *conn) send(b []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	_, err := c.Write(b)
	return err
}

// sendEvents sends events: first one of every session, then "snapshot", then changes.
func (c *conn) sendEvents() {
	e := encoder{version: c.version}
	snapshot := false
	buf := make([]Event, 1)
	for {
		n, closed := c.watcher.take(buf)
		if n == 0 && !closed && !snapshot {
			e.begin(frameSnapshot, 0)
			snapshot = true
		} else {
			if n == 0 {
				if _, err := c.watcher.Next(context.Background(), buf); err != nil {
					return
				}
			}
			e.begin(frameEvent, 0)
			e.event(&buf[0])
		}
		if err := e.end(); err == nil && c.send(e.b) != nil {
			c.Close() // ends the reader, too
			return
		}
		e.b = e.b[:0]
	}
}
