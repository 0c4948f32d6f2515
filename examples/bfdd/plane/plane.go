package plane

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
)

// DefaultLinger is for how long a session stays that no bfdd wants.
const DefaultLinger = 30 * time.Second

// MaxBurst is how many sessions bfdd can add at once: its buffer has 8,192 octets and an add
// 140. Those that do not fit it forgets, neither in the data plane nor run by itself
// (FRRouting/frr issue 22638, mended in July 2026), but it offers them again to the next connection.
const MaxBurst = 8192 / 140

// Bounds. The first is what package bfd can have.
const (
	maxBindings = 16384   // ids of all connections
	maxReplies  = 1 << 20 // octets of answers that a connection has not read
)

// How old the status of sessions may be in an answer, and how long after a change the
// details are looked at again: a session negotiates its intervals once it is Up.
const (
	freshFor     = 100 * time.Millisecond
	detailsAfter = 2 * time.Second
)

// Config is the configuration of a Plane.
type Config struct {
	// Service has the sessions. It may have others, which are left alone.
	Service bfd.Service
	// Synced, if not nil, is called once, when the linger time has passed since the start: what
	// an earlier process left in the Service and no bfdd has asked for may go.
	Synced func() error
	// Linger is for how long a session stays that no bfdd wants. Zero: it goes at once.
	Linger time.Duration
	// Notice is called with what an operator should know. Nil: nobody is told.
	Notice func(error)
}

// ConnID is the caller's name for a connection.
type ConnID int

// Plane is the data plane. It is not safe for concurrent use.
type Plane struct {
	cfg      Config
	sessions map[bfd.Key]*session
	alike    map[bfd.Key][]bfd.Key // their keys, by what they are without interface
	conns    map[ConnID]*conn
	bindings int                    // of all connections
	status   map[bfd.Key]bfd.Status // as of looked
	left     map[bfd.Key][]bfd.Key  // the keys of status, likewise
	looked   time.Time              // when the status was read
	details  time.Time              // when to look at it again; zero: there is no need
	sync     time.Time              // when to call Synced; zero: done
}

// session is one session of the Service.
type session struct {
	key    bfd.Key
	config bfd.SessionConfig
	bound  map[binder]*binding // who wants it
	until  time.Time           // when it goes, if nobody does
	state  bfd.State           // as last reported by the Service
	admin  bool                // it is Down since the remote system was taken down
	note   string              // what bfdd asked for and does not get
}

// binder is an id of a connection.
type binder struct {
	conn ConnID
	lid  uint32
}

// binding is a session under bfdd's id.
type binding struct {
	binder
	session *session
	refused string        // why there is none
	wanted  bfddp.Message // as bfdd said it
	sent    bfddp.State   // last told
	queue   []bfddp.State // to be told: at most two
}

// conn is a connection of bfdd.
type conn struct {
	version  uint8               // of bfdd's last message
	bindings map[uint32]*binding // by bfdd's id
	replies  []byte              // encoded answers
	dirty    []uint32            // ids with something in their queue
}

// New returns a Plane without connections. It reads the Service's sessions, which an earlier
// process of ours may have left: an error is the Service's. Without them a Plane would tell
// bfdd that what is Up is Down.
func New(cfg Config, now time.Time) (*Plane, error) {
	if cfg.Notice == nil {
		cfg.Notice = func(error) {}
	}
	p := &Plane{cfg: cfg, sessions: map[bfd.Key]*session{}, alike: map[bfd.Key][]bfd.Key{}, left: map[bfd.Key][]bfd.Key{}, conns: map[ConnID]*conn{}, status: map[bfd.Key]bfd.Status{}, sync: now.Add(cfg.Linger)}
	return p, p.look(now, 0)
}

// Connect adds a connection.
func (p *Plane) Connect(id ConnID) {
	p.conns[id] = &conn{version: bfddp.OldestVersion, bindings: map[uint32]*binding{}}
}

