package bfd

// Broadcaster hands the events of sessions to watchers. It is for implementations of [Service]
// outside of this package, such as that of package bfdtest. It keeps the last event of each
// session, and for each watcher no more than two a session, however slow it is. The zero
// value is ready for use. It must not be copied. It is safe for concurrent use.
type Broadcaster struct {
	board board // the last event of each session, and the watchers
}

// Post hands an event to every watcher. The event of a session with Removed set is its last.
func (b *Broadcaster) Post(e Event) { b.board.post(e, nil) }

// Watch returns a reader of events, as [Service].Watch does: it begins with the last event of
// each session.
func (b *Broadcaster) Watch() *Watcher { return b.board.watch() }

// Close ends the watchers: Next returns [ErrClosed] once it has returned everything that was
// posted before.
func (b *Broadcaster) Close() { b.board.close() }
