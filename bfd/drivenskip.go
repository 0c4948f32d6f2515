package bfd

import "time"

// skipped is a session of a [DrivenServer] of which no packet is made or delivered.
type skipped struct {
	e      *entry // nil: none
	says   said
	heard  time.Duration // lastRx when it began
	record Skipped
}

// said is what a packet depends on, for a session without authentication.
type said struct {
	diag                     Diag
	state                    State
	poll, final, independent bool
	mult                     uint8
	discr, remote            uint32
	tx, rx                   time.Duration
}

func (s *Session) said() said {
	return said{s.diag, s.state, s.poll, s.final, s.independent, s.mult, s.discr, s.remoteDiscr, s.advertisedTx(), s.cfgRx}
}

// Skipped is what a session has not sent: see [DrivenServer.Skip].
type Skipped struct {
	Count  uint64        // how many packets
	Last   time.Duration // when the last one of them would have gone out
	Before time.Duration // the one before that
}

// distant is a time that does not come.
const distant = never / 4

// Skip has the packets of a session left out, in both directions, until Unskip or until it has
// something else to say than in its last packet: Send is called again then, and Unskip is to be
// called next. The session keeps its timers and counts what it would have sent, so that what
// follows goes out at the same times. It is not declared dead meanwhile: the caller promises that
// the remote system says the same again and again, and is heard.
//
// Skip reports false, and does nothing, if the session is not Up, if a Poll Sequence is under
// way, or if its packets are authenticated.
func (d *DrivenServer) Skip(k Key) bool {
	e := d.server.entries[k.Normal()]
	if e == nil || e.tx == nil || e.until != 0 || e.echo || e.auth != nil || e.demand || e.poll || e.final || e.state != StateUp || e.remoteState != StateUp {
		return false
	}
	for len(d.skips) <= e.slot {
		d.skips = append(d.skips, skipped{})
	}
	if s := &d.skips[e.slot]; s.e != e {
		*s = skipped{e: e, says: e.said(), heard: e.lastRx}
		e.lastRx = distant
		d.core.timers.set(e, e.due())
		d.skipping++
	}
	return true
}

// Skipped returns what a session has not sent since Skip.
func (d *DrivenServer) Skipped(k Key) Skipped {
	if s := d.skipped(k); s != nil {
		return s.record
	}
	return Skipped{}
}

// Unskip ends Skip. The last packet from the remote system arrived at heard; zero: none has since
// Skip. It is the last of count.
func (d *DrivenServer) Unskip(k Key, heard time.Duration, count uint64) {
	if s := d.skipped(k); s != nil {
		e := s.e
		e.lastRx = max(s.heard, heard)
		e.recv += count
		*s = skipped{}
		d.skipping--
		d.core.requeue(e)
	}
}

func (d *DrivenServer) skipped(k Key) *skipped {
	for i := range d.skips {
		if s := &d.skips[i]; s.e != nil && s.e.key == k {
			return s
		}
	}
	return nil
}

// Awake is Deadline, but without the sessions of Skip if it is for all of them: their packets
// may be counted later, by calling Advance with each Deadline.
func (d *DrivenServer) Awake() time.Duration {
	if d.skipping == 0 || d.skipping != len(d.core.timers) || d.state != drivenServing {
		return d.Deadline()
	}
	return d.others()
}

// skip counts a packet of a session that is left out, and reports whether it is.
func (d *DrivenServer) skip(e *entry) bool {
	if e.slot >= len(d.skips) {
		return false
	}
	s := &d.skips[e.slot]
	if s.e != e || e.said() != s.says {
		return false
	}
	s.record = Skipped{s.record.Count + 1, d.core.now, s.record.Last}
	e.sent++
	e.afterSend(d.core.now)
	return true
}

// Skip is [DrivenServer.Skip].
func (p *DrivenProcess) Skip(k Key) bool { return p.driven.Skip(k) }

// Unskip is [DrivenServer.Unskip].
func (p *DrivenProcess) Unskip(k Key, heard time.Duration, count uint64) {
	p.driven.Unskip(k, heard, count)
}

// Skipped is [DrivenServer.Skipped].
func (p *DrivenProcess) Skipped(k Key) Skipped { return p.driven.Skipped(k) }

// Awake is [DrivenServer.Awake].
func (p *DrivenProcess) Awake() time.Duration {
	if p.driven.state != drivenServing {
		return p.Deadline()
	}
	return min(p.driven.Awake(), monotonic(p.tick))
}
