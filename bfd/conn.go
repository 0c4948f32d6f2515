package bfd

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// conn is a client's connection, seen from the BFD process. A client that does
// not read blocks the goroutines of its own connection and nothing else: what it
// has to be told is a bounded state of its Watcher, not a queue.
type conn struct {
	*net.UnixConn
	reg     *registry
	name    string
	sending sync.Mutex
	watcher *Watcher
	give    func(*conn, message) error // a successor asks for everything
}

// serve reads requests until the client is gone.
func (c *conn) serve() {
	defer c.Close()
	m, err := readFrame(c)
	if err == nil && m.typ == frameHandover {
		err = c.give(c, m)
	} else if err == nil {
		err = c.hello(m)
	}
	if err != nil || m.typ == frameHandover {
		return
	}
	defer func() { c.reg.disconnect(c.name, c, time.Now()) }()
	c.watcher = c.reg.server.Watch()
	var wg sync.WaitGroup
	wg.Go(c.tell)
	for {
		m, err := readFrame(c)
		if err != nil || c.request(m) != nil {
			break
		}
	}
	c.watcher.Close()
	c.Close() // releases tell from a blocked write
	wg.Wait()
}

// hello takes the first frame.
func (c *conn) hello(m message) error {
	d := decode(m.body)
	if m.typ != frameHello || d.Uint32() != protocolMagic {
		return errProtocol
	}
	if v := d.Uint16(); v != protocolVersion {
		_ = c.reply(m.id, errors.New("bfd: protocol version not supported"))
		return errProtocol
	}
	c.name = d.string()
	if err := d.err(); err != nil {
		return err
	}
	if err := c.reg.connect(c.name, c, time.Now()); err != nil {
		_ = c.reply(m.id, err)
		return err
	}
	return c.reply(m.id, nil)
}

// request carries out one request and replies. It returns an error if the
// connection is beyond use.
func (c *conn) request(m message) error {
	d := decode(m.body)
	switch m.typ {
	case frameAdd:
		cfg := d.config()
		if d.err() != nil {
			return errProtocol
		}
		return c.reply(m.id, c.reg.add(c.name, c, cfg))
	case frameRemove:
		k := d.key()
		if d.err() != nil {
			return errProtocol
		}
		return c.reply(m.id, c.reg.remove(c.name, k.Normal()))
	case frameList:
		return c.list(m.id)
	case frameSynced:
		c.reg.synced(c.name)
		return c.reply(m.id, nil)
	}
	return errProtocol
}

// list sends the status of every session.
func (c *conn) list(id uint32) error {
	all, err := c.reg.server.Sessions()
	var e encoder
	for i := range all {
		e.begin(frameStatus, id)
		e.status(&all[i])
		if e.end() == nil && len(e.b) > 1<<15 {
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
	return c.reply(id, err)
}

func (c *conn) reply(id uint32, err error) error {
	var e encoder
	e.begin(frameReply, id)
	if err != nil {
		e.string(err.Error())
	} else {
		e.string("")
	}
	_ = e.end()
	return c.send(e.b)
}

func (c *conn) send(b []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	_, err := c.Write(b)
	return err
}

// tell sends events: first one of every session, then "snapshot", then changes.
func (c *conn) tell() {
	var e encoder
	snapshot := false
	for {
		ev, ok, closed := c.watcher.pop()
		var err error
		if !ok && !closed && !snapshot {
			e.begin(frameSnapshot, 0)
			snapshot = true
		} else if ok {
			e.begin(frameEvent, 0)
			e.event(&ev)
		} else if ev, err = c.watcher.Next(context.Background()); err == nil {
			e.begin(frameEvent, 0)
			e.event(&ev)
		} else {
			return
		}
		if err := e.end(); err == nil && c.send(e.b) != nil {
			return
		}
		e.b = e.b[:0]
	}
}