// Bound returns how many sessions a connection has added.
func (p *Plane) Bound(id ConnID) int {
	if c := p.conns[id]; c != nil {
		return len(c.bindings)
	}
	return 0
}

// Wanted appends what bfdd has added on a connection and not deleted: messages, in the order
// of their ids, that make another Plane know the same.
func (p *Plane) Wanted(id ConnID, b []byte) []byte {
	if c := p.conns[id]; c != nil {
		for _, lid := range slices.Sorted(maps.Keys(c.bindings)) {
			b, _ = c.bindings[lid].wanted.AppendBinary(b) // it was parsed
		}
	}
	return b
}

// Disconnect says that a connection has ended: bfdd has died, or was told to. Its sessions
// linger.
func (p *Plane) Disconnect(id ConnID, now time.Time) {
	c := p.conns[id]
	if c == nil {
		return
	}
	for _, lid := range slices.Sorted(maps.Keys(c.bindings)) {
		p.unbind(c.bindings[lid], now)
	}
	delete(p.conns, id)
}

// Errors of Receive: the connection is to be closed.
var (
	errSlow = errors.New("bfdd asks and does not read the answers")
	errMany = errors.New("bfdd has added too many sessions")
)

// Receive takes a message of bfdd. After an error the connection is to be closed.
func (p *Plane) Receive(id ConnID, m *bfddp.Message, now time.Time) error {
	c := p.conns[id]
	if c == nil {
		return nil
	}
	c.version = m.Version
	if len(c.replies) > maxReplies || len(c.dirty) > maxBindings {
		return errSlow
	}
	switch m.Type {
	case bfddp.TypeAdd:
		return p.add(c, binder{id, m.Session.LID}, m, now)
	case bfddp.TypeDelete:
		if b := c.bindings[m.Session.LID]; b != nil {
			p.unbind(b, now)
		}
	case bfddp.TypeEchoRequest:
		c.reply(&bfddp.Message{Type: bfddp.TypeEchoReply, ID: m.ID, Echo: bfddp.Echo{PlaneTime: uint64(now.UnixMicro()), BFDdTime: m.Echo.BFDdTime}})
	case bfddp.TypeCounterRequest:
		p.counters(c, m, now)
	}
	return nil
}

// add adds a session, or changes one, and answers with its present state.
func (p *Plane) add(c *conn, who binder, m *bfddp.Message, now time.Time) error {
	want := &m.Session
	config, note, err := convert(want)
	if err != nil {
		p.cfg.Notice(fmt.Errorf("session %v -> %v: %w", want.Local, want.Peer, err))
	}
	_ = p.look(now, freshFor)
	config.Key = p.find(config.Key)
	b := c.bindings[who.lid]
	if b != nil && (err != nil || b.session == nil || b.session.key != config.Key) {
		p.unbind(b, now)
		b = nil
	}
	if b == nil {
		if p.bindings >= maxBindings {
			return errMany
		}
		b = &binding{binder: who}
		c.bindings[who.lid] = b
		p.bindings++
	}
	b.wanted = *m
	if err == nil {
		if err = p.want(b, config, note, now); err != nil {
			p.cfg.Notice(err)
		}
	}
	if err != nil {
		b.refused = err.Error()
		p.tell(b, bfddp.State{LID: who.lid, State: uint8(bfd.StateDown)})
		return nil
	}
	p.tell(b, p.describe(b.session, who.lid))
	return nil
}

