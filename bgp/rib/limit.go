package rib

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// PrefixLimit bounds what a peer may announce in one family. The zero value is no limit.
//
// What counts is what the peer has announced in this session and not withdrawn: with ADD-PATH
// each path, and also what was refused, by policy or otherwise. Paths that are kept from an
// earlier session, while the peer restarts, do not count until it has announced them again.
type PrefixLimit struct {
	// Maximum is how many prefixes the peer may announce, with ADD-PATH how many paths. 0
	// means as many as it likes.
	Maximum int
	// PathsPerPrefix is how many paths of one prefix it may announce with ADD-PATH. 0 means
	// as many as it likes.
	PathsPerPrefix int
	// Threshold is the percentage of Maximum from which on the limit is reported to be near. 0
	// means 75, 100 never.
	Threshold int
	// Action is what becomes of announcements beyond the limit.
	Action LimitAction
}

// LimitAction is what to do with what a peer announces beyond a limit. An announcement that
// replaces one that counts is never beyond it.
type LimitAction uint8

const (
	// LimitRestart ends the session, with Cease/Maximum Number of Prefixes Reached (RFC
	// 4271, Section 6.7, and RFC 4486, Section 4), to be started again later: that is up to the caller
	// of [In.Update].
	LimitRestart LimitAction = iota
	// LimitBlock ignores it: it is refused, and does not count. It comes in if it is
	// announced again when there is room, as in answer to a route refresh.
	LimitBlock
	// LimitWarn takes it in, and only reports it.
	LimitWarn
)

var limitActions = [...]string{"restart", "block", "warn"}

// String returns "restart", "block" or "warn".
func (a LimitAction) String() string { return enum.String("LimitAction", limitActions[:], a) }

// MarshalText makes LimitAction readable in JSON.
func (a LimitAction) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// LimitState is how much of a limit is used up.
type LimitState uint8

const (
	// LimitWithin: what the peer announces is well within the limit, or there is none.
	LimitWithin LimitState = iota
	// LimitNear: the threshold is reached.
	LimitNear
	// LimitExceeded: the peer has announced more than the maximum. It stays so until a tenth
	// of the maximum is free.
	LimitExceeded
)

var limitStates = [...]string{"within", "near", "exceeded"}

// String returns "within", "near" or "exceeded".
func (s LimitState) String() string { return enum.String("LimitState", limitStates[:], s) }

