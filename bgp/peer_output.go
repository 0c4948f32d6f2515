package bgp

import "time"

// flush gives each free writer what there is to send.
func (p *peer) flush(now time.Time) {
	for i := range p.slots {
		s := &p.slots[i]
		if s.c == nil || !s.c.writable() {
			continue
		}
		if p.sess != nil && p.sess.conn == s.c && p.fill(now, s) {
			continue
		}
		if len(s.ctl) > 0 {
			s.c.send(s.ctl)
			s.ctl, s.beating = nil, false
		}
	}
}

// fill sends UPDATEs, after the control messages that wait. It reports whether
// it sent anything.
func (p *peer) fill(now time.Time, s *slot) bool {
	sess := p.sess
	if !sess.pending || now.Before(sess.fillAt) || len(s.ctl) > maxControl {
		return false
	}
	buf := sendBuffers.Get().(*[sendBuffer]byte)
	k := copy(buf[:], s.ctl)
	n := sess.out.Fill(buf[k:])
	if n == 0 {
		sendBuffers.Put(buf)
		sess.pending = false
		sess.noteUnsendable(p)
		return false
	}
	sess.fillAt = time.Time{}
	if n < fullSend {
		sess.fillAt = now.Add(coalesce)
	}
	s.ctl, s.beating = s.ctl[:0], false
	s.c.send(buf[:k+n])
	return true
}

const (
	// maxControl is what sendBuffer has room for beside the longest message.
	maxControl = sendBuffer - 65535
	// fullSend is where a send counts as full: more is waiting most likely.
	fullSend = 32 << 10
)

// sent takes a buffer back from the writer. A write error is told by the reader,
// which first gets to read what the peer has said, a NOTIFICATION perhaps.
func (p *peer) sent(now time.Time, i int, w written) {
	c := p.slots[i].c
	c.busy = false
	if len(w.buf) > 0 && cap(w.buf) == sendBuffer {
		sendBuffers.Put((*[sendBuffer]byte)(w.buf[:sendBuffer]))
	}
	if w.err != nil {
		c.writeErr = w.err
		c.nc.SetReadDeadline(now.Add(lingerTime))
		return
	}
	p.m.Sent(now, c.id)
}