// want has the Service have a session as bfdd wants it.
func (p *Plane) want(b *binding, config bfd.SessionConfig, note string, now time.Time) error {
	s := p.sessions[config.Key]
	if s == nil {
		s = &session{key: config.Key, bound: map[binder]*binding{}, state: bfd.StateDown}
		if st, ok := p.status[config.Key]; ok { // an earlier process of ours has left it
			s.state, s.admin = st.State, st.Reason == bfd.ReasonRemoteAdminDown
		}
	}
	_, there := p.sessions[config.Key]
	if !there || !same(s.config, config) {
		if err := p.cfg.Service.Add(config); err != nil {
			return err
		}
	}
	if !there {
		p.sessions[config.Key] = s
		p.alike[loose(config.Key)] = append(p.alike[loose(config.Key)], config.Key)
	}
	if note != s.note && note != "" {
		p.cfg.Notice(fmt.Errorf("session %v: %s", config.Key, note))
	}
	switch {
	case config.AdminDown:
		s.state = bfd.StateAdminDown
	case s.config.AdminDown:
		s.state, s.admin = bfd.StateDown, false
	}
	s.config, s.note, s.until = config, note, time.Time{}
	s.bound[b.binder] = b
	b.session, b.refused = s, ""
	return nil
}

// find returns the key of the session that bfdd means, which may have no interface where
// bfdd names one, or the other way round: bfdd names the interface of a session only if
// it knew it when the session was attached, so a restarted bfdd may or may not.
func (p *Plane) find(k bfd.Key) bfd.Key {
	if p.sessions[k] != nil || p.known(k) || k.Peer.IsLinkLocalUnicast() {
		return k
	}
	for _, other := range slices.Concat(p.alike[loose(k)], p.left[loose(k)]) {
		if k.Interface == "" || other.Interface == "" {
			return other
		}
	}
	return k
}

// known reports whether the Service has a session.
func (p *Plane) known(k bfd.Key) bool {
	_, ok := p.status[k]
	return ok
}

// loose returns a key without its interface.
func loose(k bfd.Key) bfd.Key {
	k.Interface = ""
	return k
}

func same(a, b bfd.SessionConfig) bool {
	return a.DesiredMinTx == b.DesiredMinTx && a.RequiredMinRx == b.RequiredMinRx && a.Multiplier == b.Multiplier && a.Passive == b.Passive && a.AdminDown == b.AdminDown && a.MinTTL == b.MinTTL
}

// unbind takes an id off its session, which lingers if it was the last.
func (p *Plane) unbind(b *binding, now time.Time) {
	delete(p.conns[b.conn].bindings, b.lid)
	p.bindings--
	s := b.session
	if s == nil {
		return
	}
	delete(s.bound, b.binder)
	if len(s.bound) == 0 {
		s.until = now.Add(p.cfg.Linger)
	}
}

// convert makes a session of what bfdd wants. The note says what it does not get.
func convert(want *bfddp.Session) (c bfd.SessionConfig, note string, err error) {
	c = bfd.SessionConfig{
		Key:           bfd.Key{Peer: want.Peer, Local: want.Local, Interface: want.Interface, Multihop: want.Flags&bfddp.FlagMultihop != 0},
		DesiredMinTx:  time.Duration(want.MinTx) * time.Microsecond,
		RequiredMinRx: time.Duration(want.MinRx) * time.Microsecond,
		Multiplier:    want.Multiplier,
		Passive:       want.Flags&bfddp.FlagPassive != 0,
		AdminDown:     want.Flags&bfddp.FlagShutdown != 0,
	}
	c.Key = c.Key.Normal()
	if want.MinRx == 0 {
		c.RequiredMinRx = -1 // zero means the default there
	}
	if c.Multihop {
		c.MinTTL = want.TTL
	}
	switch {
	case want.Mode != 0 || want.Encapsulation != 0:
		return c, "", errors.New("seamless BFD and SRv6 are not supported")
	case want.MinTx == 0 || want.Multiplier == 0:
		return c, "", errors.New("interval or multiplier is zero")
	}
	if want.Flags&bfddp.FlagEcho != 0 {
		note = "the echo function is not supported: control packets alone watch the path"
	}
	return c, note, c.Check()
}