// MarshalText makes LimitState readable in JSON.
func (s LimitState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LimitError says that a peer has come near its [PrefixLimit], or beyond.
type LimitError struct {
	Peer   netip.Addr  // whose limit it is
	Family wire.Family // the limit is one of this family
	// Limit is the maximum that was exceeded, or is near.
	Limit int
	// Count is what counts already: Limit, more with [LimitWarn], or less if it is near.
	Count int
	// PerPrefix is set if Limit is that of the paths of one prefix: Prefix, or something with a key.
	PerPrefix bool
	Prefix    netip.Prefix // the zero Prefix unless PerPrefix is set
	// State is LimitNear or LimitExceeded.
	State LimitState
	// Action is what became of what was beyond the limit.
	Action LimitAction
}

// Error names peer, family and limit.
func (e *LimitError) Error() string {
	switch {
	case e.State == LimitNear:
		return fmt.Sprintf("rib: peer %v: %d of %d %v prefixes", e.Peer, e.Count, e.Limit, e.Family)
	case e.Prefix.IsValid():
		return fmt.Sprintf("rib: peer %v: more than %d paths of %v", e.Peer, e.Limit, e.Prefix)
	case e.PerPrefix:
		return fmt.Sprintf("rib: peer %v: more than %d paths of one %v route", e.Peer, e.Limit, e.Family)
	}
	return fmt.Sprintf("rib: peer %v: more than %d %v prefixes", e.Peer, e.Limit, e.Family)
}

// Check returns an error if a number is out of range.
func (l PrefixLimit) Check() error {
	if l.Maximum < 0 || l.PathsPerPrefix < 0 || l.Threshold < 0 || l.Threshold > 100 {
		return fmt.Errorf("prefix limit %+v: a number is negative, or Threshold over 100", l)
	}
	return nil
}

func (l *PrefixLimit) active() bool { return l.Maximum > 0 || l.PathsPerPrefix > 0 }

// near returns from which count on the limit is near.
func (l *PrefixLimit) near() int {
	threshold := l.Threshold
	if threshold == 0 {
		threshold = 75
	}
	if threshold == 100 {
		return l.Maximum + 1
	}
	return (l.Maximum*threshold + 99) / 100
}

// limiter counts what a peer has announced in one family against its limit. What was accepted is
// counted by its paths. What was refused is kept here, by name alone, and only if there is a limit.
type limiter struct {
	PrefixLimit                       // the configured limit; the zero value: none
	refused     map[refusedKey]uint32 // the refresh in which it was announced last
	ofPrefix    map[refusedKey]int    // how many of these with a path identifier are of a prefix: by the key without it
	refresh     uint32                // refreshes so far
	state       LimitState            // what was reported last: below, near or over the limit
	notice      *LimitError           // for the caller of Update
}

// refusedKey is an NLRI of one family, in little room.
type refusedKey struct {
	hi, lo uint64 // the address, IPv4 as IPv4-mapped IPv6
	id     uint32 // path identifier
	bits   uint8  // prefix length
	key    string // of what has a key, and nothing of the above but id
}

func keyOfName(n *name) refusedKey {
	if len(n.key) > 0 {
		return refusedKey{id: n.PathID, key: string(n.key)}
	}
	a := n.Prefix.Addr().As16()
	return refusedKey{hi: binary.BigEndian.Uint64(a[:8]), lo: binary.BigEndian.Uint64(a[8:]), id: n.PathID, bits: uint8(n.Prefix.Bits())}
}

// anyPath returns the key without the path identifier.
func (k refusedKey) anyPath() refusedKey {
	k.id = 0
	return k
}

// configure sets the limit. What was counted stays, except with a limit that counts nothing.
func (m *limiter) configure(l PrefixLimit) {
	if m.PrefixLimit == l {
		return
	}
	m.PrefixLimit, m.state, m.notice = l, LimitWithin, nil
	if !m.active() {
		m.reset()
	}
}

// reset begins a new session.
func (m *limiter) reset() { *m = limiter{PrefixLimit: m.PrefixLimit} }

// keep counts an announcement that was refused.
func (m *limiter) keep(n *name) {
	if m.refused == nil {
		m.refused, m.ofPrefix = map[refusedKey]uint32{}, map[refusedKey]int{}
	}
	k := keyOfName(n)
	if _, known := m.refused[k]; !known && k.id != 0 {
		m.ofPrefix[k.anyPath()]++
	}
	m.refused[k] = m.refresh
}

// has reports whether an announcement counts that was refused.
func (m *limiter) has(n *name) bool { return len(m.refused) > 0 && m.hasAmong(n) }

func (m *limiter) hasAmong(n *name) bool {
	_, known := m.refused[keyOfName(n)]
	return known
}

// drop is the reverse of keep: it was withdrawn, or is accepted now.
func (m *limiter) drop(n *name) {
	if m.has(n) {
		m.dropKey(keyOfName(n))
	}
}

func (m *limiter) dropKey(k refusedKey) {
	delete(m.refused, k)
	if k.id == 0 {
		return
	}
	k = k.anyPath()
	if m.ofPrefix[k]--; m.ofPrefix[k] == 0 {
		delete(m.ofPrefix, k)
	}
}

// expire is drop for what was not announced again since the refresh began, if it is still there.
func (m *limiter) expire(k refusedKey) {
	if refresh, known := m.refused[k]; known && refresh != m.refresh {
		m.dropKey(k)
	}
}

// endRefresh forgets what was refused and not announced again since the refresh began. It
// lets the mutex go now and then, so that [In.Configure] may have forgotten all meanwhile.
func (in *In) endRefresh(fam wire.Family) {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	in.listOf(fam).refused.end()
	m := &in.listOf(fam).limit
	i := 0
	for k := range m.refused {
		m.expire(k)
		i++
		in.t.pause(i, pathsAtOnce)
	}
}

// CheckLimits returns what [In.Update] would, as after Configure with another limit.
func (in *In) CheckLimits() error {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	if e := in.limitReport(); e != nil && !in.closed {
		return e
	}
	return nil
}

// counted returns how many announcements of this session count.
func (l *pathList) counted() int { return l.n - l.stale + len(l.limit.refused) }

// mayAdd decides whether one more announcement counts, with a name whose destination is d, or 0. If
// there is something to report, it is in notice then.
func (in *In) mayAdd(l *pathList, d destID, n *name) bool {
	m := &l.limit
	if c := l.counted(); m.Maximum > 0 && c >= m.Maximum {
		return in.beyond(m, LimitError{Family: families[n.family()], Limit: m.Maximum, Count: c})
	}
	if m.PathsPerPrefix > 0 {
		if c := in.countsOf(l, d, n); c >= m.PathsPerPrefix {
			return in.beyond(m, LimitError{Family: families[n.family()], Limit: m.PathsPerPrefix, Count: c, PerPrefix: true, Prefix: n.Prefix})
		}
	}
	return true
}

// beyond is mayAdd for an announcement beyond a limit.
func (in *In) beyond(m *limiter, e LimitError) bool {
	e.Peer, e.State, e.Action = in.addr, LimitExceeded, m.Action
	if e.PerPrefix || m.state != LimitExceeded || m.Action == LimitRestart {
		m.notice = &e
	}
	if !e.PerPrefix {
		m.state = LimitExceeded
	}
	return m.Action == LimitWarn
}

// ended reports whether the session is to be ended.
func (m *limiter) ended() bool { return m.notice != nil && m.notice.Ends() }

// Ends reports whether the session is to be ended.
func (e *LimitError) Ends() bool { return e.State == LimitExceeded && e.Action == LimitRestart }

// limitReport returns what there is to report after an UPDATE, what ends the session first.
func (in *In) limitReport() (first *LimitError) {
	for f, fam := range families {
		if l := &in.lists[f]; l.limit.active() {
			if e := in.report(l, fam); e != nil && (first == nil || e.Ends()) {
				first = e
			}
		}
	}
	return first
}

// report returns what there is to report of one family, and brings the state up to date.
func (in *In) report(l *pathList, fam wire.Family) *LimitError {
	m := &l.limit
	e := m.notice
	m.notice = nil
	if m.Maximum == 0 {
		return e
	}
	n, slack := l.counted(), m.Maximum/10
	switch {
	case m.state != LimitExceeded && n > m.Maximum: // the limit was lowered
		m.state = LimitExceeded
		e = &LimitError{Peer: in.addr, Family: fam, Limit: m.Maximum, Count: n, State: LimitExceeded, Action: m.Action}
	case m.state == LimitExceeded && n >= m.Maximum-slack, m.state == LimitNear && n >= m.near()-slack:
	case n < m.near():
		m.state = LimitWithin
	case m.state == LimitWithin && e == nil:
		e = &LimitError{Peer: in.addr, Family: fam, Limit: m.Maximum, Count: n, State: LimitNear, Action: m.Action}
		fallthrough
	default:
		m.state = LimitNear
	}
	return e
}

// countsOf returns how many announcements of a peer count that have the name of n but for the path
// identifier. Their destination is d, or 0.
func (in *In) countsOf(l *pathList, d destID, name *name) (n int) {
	if m := &l.limit; len(m.refused) > 0 {
		k := keyOfName(name).anyPath()
		n = m.ofPrefix[k]
		if _, known := m.refused[k]; known {
			n++
		}
	}
	if d == 0 {
		return n
	}
	e := in.t.at(d)
	if e.indexed {
		c := in.t.indexes[e.first].peers[in.no]
		return n + c.all - c.stale
	}
	for id := e.first; id != 0; id = in.t.paths.at(id).next {
		if p := in.t.paths.at(id); p.peer == in.no && p.flags&pathStale == 0 {
			n++
		}
	}
	return n
}
