package unnumbered

import (
	"net/netip"
	"time"
)

// Prober says which addresses of an interface are to be asked for, and which answers count: an advertisement
// costs its sender nothing, and may come from an address that nobody has. So each address that advertises is
// the target of a neighbour solicitation (RFC 4861, Section 7.2.2), and only who answers is a neighbour,
// which is for [Tracker.Heard].
//
// A Prober is pure, and for one interface. Its zero value is ready. It is not safe for concurrent use. Memory is
// bounded: of a flood of advertisements 4,096 addresses at most are asked for at a time, and what is beyond is
// not.
type Prober struct {
	asked   map[netip.Addr]time.Time // when it was last, of those first asked for since turned
	earlier map[netip.Addr]time.Time // of those that were before that
	turned  time.Time                // when asked became earlier last
}

const (
	// answerTime is how long an answer is waited for at least; it counts for up to twice as long. A
	// router answers within milliseconds, or seconds where its processor is busy.
	answerTime = 2 * time.Second
	// askAgain is how long after a question an advertisement leads to another one: RETRANS_TIMER
	// (RFC 4861, Section 10).
	askAgain = time.Second
	// mostAsked bounds each of the two maps: 1,024 advertisements a second are asked about.
	mostAsked = 2048
)

// Advertised reports an advertisement from a link-local address. It returns whether the address is to be asked
// for now.
func (p *Prober) Advertised(now time.Time, from netip.Addr) (ask bool) {
	p.turn(now)
	last, recent := p.asked[from]
	earlier, before := p.earlier[from]
	switch {
	case recent && now.Before(last.Add(askAgain)), before && now.Before(earlier.Add(askAgain)), !recent && len(p.asked) >= mostAsked:
		return false
	case p.asked == nil:
		p.asked = map[netip.Addr]time.Time{}
	}
	delete(p.earlier, from)
	p.asked[from] = now
	return true
}

// Answered reports a solicited neighbour advertisement for an address. It returns whether the address was asked
// for of late. An address may have several answers, as several hosts can say that it is theirs: each counts.
func (p *Prober) Answered(now time.Time, target netip.Addr) (ok bool) {
	p.turn(now)
	_, recent := p.asked[target]
	_, before := p.earlier[target]
	return recent || before
}

// Pending returns how many addresses were asked for of late.
func (p *Prober) Pending(now time.Time) int {
	p.turn(now)
	return len(p.asked) + len(p.earlier)
}

// turn forgets those that were asked for some time ago.
func (p *Prober) turn(now time.Time) {
	switch since := now.Sub(p.turned); {
	case since >= 2*answerTime:
		p.asked, p.earlier, p.turned = nil, nil, now
	case since >= answerTime:
		p.asked, p.earlier, p.turned = nil, p.asked, now
	}
}