// counters answers a request for counters, also for a session that there is not: bfdd does
// nothing else until the answer comes.
//
// Before the answer go two messages that bfdd ignores. It takes what it has read out of its
// buffer of 8,192 octets only after three messages, and closes the connection when
// the buffer is full (FRRouting/frr issue 22693, mended in July 2026).
func (p *Plane) counters(c *conn, m *bfddp.Message, now time.Time) {
	answer := bfddp.Message{Type: bfddp.TypeCounters, ID: m.ID, Counters: bfddp.Counters{LID: m.LID}}
	if b := c.bindings[m.LID]; b != nil && b.session != nil {
		_ = p.look(now, freshFor)
		st := p.status[b.session.key]
		answer.Counters.ControlIn, answer.Counters.ControlInBytes = st.Received, st.Received*controlLen
		answer.Counters.ControlOut, answer.Counters.ControlOutBytes = st.Sent, st.Sent*controlLen
	}
	for range 2 {
		c.reply(&bfddp.Message{Type: bfddp.TypeEchoReply})
	}
	c.reply(&answer)
}

// controlLen is the length of a control packet without authentication (RFC 5880, Section 4.1).
const controlLen = 24

func (c *conn) reply(m *bfddp.Message) {
	m.Version = c.version
	c.replies, _ = m.AppendBinary(c.replies) // the version was parsed
}

// look reads the status of all sessions, unless it is young enough. If the BFD process does
// not answer, the last one counts.
func (p *Plane) look(now time.Time, age time.Duration) error {
	if !p.looked.IsZero() && now.Sub(p.looked) < age {
		return nil
	}
	p.looked = now
	list, err := p.cfg.Service.Sessions()
	if err != nil {
		return err
	}
	clear(p.status)
	clear(p.left)
	for _, st := range list {
		p.status[st.Key] = st
		p.left[loose(st.Key)] = append(p.left[loose(st.Key)], st.Key)
	}
	return nil
}

// Update takes events of the Service, in their order.
func (p *Plane) Update(events []bfd.Event, now time.Time) {
	_ = p.look(now, 0)
	for i := range events {
		e := &events[i]
		s := p.sessions[e.Key]
		if s == nil {
			continue
		}
		if s.state, s.admin = e.State, e.Reason == bfd.ReasonRemoteAdminDown; e.Removed {
			s.state, s.admin = bfd.StateDown, false // for now: the Service is to have it
		}
		p.news(s)
		p.details = now.Add(detailsAfter)
	}
}

// news tells everybody who wants a session of it, if there is anything new.
func (p *Plane) news(s *session) {
	for who, b := range s.bound {
		if state := p.describe(s, who.lid); state != b.sent || len(b.queue) > 0 {
			p.tell(b, state)
		}
	}
}

// describe makes the report of a session.
//
// Init is Down to bfdd. The AdminDown of the remote system is not, although the state of the
// session itself is Down then: bfdd would take it for a failure of the path, which it
// is not (RFC 5882, Section 4.2).
func (p *Plane) describe(s *session, lid uint32) bfddp.State {
	st := p.status[s.key]
	m := bfddp.State{LID: lid, State: uint8(s.state), RemoteDiscr: st.RemoteDiscr, RemoteDiag: uint8(st.RemoteDiag), RemoteMult: st.RemoteMultiplier,
		RemoteMinTx: uint32(st.RemoteMinTx.Microseconds()), RemoteMinRx: uint32(st.RemoteMinRx.Microseconds())}
	if st.RemoteC {
		m.RemoteFlags |= bfddp.RemoteC
	}
	switch {
	case s.state == bfd.StateInit:
		m.State = uint8(bfd.StateDown)
	case s.state == bfd.StateDown && s.admin:
		m.State = uint8(bfd.StateAdminDown)
	}
	return m
}

// tell puts a state into the queue of a binding. A state that was not sent yet gives way,
// unless it is a Down that an Up would hide.
func (p *Plane) tell(b *binding, m bfddp.State) {
	c := p.conns[b.conn]
	if len(b.queue) == 0 {
		c.dirty = append(c.dirty, b.lid)
	}
	up := uint8(bfd.StateUp)
	down := slices.IndexFunc(b.queue, func(q bfddp.State) bool { return q.State != up })
	if m.State == up && down >= 0 {
		b.queue = append(b.queue[:0], b.queue[down], m)
	} else {
		b.queue = append(b.queue[:0], m)
	}
	b.sent = m
}

