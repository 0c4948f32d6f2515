package rib

import "slices"

// chunk is a run of encoded messages. It does not change while a member reads it.
type chunk struct {
	data    []byte    // the messages, one after another
	msgs    []message // where each of them is
	filters []filter  // of those that not all members want
	needs   int       // members that have not sent all of it yet
}

// newChunk returns an empty chunk, with room for some octets.
func (t *Table) newChunk(octets int) *chunk {
	if k := len(t.chunks); k > 0 {
		c := t.chunks[k-1]
		t.chunks = t.chunks[:k-1]
		if cap(c.data) < octets {
			c.data = make([]byte, 0, octets)
		}
		return c
	}
	return &chunk{data: make([]byte, 0, octets)}
}

// recycle takes a chunk back that no member reads any more, unless it is large: what a burst
// needed is not kept.
func (t *Table) recycle(c *chunk) {
	if len(t.chunks) < 4 && cap(c.data) <= 64<<10 && cap(c.msgs) <= 1<<10 {
		clear(c.filters) // they alias attributes
		*c = chunk{data: c.data[:0], msgs: c.msgs[:0], filters: c.filters[:0]}
		t.chunks = append(t.chunks, c)
	}
}

// message is one message of a chunk.
type message struct {
	start, end uint32      // octets of the chunk: data[start:end]
	src        uint16      // peer that its paths come, or came, from
	kind       messageKind // announcement, withdrawal, or one without NLRI
	nlri       uint16      // how many NLRI it has
	filter     uint32      // who of the members wants it: the place in chunk.filters, from 1 on; 0: all do
}

type messageKind uint8

const (
	announcement messageKind = iota // for all but src
	withdrawal                      // for all but src
	retraction                      // a withdrawal for src alone
	marker                          // BoRR, EoRR
)

// isFor reports whether the session with a peer sends the message.
func (m *message) isFor(peer uint16) bool { return (m.kind == retraction) == (m.src == peer) }

// tail is the sequence number of the chunk that will come next.
func (g *group) tail() uint64 { return g.base + uint64(len(g.chunks)-g.first) }

func (g *group) chunk(seq uint64) *chunk { return g.chunks[g.first+int(seq-g.base)] }

// size is what a chunk counts for in a backlog, its own structure included.
func (c *chunk) size() int { return len(c.data) + 64 }

// publish adds a chunk for the members that follow. One that waits for a notification, and that it does not concern,
// need not look at it.
func (g *group) publish(c *chunk) {
	some, tail := g.concerns(c), g.tail()
	passes := func(o *Out) bool { return some && o.armed && o.seq == tail && o.chunk != tail+1 }
	for _, o := range g.members {
		if !o.behind && !passes(o) {
			c.needs++
		}
	}
	if c.needs == 0 {
		g.t.recycle(c)
		return
	}
	if g.first > len(g.chunks)/2 {
		g.chunks = slices.Delete(g.chunks, 0, g.first)
		g.first = 0
	}
	g.chunks = append(g.chunks, c)
	g.backlog += c.size()
	for _, o := range g.members {
		if !o.behind && passes(o) {
			o.seq++
		}
	}
	for g.backlog > g.t.limits.backlog && g.first < len(g.chunks)-1 {
		g.leaveBehind(g.base)
	}
}

// leaveBehind makes the members that wait for a chunk catch up on their own.
func (g *group) leaveBehind(seq uint64) {
	for _, o := range g.members {
		if !o.behind && o.seq == seq {
			o.fallBehind()
		}
	}
}

// done says that a member has sent all of a chunk.
func (g *group) done(c *chunk) {
	c.needs--
	for g.first < len(g.chunks) && g.chunks[g.first].needs == 0 {
		g.backlog -= g.chunks[g.first].size()
		g.t.recycle(g.chunks[g.first])
		g.chunks[g.first] = nil
		g.first++
		g.base++
	}
	if g.first == len(g.chunks) {
		g.chunks, g.first = g.chunks[:0], 0
	}
}

// skip says that a member will not send what it has not sent yet.
func (g *group) skip(o *Out) {
	for tail := g.tail(); o.seq < tail; o.seq++ {
		g.done(g.chunk(o.seq))
	}
	o.msg = 0
}
