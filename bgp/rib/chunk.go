package rib

// chunk is a run of encoded messages. It never changes once it is made.
type chunk struct {
	data  []byte
	msgs  []message
	needs int // members that have not sent all of it yet
}

// message is one message of a chunk.
type message struct {
	start, end uint32
	src        uint16 // peer that its paths come, or came, from
	kind       messageKind
	nlri       uint16
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
func (g *group) tail() uint64 { return g.base + uint64(len(g.chunks)) }

func (g *group) chunk(seq uint64) *chunk { return g.chunks[seq-g.base] }

// publish adds a chunk for the members that follow.
func (g *group) publish(c *chunk) {
	for _, o := range g.members {
		if !o.behind {
			c.needs++
		}
	}
	if c.needs == 0 {
		return
	}
	g.chunks = append(g.chunks, c)
	g.backlog += len(c.data)
	for g.backlog > g.t.limits.backlog && len(g.chunks) > 1 {
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
	for len(g.chunks) > 0 && g.chunks[0].needs == 0 {
		g.backlog -= len(g.chunks[0].data)
		g.chunks[0] = nil
		g.chunks = g.chunks[1:]
		g.base++
	}
}

// skip says that a member will not send what it has not sent yet.
func (g *group) skip(o *Out) {
	for tail := g.tail(); o.seq < tail; o.seq++ {
		g.done(g.chunk(o.seq))
	}
	o.msg = 0
}