// Output returns the octets that are to be sent on a connection next, answers first; the
// caller calls it once those of the last call are sent.
func (p *Plane) Output(id ConnID) []byte {
	c := p.conns[id]
	if c == nil {
		return nil
	}
	out := c.replies
	c.replies = nil
	for _, lid := range c.dirty {
		b := c.bindings[lid]
		if b == nil {
			continue // deleted meanwhile
		}
		for _, state := range b.queue {
			m := bfddp.Message{Version: c.version, Type: bfddp.TypeState, State: state}
			out, _ = m.AppendBinary(out)
		}
		b.queue = nil
	}
	c.dirty = nil
	return out
}

// Advance lets time pass.
func (p *Plane) Advance(now time.Time) {
	if !p.sync.IsZero() && !now.Before(p.sync) {
		p.sync = time.Time{}
		if p.cfg.Synced != nil {
			if err := p.cfg.Synced(); err != nil {
				p.cfg.Notice(err)
			}
		}
	}
	for _, s := range p.ordered() {
		if len(s.bound) > 0 || now.Before(s.until) {
			continue
		}
		delete(p.sessions, s.key)
		short := loose(s.key)
		if p.alike[short] = slices.DeleteFunc(p.alike[short], func(k bfd.Key) bool { return k == s.key }); len(p.alike[short]) == 0 {
			delete(p.alike, short)
		}
		if err := p.cfg.Service.Remove(s.key); err != nil && !errors.Is(err, bfd.ErrNoSession) {
			p.cfg.Notice(fmt.Errorf("session %v: %w", s.key, err))
		}
	}
	if !p.details.IsZero() && !now.Before(p.details) {
		p.details = time.Time{}
		_ = p.look(now, 0)
		for _, s := range p.sessions {
			p.news(s)
		}
	}
}

// Deadline returns when Advance is to be called; zero: there is no need.
func (p *Plane) Deadline() (at time.Time) {
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	earlier(p.sync)
	earlier(p.details)
	for _, s := range p.sessions {
		if len(s.bound) == 0 {
			earlier(s.until)
		}
	}
	return at
}

func (p *Plane) ordered() []*session {
	return slices.SortedFunc(maps.Values(p.sessions), func(a, b *session) int {
		return cmp.Or(a.key.Peer.Compare(b.key.Peer), a.key.Local.Compare(b.key.Local), cmp.Compare(a.key.Interface, b.key.Interface), cmp.Compare(a.key.NetNS, b.key.NetNS))
	})
}

// Info is what is shown of a session.
type Info struct {
	bfd.Status
	IDs    []uint32      // bfdd's ids of it
	Linger time.Duration // for how long it stays although no bfdd wants it; 0: one does
	Note   string        // what bfdd asked for and does not get, or why there is no session
}

// Sessions returns what is shown, in the order of the addresses.
func (p *Plane) Sessions(now time.Time) (list []Info) {
	_ = p.look(now, freshFor)
	for _, s := range p.ordered() {
		info := Info{Status: p.status[s.key], Note: s.note}
		info.Key, info.State = s.key, s.state
		for who := range s.bound {
			info.IDs = append(info.IDs, who.lid)
		}
		if slices.Sort(info.IDs); len(info.IDs) == 0 {
			info.Linger = max(s.until.Sub(now), time.Millisecond)
		}
		list = append(list, info)
	}
	for _, id := range slices.Sorted(maps.Keys(p.conns)) {
		for _, lid := range slices.Sorted(maps.Keys(p.conns[id].bindings)) {
			if b := p.conns[id].bindings[lid]; b.session == nil {
				list = append(list, Info{IDs: []uint32{lid}, Note: b.refused})
			}
		}
	}
	return list
}
